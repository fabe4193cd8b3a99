"""The store that MLflow records runs in: its address, checks before a training, readable errors."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url

from imbalance_study import files
from imbalance_study.tracking import server

# Seconds within which a store must answer.
_TIMEOUT = 10.0
# MLflow itself would retry for minutes while the caller waits; the uploader retries by itself.
# It would also print the address of each run that ends, with the password in it.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_BUSY = re.compile(r"database is locked|already exists|UNIQUE constraint|deadlock", re.IGNORECASE)
# Attempts to use a busy database.
_ATTEMPTS = 8
_WAYS_OUT = (
    "correct tracking_uri, leave it out to record into ./mlflow.db, or set tracking=offline to "
    "record on this machine and upload later with imbalance-study sync"
)

T = TypeVar("T")


def connect(tracking_uri: str) -> str:
    """Make MLflow use a store, after a check that it exists and can be written.

    Args:
        tracking_uri: An address, or ``auto``: MLFLOW_TRACKING_URI, else MLflow's sqlite store in
            the current folder.

    Returns:
        The address.

    Raises:
        ValueError: The server does not answer or is too old, or the file cannot be written.
    """
    for noisy in ("alembic", "mlflow.tracking.fluent", "mlflow.system_metrics"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # These write a whole traceback for each attempt, with the store's address.
    for louder in ("mlflow.store.db.utils", "urllib3"):
        logging.getLogger(louder).setLevel(logging.CRITICAL)
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    uri = address(tracking_uri)
    if tracking_uri != "auto" or uri != mlflow.get_tracking_uri():
        mlflow.set_tracking_uri(uri)
    with contextlib.ExitStack() as stack:
        if uri.startswith(("http://", "https://")):
            server.check(uri, _WAYS_OUT)
        elif (path := sqlite_file(uri)) is not None:
            stack.enter_context(_locked(path))
            _check_file(path)
        elif uri.startswith(("postgresql", "mysql")):
            _check_database(uri)
        stack.enter_context(_encoded_artifact_root())
        try:
            retry_while_busy(lambda: mlflow.MlflowClient().search_experiments(max_results=1))
        except Exception as error:
            raise readable_error(error) or error from error
    return uri


def address(tracking_uri: str) -> str:
    """Return the address of a store, with ``auto`` resolved.

    MLflow percent-encodes the path of its default store, and then creates an empty folder with the
    encoded name (``My%20Project``), or fails without permission for it. So the path is decoded.
    """
    uri = mlflow.get_tracking_uri() if tracking_uri == "auto" else tracking_uri
    path = sqlite_file(uri)
    return uri if path is None or "%" not in uri or "?" in uri else sqlite_address(path)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an address ``sqlite:///PATH``, percent-decoded; None for other stores."""
    if not uri.startswith("sqlite:///"):
        return None
    database = make_url(uri).database
    return None if database in (None, "", ":memory:") else Path(database)


def sqlite_address(path: Path) -> str:
    """Return the address of a sqlite file; of its signs, only % and ? are encoded."""
    text = str(path.absolute())
    return f"sqlite:///{text.replace('%', '%25').replace('?', '%3F')}"


@contextlib.contextmanager
def _encoded_artifact_root() -> Iterator[None]:
    """Let MLflow open a store in a folder whose name cannot be its root of artifacts.

    MLflow puts the path of ``./mlruns`` into an SQL statement, in which quotes, backslashes and
    colons have a meaning, and decodes ``%20`` in it. An encoded ``file://`` address has none of
    them.
    """
    name = "_MLFLOW_SERVER_ARTIFACT_ROOT"  # MLflow's own; read when it opens a store of files
    if name in os.environ or not re.search(r"[%'\"\\:]", os.getcwd()):
        yield
        return
    os.environ[name] = Path("mlruns").absolute().as_uri()
    try:
        yield
    finally:
        del os.environ[name]


def exists(tracking_uri: str) -> bool:
    """Return whether the file of a store exists; True for a server, which is not asked."""
    path = sqlite_file(address(tracking_uri))
    return path is None or path.exists()


def refuse_offline(tracking: str, what: str) -> None:
    """Refuse tracking=offline for a command that reads its child runs back from MLflow.

    Raises:
        ValueError: `tracking` is offline.
    """
    if tracking == "offline":
        raise ValueError(
            f"{what} reads its runs back from MLflow, so tracking=offline is for train only; leave "
            "it out, or set tracking_uri to a store on this machine, such as sqlite:///FILE"
        )


def require_existing(tracking_uri: str) -> None:
    """Refuse a missing sqlite file before MLflow creates an empty store.

    Raises:
        ValueError: There is no such file.
    """
    path = sqlite_file(address(tracking_uri))
    if path is not None and not path.exists():
        raise ValueError(
            f"there is no store {path.absolute()}; go to the folder of its mlflow.db, or set "
            "tracking_uri"
        )


def without_password(uri: str) -> str:
    """Return the address without user and password, for messages."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Exclude others from a sqlite store while it is checked or created, by a file beside it.

    Raises:
        ValueError: Its folder cannot be written.
    """
    if not path.parent.is_dir():  # which the lock would make
        raise _unwritable(path, "its folder does not exist")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.exclusive_lock(path.with_name(f".{path.name}.lock")))
        except OSError as error:
            raise _unwritable(path, error.strerror or error) from error
        yield


def _unwritable(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"the store {path.absolute()} cannot be written ({reason}); start from a folder with write "
        f"permission, {_WAYS_OUT}"
    )


def _check_database(uri: str) -> None:
    """Open a TCP connection to the database first: MLflow would retry for two minutes."""
    parts = urlsplit(uri)
    port = parts.port or (5432 if uri.startswith("postgresql") else 3306)
    if not parts.hostname:
        return
    try:
        socket.create_connection((parts.hostname, port), _TIMEOUT).close()
    except OSError as error:
        raise ValueError(
            f"the database {without_password(uri)} cannot be reached ({error}); {_WAYS_OUT}"
        ) from error


def _check_file(path: Path) -> None:
    """Write to the file with sqlite first: MLflow would retry for minutes."""
    existed = path.exists()
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_TIMEOUT)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE imbalance_study_check (x)")
            connection.rollback()
    except sqlite3.Error as error:
        raise _unwritable(path, error) from error
    finally:
        if not existed:
            path.unlink(missing_ok=True)


def readable_error(error: Exception) -> ValueError | None:
    """Return an error of MLflow, its database or its connection as one sentence; else None."""
    if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy", "requests"):
        return None
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "disk is full" in text or "No space left" in text:
        text = "its disk is full; free some space, or choose another store with tracking_uri"
    return ValueError(f"MLflow cannot record the run: {scrub(text)}")


def retry_while_busy(call: Callable[[], T]) -> T:
    """Repeat a call while the database is busy, as when several runs begin at once."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            return call()
        except Exception as error:
            busy = isinstance(error, MlflowException) or "sqlalchemy" in type(error).__module__
            if not left or not busy or not _BUSY.search(str(error)):
                raise
            time.sleep(random.uniform(0.1, 1.0))
    raise AssertionError


def scrub(text: str) -> str:
    """Remove the credentials of addresses, and those of MLflow's own settings, from a text."""
    for uri in (os.environ.get("MLFLOW_TRACKING_URI", ""), mlflow.get_tracking_uri()):
        with contextlib.suppress(ValueError):
            password = urlsplit(uri).password
            for secret in (password, unquote(password)) if password else ():
                text = text.replace(secret, "***")
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        if os.environ.get(name):
            text = text.replace(os.environ[name], "***")
    return re.sub(r"(\w://)(?:[^\s/@]*:[^\s@]*|[^\s/@]+)@", r"\1", text)
