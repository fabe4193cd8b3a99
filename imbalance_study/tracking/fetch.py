"""Runs, models and files in the store: searched, found by address, downloaded."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException

from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.tracking import artifact_store, store

CHECKPOINT = "checkpoints/best.pt"
# Tag of a run and of a version of its model: the SHA-256 of the checkpoint.
HASH_TAG = "imbalance_study.checkpoint_sha256"


@contextlib.contextmanager
def local_weights(
    weights: Iterable[str], tracking_uri: str = "auto", local: LocalFiles | None = None
) -> Iterator[LocalFiles]:
    """Download the checkpoints of runs, each once, for as long as the context lasts.

    Args:
        weights: Values of the option ``weights``; those other than ``runs:/ID`` need no download.
        tracking_uri: The store; see `store.connect`.
        local: Files that are downloaded already.

    Yields:
        The local files, with the downloaded ones.

    Raises:
        ValueError: A run does not exist, did not finish, or has no checkpoint.
    """
    local = LocalFiles() if local is None else local
    missing = [one for one in set(weights) - set(local.weights) if one.startswith("runs:/")]
    if not missing:
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="imbalance_study_weights_") as name:
        files = dict(local.weights)
        for number, address in enumerate(missing):
            folder = Path(name, str(number))
            folder.mkdir()
            files[address] = download_checkpoint(address, folder, tracking_uri, finished=True)
        yield dataclasses.replace(local, weights=files)


def download_checkpoint(
    run_id: str, folder: Path, tracking_uri: str = "auto", *, finished: bool = False
) -> Path:
    """Download the kept checkpoint of a run.

    Args:
        run_id: The run: its id, ``runs:/<id>``, or a model of it in the registry,
            ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.
        folder: Folder of the file.
        tracking_uri: The store; see `store.connect`.
        finished: Refuse a run that has not finished.

    Returns:
        The file.

    Raises:
        ValueError: There is no such store, run, model, or checkpoint.
    """
    client = open_store(tracking_uri)
    run = find_run(client, run_id)
    if finished and run.info.status != "FINISHED":
        raise ValueError(
            f"run {run.info.run_id} has not finished: its status is {run.info.status}; choose a "
            "finished run, or give its checkpoint as a file"
        )
    parent, _, _ = CHECKPOINT.rpartition("/")
    files = [file.path for file in client.list_artifacts(run.info.run_id, parent)]
    if CHECKPOINT not in files:
        gone = artifact_store.missing_folder(str(run.info.artifact_uri))
        if gone is not None and "imbalance_study.version" in run.data.tags:
            raise ValueError(
                f"run {run.info.run_id} has its files in {gone}, and that folder does not exist: "
                "MLflow keeps absolute paths, so put the folder back where it was, or link it there"
            )
        raise ValueError(
            f"run {run.info.run_id} has no checkpoint {CHECKPOINT}: its status is "
            f"{run.info.status}, and it holds {', '.join(files) or 'none'}"
        )
    path = download(client, run, CHECKPOINT, folder)
    _check_hash(path, run, _version_at(client, run_id))
    return path


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_hash(path: Path, run: Run, version: ModelVersion | None) -> None:
    """Compare a checkpoint with the hashes that its run and its model version recorded.

    Raises:
        ValueError: It is another file.
    """
    tags = [("run", run.info.run_id, run.data.tags)]
    if version is not None:
        tags.append(("model version", f"{version.name}/{version.version}", version.tags))
    for kind, name, recorded in tags:
        if HASH_TAG in recorded and recorded[HASH_TAG] != hash_of(path):
            raise ValueError(
                f"{CHECKPOINT} of run {run.info.run_id} is not the file that {kind} {name} "
                "recorded (its SHA-256 differs): it was damaged or replaced; train the run again, "
                "or ask who can write to the store"
            )


def open_store(tracking_uri: str = "auto") -> mlflow.MlflowClient:
    """Return a client of an existing store.

    Raises:
        ValueError: There is no such store, or it does not answer.
    """
    store.require_existing(tracking_uri)
    store.connect(tracking_uri)
    return mlflow.MlflowClient()


def find_run(client: mlflow.MlflowClient, address: str) -> Run:
    """Return the run of an id, a ``runs:/`` or a ``models:/`` address.

    Raises:
        ValueError: There is no such run, model, version or alias, or no run made the model.
    """
    run_id = address.strip()
    if run_id.startswith("models:/"):
        run_id = _run_id_of_model(client, run_id)
    else:
        run_id = run_id.removeprefix("runs:/").strip("/").removesuffix("/model")
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        place = store.without_password(mlflow.get_tracking_uri())
        raise ValueError(f"unknown run {run_id!r} in {place}") from error


def search_runs(client: mlflow.MlflowClient, experiment_id: str, query: str) -> Iterator[Run]:
    """Yield all runs of an experiment that match a query, page by page, the newest first."""
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id], query, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def download(client: mlflow.MlflowClient, run: Run, name: str, folder: Path) -> Path:
    """Download an artifact of a run into a folder.

    Raises:
        ValueError: There is no such artifact, or it cannot be downloaded.
    """
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    try:
        return Path(client.download_artifacts(run.info.run_id, name, str(folder)))
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{name} of run {run.info.run_id} cannot be downloaded: {reason}"
        ) from error


def _run_id_of_model(client: mlflow.MlflowClient, address: str) -> str:
    """Return the id of the run that made a registered or a logged model."""
    name = address.removeprefix("models:/").strip("/")
    if name.startswith("m-") and "@" not in name and "/" not in name:
        try:
            run_id = client.get_logged_model(name).source_run_id
        except MlflowException as error:
            raise ValueError(_unknown_model(client, name, "")) from error
    else:
        version = _version_at(client, address)
        assert version is not None
        run_id = version.run_id
    if not run_id:
        raise ValueError(f"{address} was not made by a run, so it has no checkpoint to load")
    return str(run_id)


def _version_at(client: mlflow.MlflowClient, address: str) -> ModelVersion | None:
    """Return the model version of ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``, else None.

    Raises:
        ValueError: There is no such version, or the address is written differently.
    """
    if not address.strip().startswith("models:/") or address.strip().startswith("models:/m-"):
        return None
    name, at, alias = address.strip().removeprefix("models:/").strip("/").partition("@")
    name, _, version = name.partition("/")
    if not name or bool(at) == bool(version) or (at and not alias):
        raise ValueError(_FORMS.format(address))
    try:
        if at:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, version)
    except MlflowException as error:
        raise ValueError(_unknown_model(client, name, alias or version)) from error


_FORMS = "a model is written models:/NAME@ALIAS or models:/NAME/VERSION, got {!r}"


def _unknown_model(client: mlflow.MlflowClient, name: str, missing: str) -> str:
    """Say that a model, version or alias does not exist, and list the known ones."""
    place = store.without_password(mlflow.get_tracking_uri())
    known = {model.name: model for model in client.search_registered_models(max_results=100)}
    if name not in known:
        return f"unknown model {name!r} in {place}; known: {', '.join(known) or 'none'}"
    versions = client.search_model_versions(f"name = '{name}'", max_results=20)
    numbers = ", ".join(map(str, sorted(int(one.version) for one in versions))) or "none"
    aliases = ", ".join(f"@{alias}" for alias in sorted(known[name].aliases)) or "none"
    return f"model {name} has no {missing!r}; its aliases: {aliases}; its versions: {numbers}"
