"""Files that wait in a journal for their upload."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def store(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    """Copy files into a folder; after an error nothing of it is left.

    Args:
        folder: Made when missing.
        files: Path within the folder to the content, or to a file or folder that is copied.

    Raises:
        OSError: One cannot be written.
    """
    try:
        for name, content in files.items():
            _store(content, folder / name)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _store(content: bytes | Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    elif content.is_dir():
        shutil.copytree(content, target, dirs_exist_ok=True, copy_function=_link)
    else:
        _link(str(content), str(target))


def _link(source: str, target: str) -> str:
    """Link a file, or copy it where the file system has no links: checkpoints are large."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError:
        shutil.copyfile(source, target)
    return target
