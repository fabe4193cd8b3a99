"""Checkpoints: written atomically, read without pickle."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from imbalance_study import atomic


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; a reader never sees half of one.

    Args:
        path: Its folder is made when missing.
        content: Tensors, numbers, text, and lists and dicts of these.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    with atomic.replacing(path, "the checkpoint") as partial, partial.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch turns a full disk into one
            raise OSError(str(error)) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; nothing in the file is executed.

    Raises:
        ValueError: The file is no checkpoint, or is damaged.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        try:
            # torch does not look at the checksums, and stumbles over damage in many ways.
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
