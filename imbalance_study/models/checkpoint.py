"""Checkpoints on disk: written atomically, read without pickle; files of safetensors are read."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from imbalance_study import files


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; a reader never sees half of one.

    Args:
        path: Its folder is made when missing.
        content: Tensors, numbers, text, and lists and dicts of these.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    with files.replacing(path, "the checkpoint") as partial, partial.open("wb") as file:
        target = _FirstError(file)
        try:
            torch.save(content, target)  # type: ignore[arg-type]
        except RuntimeError as error:  # torch hides the OSError
            raise target.error or OSError(str(error)) from error


class _FirstError:
    """A file for torch to write to, which keeps the first error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, part: bytes) -> int:
        try:
            return self._file.write(part)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self._file.flush()


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, or tensors of safetensors, to the CPU; nothing in it is executed.

    Raises:
        ValueError: The file is no checkpoint, or is damaged.
        OSError: The file cannot be read.
    """
    if path.suffix == ".safetensors":
        return _safetensors(path)
    with path.open("rb") as file:
        try:
            # torch does not check the checksums, and fails over damage in many ways.
            if zipfile.is_zipfile(file):  # else torch's format until 2020, or no checkpoint
                damaged = zipfile.ZipFile(file).testzip()
                if damaged is not None:
                    raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            file.seek(0)
            with warnings.catch_warnings():  # of pickles that it refuses
                warnings.simplefilter("ignore", UserWarning)
                content = torch.load(file, map_location="cpu", weights_only=True)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is not a checkpoint, or it is damaged: {error}") from error
        except Exception as error:  # torch's own message advises to allow pickle
            raise ValueError(f"{path} is not a checkpoint, or it is damaged") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a checkpoint: it holds a {type(content).__name__}")
    return content


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a file of safetensors, or it is damaged") from error
