"""Predictions for any number of image files: decoded, predicted and returned chunk by chunk."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from imbalance_study.data import decode
from imbalance_study.inference.load import LoadedModel

TOP = 5
# Files that are listed, measured and given to one pool of decoders at a time.
_BLOCK = 16_384


class FilePredictions(NamedTuple):
    """Predictions for a chunk of files, in order; N of the files could be read."""

    files: list[str]  # all of them
    errors: list[str]  # the reason why a file could not be read; empty for the N others
    images: NDArray[np.uint8]  # (N, H, W, 3), as the model saw them
    classes: NDArray[np.int64]  # (N, K), from the most probable on
    probs: NDArray[np.float32]  # (N, K)

    @property
    def read(self) -> list[str]:
        """The files (N,) that could be read."""
        return [file for file, error in zip(self.files, self.errors, strict=True) if not error]


def predict_files(
    loaded: LoadedModel,
    paths: Iterable[Path],
    *,
    batch_size: int = 256,
    workers: int = 0,
    device: str = "cpu",
) -> Iterator[FilePredictions]:
    """Predict image files in order, in chunks of about `batch_size` images.

    Several cores cut and resize the files as for training (`decode.decode`), ahead of the model; a
    few chunks are in memory at a time, whatever the number of files. An unreadable file is passed
    over, with the reason.

    Args:
        loaded: The model.
        paths: The files.
        batch_size: Images in a batch of the model.
        workers: Cores that decode; 0 for all.
        device: Device of the model, which computes in fp32.

    Yields:
        Files, and the K = min(TOP, C) most probable classes of the readable ones.
    """
    place = torch.device(device)
    model = loaded.raw().to(place).to(memory_format=torch.channels_last)
    kept = min(TOP, len(loaded.class_names))
    decoded = _decoded(paths, loaded, workers)
    for files, errors, images in _chunks(decoded, batch_size):
        batches = [
            images[start : start + batch_size] for start in range(0, len(images), batch_size)
        ]
        predicted = [_predict(model, batch, place, kept) for batch in batches]
        classes = np.concatenate([p[0] for p in predicted] or [np.empty((0, kept), np.int64)])
        probs = np.concatenate([p[1] for p in predicted] or [np.empty((0, kept), np.float32)])
        yield FilePredictions(files, errors, images, classes, probs)


@torch.inference_mode()
def _predict(
    model: torch.nn.Module, images: NDArray[np.uint8], device: torch.device, kept: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    best = model(torch.from_numpy(images).to(device)).topk(kept, dim=1)
    return best.indices.cpu().numpy(), best.values.cpu().numpy()


_Files = tuple[list[str], list[str], NDArray[np.uint8]]  # files, errors, images of the others


def _chunks(decoded: Iterable[_Files], batch_size: int) -> Iterator[_Files]:
    """Join decoded blocks, as files, errors and images, until they fill a batch."""
    files: list[str] = []
    errors: list[str] = []
    parts: list[NDArray[np.uint8]] = []
    for more_files, more_errors, images in decoded:
        files += more_files
        errors += more_errors
        parts.append(images)
        if len(files) >= batch_size:
            yield files, errors, np.concatenate(parts)
            files, errors, parts = [], [], []
    if files:
        yield files, errors, np.concatenate(parts)


def _decoded(paths: Iterable[Path], loaded: LoadedModel, workers: int) -> Iterator[_Files]:
    """Decode files on several cores, as those of the training."""
    names = (str(path) for path in paths)
    while block := list(itertools.islice(names, _BLOCK)):
        done = 0
        total = sum(map(_size, block))
        for chunk in decode.decode_files(
            Path("."), block, total, loaded.image_size, workers, loaded.decoding
        ):
            count = len(chunk.images) + len(chunk.bad)
            reasons = {position - done: reason for position, reason in chunk.bad}
            files = block[done : done + count]
            yield files, [reasons.get(row, "") for row in range(count)], chunk.images
            done += count


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size
    except OSError:  # decoding reports the error
        return 0


class ReservoirSample:
    """Uniform random sample of a stream of images (reservoir sampling, algorithm R, Vitter 1985).

    Args:
        count: Size of the sample.
        seed: Of the generator.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self.seen = 0
        self.files: list[str] = []
        self.images: list[NDArray[np.uint8]] = []
        self.classes: list[int] = []
        self.probs: list[float] = []
        self._count = count
        self._generator = np.random.default_rng(seed)

    def add(self, chunk: FilePredictions) -> None:
        """Continue the stream with the images of a chunk."""
        numbers = np.arange(self.seen + 1, self.seen + len(chunk.images) + 1)
        slots = self._generator.integers(0, numbers)
        slots[numbers <= self._count] = numbers[numbers <= self._count] - 1
        read = chunk.read
        for row in np.flatnonzero(slots < self._count):
            self._put(
                int(slots[row]),
                (read[row], chunk.images[row].copy()),
                (int(chunk.classes[row, 0]), float(chunk.probs[row, 0])),
            )
        self.seen += len(chunk.images)

    def _put(
        self, slot: int, image: tuple[str, NDArray[np.uint8]], prediction: tuple[int, float]
    ) -> None:
        columns: Sequence[list] = (self.files, self.images, self.classes, self.probs)
        for column, value in zip(columns, (*image, *prediction), strict=True):
            column[slot : slot + 1] = [value]
