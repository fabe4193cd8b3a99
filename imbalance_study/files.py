"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, what: str = "") -> Iterator[Path]:
    """A name beside `path` to write to, which becomes `path` when all went well.

    Its ending is that of `path`; its folder is made when missing. After an error nothing is left
    behind, and what was at `path` before is still there.

    Args:
        path: The file.
        what: What it is, for the message.

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


def default_cache_dir() -> Path:
    """``$IMBALANCE_STUDY_CACHE``, or ``~/.cache/imbalance_study``."""
    named = os.environ.get("IMBALANCE_STUDY_CACHE")
    return Path(named or os.path.expanduser("~/.cache/imbalance_study")).absolute()
