"""Checkpoints: written atomically, read without pickle."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import torch


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; a reader never sees half of one.

    Args:
        path: Its folder is made when missing.
        content: Tensors, numbers, text, and lists and dicts of these.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise OSError(f"the checkpoint {path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; nothing in the file is executed.

    Raises:
        ValueError: The file is no checkpoint, or is damaged.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        try:
            # torch does not look at the checksums, and stumbles over damage in many ways.
            if zipfile.is_zipfile(file):  # else torch's format of before 2020, or no checkpoint
                damaged = zipfile.ZipFile(file).testzip()
                if damaged is not None:
                    raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{path} is not a checkpoint, or it is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a checkpoint: it holds a {type(content).__name__}")
    return content
