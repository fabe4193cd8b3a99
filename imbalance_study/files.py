"""Files: written whole or not at all, locked, kept in the cache folder; cells of CSV files."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock


@contextlib.contextmanager
def replacing(path: Path, what: str = "") -> Iterator[Path]:
    """Give a name beside `path` to write to, and rename it to `path` when all went well.

    It has the ending of `path`; the folder is made when missing. After an error nothing is left
    behind, and an earlier file at `path` is untouched.

    Args:
        path: The file.
        what: Words for its content, in the error message.

    Raises:
        OSError: The file cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        message = f"{what} {path} cannot be written: {error.strerror or error}"
        raise OSError(message.strip()) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


# Seconds after which a wait for a lock is said.
_SILENT_WAIT = 5.0
# Errors of a file system that has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def exclusive_lock(path: Path, *, wait: bool = True, purpose: str = "") -> Iterator[None]:
    """Hold an exclusive lock on a file; the system releases it when the process dies.

    Where the file system has no locks, go on without one. A wait of more than a few seconds is said
    on standard error.

    Args:
        path: The file, made when missing; it stays afterwards.
        wait: Wait until the lock is free. Otherwise another thread may release it.
        purpose: Words for what the lock protects, for the line about a wait.

    Raises:
        BlockingIOError: The lock is taken, and `wait` is False.
        OSError: The file cannot be opened.
    """
    from filelock import FileLock, Timeout  # takes a tenth of a second, which help pages save

    # A waiting lock belongs to its thread: one that waits for its own is an error, no standstill.
    lock = FileLock(path, thread_local=wait, fallback_to_soft=False)
    try:
        lock.acquire(timeout=_SILENT_WAIT if wait else 0)
    except Timeout as error:
        if not wait:
            message = "it is locked by another process"
            raise BlockingIOError(errno.EAGAIN, message, str(path)) from error
        _wait(lock, purpose or str(path))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def _wait(lock: FileLock, purpose: str) -> None:
    """Wait for a lock without limit, and say so at the beginning and at the end."""
    began = time.monotonic()
    print(f"waiting for {purpose}, which another process holds", file=sys.stderr, flush=True)
    lock.acquire()
    print(f"went on after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def csv_cell(value: object) -> object:
    """Return a cell for a CSV file: a text that spreadsheets would run as a formula gets a quote.

    Such a text begins with =, +, -, @ or a control character and is no number (OWASP, CSV
    injection).
    """
    if not isinstance(value, str) or len(value) < 2:
        return value
    if value[0] not in "=+-@" and value[0].isprintable():
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def default_cache_dir() -> Path:
    """Return ``$IMBALANCE_STUDY_CACHE``, or ``~/.cache/imbalance_study``."""
    named = os.environ.get("IMBALANCE_STUDY_CACHE")
    return Path(named or os.path.expanduser("~/.cache/imbalance_study")).absolute()


def file_name(*parts: object) -> str:
    """Make a file name of words: letters, digits and hyphens, joined by underscores."""
    words = [re.sub(r"[^\w-]+", "-", str(part)).replace("_", "-").strip("-") for part in parts]
    return "_".join(word[:40] or "x" for word in words)
