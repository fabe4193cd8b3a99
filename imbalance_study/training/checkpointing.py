"""Checkpoints: written atomically, read without pickle, the last two of a run kept."""

from __future__ import annotations

import contextlib
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from imbalance_study.models.checkpoint import load, save

# Share of an epoch that writing its checkpoint may take before it is done beside the training.
_SHARE = 0.01
_KEPT = 2
WRITER = "checkpoint"  # name of the thread that writes beside the training
_NAME = re.compile(r"epoch-(\d+)\.pt")


class Keeper:
    """Writes a checkpoint after each epoch, and keeps the last two.

    What is to follow a checkpoint (telling of its epoch) follows it once the file is on the disk.
    Where the last one took more than 1 % of its epoch to write, they are written in a thread beside
    the training, from copies; what is to follow one is then done before the next is begun.

    Use as a context manager around the training: at its end the last one is waited for.

    Args:
        folder: Of this run alone; half a file that a killed process left there is removed.
        about: Written into each one beside the state.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self._about = dict(about)
        self._writer: threading.Thread | None = None
        self._error: OSError | None = None
        self._then: Callable[[], None] | None = None
        self._seconds = 0.0
        self._saved = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for partial in folder.glob(".*.partial.pt"):
            partial.unlink(missing_ok=True)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.wait()
        else:  # which matters more than what may go wrong now
            with contextlib.suppress(Exception):
                self.wait()

    def save(self, epoch: int, content: Mapping[str, Any], then: Callable[[], None]) -> None:
        """Write the checkpoint of an epoch.

        Args:
            epoch: Its number.
            content: The state; may change as soon as this returns.
            then: Called in this thread once the file is on the disk: now, or at the next `save` or
                `wait`.

        Raises:
            OSError: This file or the one before cannot be written; those before it are left.
        """
        self.wait()
        begun = time.perf_counter()
        beside = self._seconds > _SHARE * (begun - self._saved)
        whole = {**self._about, **content}
        if beside:
            self._then = then
            copies, ready = _copy(whole), _arrival()
            self._writer = threading.Thread(
                target=self._write, args=(epoch, copies, ready), name=WRITER
            )
            self._writer.start()
        else:
            self._write(epoch, whole)
            self._then = then
            self.wait()
        self._saved = time.perf_counter()

    def wait(self) -> None:
        """Wait until all is on the disk, and do what is to follow.

        Raises:
            OSError: It cannot be written.
        """
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        error, self._error = self._error, None
        then, self._then = self._then, None
        if error is not None:
            raise error
        if then is not None:
            then()

    def discard(self) -> None:
        """Remove all of them, once the run has ended well."""
        discard(self.folder)

    def _write(
        self, epoch: int, content: Mapping[str, Any], ready: torch.cuda.Event | None = None
    ) -> None:
        begun = time.perf_counter()
        try:
            if ready is not None:
                ready.synchronize()
            save(self.folder / f"epoch-{epoch:06d}.pt", dict(content))
            for _, old in _found(self.folder)[_KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            self._error = error
        self._seconds = time.perf_counter() - begun


def discard(folder: Path) -> None:
    """Remove the checkpoints of a run, and the folder of the run if nothing else is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def newest(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Read the newest whole checkpoint of a run; None where there never was one.

    Args:
        folder: That a `Keeper` wrote to.
        say: Gets a line for each damaged one that is passed over.

    Raises:
        ValueError: There are some, and all are damaged.
    """
    found = _found(folder)
    for epoch, path in found:
        try:
            return load(path)
        except ValueError as error:
            say(f"checkpoint of epoch {epoch} passed over: {error}")
    if found:
        raise ValueError(f"all checkpoints in {folder} are damaged; train the run again")
    return None


def _found(folder: Path) -> list[tuple[int, Path]]:
    """Epochs and files, the newest first."""
    if not folder.is_dir():
        return []
    named = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(((int(match[1]), path) for match, path in named), reverse=True)


def _arrival() -> torch.cuda.Event | None:
    """Return what tells that all copies from the GPU so far have arrived; None without a GPU."""
    if not torch.cuda.is_initialized():
        return None
    ready = torch.cuda.Event()
    ready.record()
    return ready


def _copy(content: Any) -> Any:
    """Copy all tensors to the host; those of a GPU arrive later, see `_arrival`.

    The copies are queued between two updates. Were they made by the thread that writes, each would
    wait for all updates before it.
    """
    if isinstance(content, Tensor) and content.device.type == "cuda":
        host = torch.empty_like(content, device="cpu", pin_memory=True)
        return host.copy_(content.detach(), non_blocking=True)
    if isinstance(content, Tensor):
        return content.detach().clone()
    if isinstance(content, dict):
        return {key: _copy(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_copy(value) for value in content)
    return content
