"""Batches from index vectors: images resident on the device, or streamed from the memory map.

Both ways give the same batches. Images travel as uint8 in the order (N, H, W, 3) and are handed out
as a permuted view (N, 3, H, W), which is channels_last without a copy. In the place of images there
may be features of a frozen backbone, float32 (N, F).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Share of the free memory that resident images may take.
_SHARE = 0.5
# Batches that are read ahead when streaming.
_AHEAD = 3


class Batch(NamedTuple):
    """Images and labels of one step, on the device."""

    images: Tensor  # uint8 (B, 3, H, W), channels_last; or features, float32 (B, F)
    targets: Tensor  # int64 (B,)


class Batches:
    """A part of an image set (the training set, say), served in batches.

    Args:
        images: uint8 (N, H, W, 3) of the whole set, possibly a memory map; or features, float32
            (N, F).
        labels: int64 (N,) of the whole set.
        rows: int64 (M,), which of them belong to this part.
        device: Where the batches are needed.
        resident: Hold all images of this part on the device.
    """

    def __init__(
        self,
        images: npt.NDArray[Any],
        labels: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        device: torch.device,
        *,
        resident: bool,
    ) -> None:
        self.device = device
        self.resident = resident
        self.targets = torch.from_numpy(np.ascontiguousarray(labels[rows])).long()
        self._device_targets = self.targets.to(device)
        self._rows = rows
        self._images = images
        if resident:
            self._held = torch.from_numpy(_take(images, rows)).to(device)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._rows)

    def read(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return raw images uint8 (B, H, W, 3) on the host, for figures."""
        return _take(self._images, self._rows[indices])

    def take(self, indices: Tensor) -> Batch:
        """Return one batch; `indices` int64 (B,) count within this part."""
        return next(iter(self.epoch(indices, len(indices))))

    def epoch(self, indices: Tensor, batch_size: int) -> Iterator[Batch]:
        """Yield the images at `indices`, in their order, `batch_size` at a time.

        Args:
            indices: int64 (M,) on the CPU, counting within this part.
            batch_size: Images a batch; the last may have fewer.
        """
        chunks = indices.split(batch_size)
        if self.resident:
            pinned = indices.pin_memory() if self.device.type == "cuda" else indices
            moved = pinned.to(self.device, non_blocking=True)
            for chunk in moved.split(batch_size):
                images = _channels_first(self._held.index_select(0, chunk))
                yield Batch(images, self._device_targets.index_select(0, chunk))
        else:
            yield from self._stream(chunks)

    def _stream(self, chunks: tuple[Tensor, ...]) -> Iterator[Batch]:
        """Read ahead in a thread, so that reading and computing overlap."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=_AHEAD)
        stopped = threading.Event()

        def put(item: Batch | BaseException | None) -> None:
            while not stopped.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def read() -> None:
            try:
                for chunk in chunks:
                    if stopped.is_set():
                        return
                    put(self._load(chunk))
                put(None)
            except BaseException as error:
                put(error)

        thread = threading.Thread(target=read, name="batches", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                images = _channels_first(item.images.to(self.device, non_blocking=True))
                yield Batch(images, item.targets.to(self.device, non_blocking=True))
        finally:
            stopped.set()
            thread.join()

    def _load(self, chunk: Tensor) -> Batch:
        images = torch.from_numpy(_take(self._images, self._rows[chunk.numpy()]))
        targets = self.targets[chunk]
        if self.device.type == "cuda":
            images, targets = images.pin_memory(), targets.pin_memory()
        return Batch(images, targets)


def fits(needed: int, device: torch.device) -> bool:
    """Return whether so many bytes fit on the device: into half of its free memory."""
    return needed < _SHARE * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on the device (of the machine, for a CPU)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _channels_first(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2) if images.ndim == 4 else images


def _take(images: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Copy rows out of a memory map, in the order of the file, which a disk likes best."""
    order = np.argsort(rows, kind="stable")
    out = np.empty((len(rows), *images.shape[1:]), dtype=images.dtype)
    out[order] = images[rows[order]]
    return out
