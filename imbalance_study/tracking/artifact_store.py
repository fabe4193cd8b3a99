"""A look at the artifact store before a training: whether it takes files, and gives them back."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from imbalance_study.tracking import store

_PREFIX = "imbalance_study_check_"
_CONTENT = b"written and removed by imbalance_study, to try the artifact store\n"
# Seconds after which the wait for an answer is said: clients of S3 try for minutes.
_SILENT_WAIT = 10.0
_checked: set[tuple[str, str]] = set()  # store and location that this process has tried


def check(client: MlflowClient, experiment: Experiment) -> None:
    """Write a small file to the artifact store of an experiment, read it, and remove it.

    Each store is tried once in a process. What is odd about a local folder is said on stderr: it
    is gone although the experiment has runs, or it is on this machine and the server is not.

    Raises:
        ValueError: It takes no files, or gives back others.
    """
    location = str(experiment.artifact_location)
    key = mlflow.get_tracking_uri(), location
    if key in _checked:
        return
    _note_odd_folder(client, experiment)
    shown = store.without_password(location)
    try:
        with _patience(shown):
            _try_out(location)
    except Exception as error:
        raise ValueError(
            f"the artifact store {shown} of experiment {experiment.name!r} cannot be used "
            f"({_reason(error)}); figures, tables and models go there: start the server with "
            "--artifacts-destination, correct the folder's permissions, choose another experiment, "
            "or set tracking=offline to record on this machine and upload later"
        ) from error
    _checked.add(key)


def missing_folder(location: str) -> Path | None:
    """Return the folder of a location on this machine that does not exist; None for any other."""
    if not is_local_uri(location):
        return None
    folder = Path(local_file_uri_to_path(location))
    return None if folder.exists() else folder


def _try_out(location: str) -> None:
    """Write, read and remove a file.

    Raises:
        Exception: Whatever the client of the store raises.
    """
    repository = get_artifact_repository(location, tracking_uri=mlflow.get_tracking_uri())
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as name:
        file = Path(name, f"{_PREFIX}{uuid.uuid4().hex}.txt")
        file.write_bytes(_CONTENT)
        repository.log_artifact(str(file))
        copies = Path(name, "copies")
        copies.mkdir()
        came = Path(repository.download_artifacts(file.name, str(copies))).read_bytes()
        if came != _CONTENT:
            raise ValueError(f"it gives back {came[:40]!r} for {_CONTENT[:40]!r}")
        with contextlib.suppress(Exception):  # some stores allow no deletion
            repository.delete_artifacts(file.name)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return store.scrub(lines[0])[:300]


@contextlib.contextmanager
def _patience(shown: str) -> Iterator[None]:
    """Say what is waited for, if it takes long."""
    line = f"waiting for the artifact store {shown}"
    timer = threading.Timer(_SILENT_WAIT, print, [line], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _note_odd_folder(client: MlflowClient, experiment: Experiment) -> None:
    location = str(experiment.artifact_location)
    if not is_local_uri(location):
        return
    note = ""
    host = urlsplit(mlflow.get_tracking_uri()).hostname or ""
    folder = missing_folder(location)
    if host and host not in ("localhost", "127.0.0.1", "::1"):
        note = (
            f"the runs go to the server {host}, and their files to the folder {location} of this "
            "machine; unless the server sees the same folder, start it with --artifacts-destination"
        )
    elif folder and client.search_runs([experiment.experiment_id], max_results=1):
        note = (
            f"the folder {folder} of experiment {experiment.name!r} does not exist, although the "
            "experiment has runs: was it moved? Files of new runs go there, and those of earlier "
            "runs are not found"
        )
    if note:
        print(f"Note: {note}", file=sys.stderr, flush=True)
