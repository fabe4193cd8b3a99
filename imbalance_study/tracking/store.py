"""The store that runs are written to: found, checked and named before anything is trained."""

from __future__ import annotations

import logging
import os
import sqlite3
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import mlflow

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
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if tracking_uri != "auto":
        mlflow.set_tracking_uri(tracking_uri)
    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
    elif uri.startswith("sqlite:///"):
        _check_file(Path(uri.removeprefix("sqlite:///")))
    # The artifacts are checked by MLflow when the first one is written.
    return uri


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
    folder = path.parent
    if path.exists():
        try:
            connection = sqlite3.connect(path, timeout=_PATIENCE)
            with connection:
                connection.execute("BEGIN IMMEDIATE")
            connection.close()
        except sqlite3.Error as error:
            raise ValueError(
                f"the store {path} cannot be written ({error}); correct tracking_uri"
            ) from error
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(
            f"the store {path} cannot be written: {folder.absolute()} is not a folder that you "
            "may write to; correct tracking_uri"
        )
