"""The store that runs are written to: found, checked and named before anything is trained."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import mlflow
from mlflow.environment_variables import MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS

_NOISY = (
    *("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"),
    "mlflow.system_metrics.system_metrics_monitor",
)
# Seconds that a server gets to answer before it counts as unreachable.
_PATIENCE = 10.0


def connect(tracking_uri: str) -> str:
    """Make MLflow use a store, after a look whether it is there and can be written.

    Args:
        tracking_uri: An address, or ``auto``: MLFLOW_TRACKING_URI, else MLflow's sqlite store in
            the current folder.

    Returns:
        The address.

    Raises:
        ValueError: The server does not answer, or the file cannot be written; says what to do.
    """
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Without a buffer, the end of a run waits a second for the thread that writes its metrics.
    if not MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS.defined:
        MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS.set(1)
    if tracking_uri != "auto":
        mlflow.set_tracking_uri(tracking_uri)
    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif uri.startswith("sqlite:///"):
        _check_file(Path(uri.removeprefix("sqlite:///")))
    try:
        mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:
        raise problem(error) or error from error
    return uri


def exists(tracking_uri: str) -> bool:
    """Whether a store of files is there; True for a server, which only an answer could tell."""
    uri = mlflow.get_tracking_uri() if tracking_uri == "auto" else tracking_uri
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def find(tracking_uri: str) -> None:
    """Refuse a store of files that is not there, before MLflow makes an empty one.

    Raises:
        ValueError: Says where it was looked for.
    """
    if not exists(tracking_uri):
        uri = mlflow.get_tracking_uri() if tracking_uri == "auto" else tracking_uri
        file = Path(uri.removeprefix("sqlite:///"))
        raise ValueError(
            f"there is no store {file.absolute()}; go to the folder of its mlflow.db, or set "
            "tracking_uri"
        )


def without_password(uri: str) -> str:
    """The address without user and password, for people's eyes."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _check_server(uri: str) -> None:
    shown = without_password(uri)
    try:
        with urllib.request.urlopen(
            without_password(uri).rstrip("/") + "/health", timeout=_PATIENCE
        ):
            return
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):  # it is there; MLflow's own client says the rest
            return
        problem = f"it answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        problem = str(getattr(error, "reason", error))
    raise ValueError(
        f"the tracking server {shown} cannot be reached ({problem}); start it, correct "
        "tracking_uri, or leave it out to record into ./mlflow.db"
    )


def _check_file(path: Path) -> None:
    """Write to the file as sqlite would; MLflow itself would try for minutes."""
    there = path.exists()
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE imbalance_study_check (x)")
            connection.rollback()
    except sqlite3.Error as error:
        raise ValueError(
            f"the store {path.absolute()} cannot be written ({error}); correct tracking_uri, or "
            "start from a folder that you may write to"
        ) from error
    finally:
        if not there:
            path.unlink(missing_ok=True)


def problem(error: Exception) -> ValueError | None:
    """An error of MLflow, of its database or of its connection, as one sentence; else None."""
    if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy", "requests"):
        return None
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "disk is full" in text or "No space left" in text:
        text = "its disk is full; free some space, or choose another store with tracking_uri"
    return ValueError(f"MLflow cannot record the run: {text}")
