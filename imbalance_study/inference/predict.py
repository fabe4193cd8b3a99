"""Labels for any number of image files: decoded, predicted and handed on piece by piece."""

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
    """What became of some files, in order; N were read."""

    files: list[str]  # all of them
    errors: list[str]  # why a file could not be read, empty for those that were
    images: NDArray[np.uint8]  # (N, H, W, 3), as the model saw them
    classes: NDArray[np.int64]  # (N, K), from the most probable on
    probs: NDArray[np.float32]  # (N, K)

    @property
    def read(self) -> list[str]:
        """The files (N,) that were read."""
        return [file for file, error in zip(self.files, self.errors, strict=True) if not error]


def predict_files(
    ready: LoadedModel,
    paths: Iterable[Path],
    *,
    batch_size: int = 256,
    workers: int = 0,
    device: str = "cpu",
) -> Iterator[FilePredictions]:
    """Predict image files in order, in pieces of about `batch_size` images.

    Files are cut and resized as for training (`decode.decode`) on several cores, ahead of the
    model; some pieces are in memory at a time, whatever the number of files. A file that cannot be
    read is passed over, with the reason.

    Args:
        ready: The model.
        paths: The files.
        batch_size: Images that the model takes at once.
        workers: Cores that decode; 0 for all.
        device: Where the model computes, in fp32.

    Yields:
        Files, and the K = min(TOP, C) most probable classes of those that could be read.
    """
    where = torch.device(device)
    model = ready.raw().to(where).to(memory_format=torch.channels_last)
    kept = min(TOP, len(ready.class_names))
    for files, errors, images in _pieces(paths, ready.image_size, batch_size, workers):
        parts = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        found = [_predict(model, part, where, kept) for part in parts]
        classes = np.concatenate([one[0] for one in found] or [np.empty((0, kept), np.int64)])
        probs = np.concatenate([one[1] for one in found] or [np.empty((0, kept), np.float32)])
        yield FilePredictions(files, errors, images, classes, probs)


@torch.inference_mode()
def _predict(
    model: torch.nn.Module, images: NDArray[np.uint8], where: torch.device, kept: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    found = model(torch.from_numpy(images).to(where)).topk(kept, dim=1)
    return found.indices.cpu().numpy(), found.values.cpu().numpy()


def _pieces(
    paths: Iterable[Path], size: int, batch_size: int, workers: int
) -> Iterator[tuple[list[str], list[str], NDArray[np.uint8]]]:
    """Files, errors and images, chunks of decoding joined until they fill a batch."""
    files: list[str] = []
    errors: list[str] = []
    waiting: list[NDArray[np.uint8]] = []
    for chunk, reasons, images in _decoded(paths, size, workers):
        files += chunk
        errors += reasons
        waiting.append(images)
        if len(files) >= batch_size:
            yield files, errors, np.concatenate(waiting)
            files, errors, waiting = [], [], []
    if files:
        yield files, errors, np.concatenate(waiting)


def _decoded(
    paths: Iterable[Path], size: int, workers: int
) -> Iterator[tuple[list[str], list[str], NDArray[np.uint8]]]:
    """Each chunk of decoding: its files, their errors, and the images of the others."""
    names = (str(path) for path in paths)
    while block := list(itertools.islice(names, _BLOCK)):
        done = 0
        total = sum(map(_size, block))
        for images, bad in decode.decode_files(Path("."), block, total, size, workers):
            count = len(images) + len(bad)
            reasons = {position - done: reason for position, reason in bad}
            chunk = block[done : done + count]
            yield chunk, [reasons.get(row, "") for row in range(count)], images
            done += count


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size
    except OSError:  # decoding says what is wrong with it
        return 0


class ReservoirSample:
    """Some of the images that went by, each as likely as any other (algorithm R, Vitter 1985)."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.seen = 0
        self.files: list[str] = []
        self.images: list[NDArray[np.uint8]] = []
        self.classes: list[int] = []
        self.probs: list[float] = []
        self._count = count
        self._generator = np.random.default_rng(seed)

    def add(self, piece: FilePredictions) -> None:
        """Let the images of a piece go by."""
        numbers = np.arange(self.seen + 1, self.seen + len(piece.images) + 1)
        places = self._generator.integers(0, numbers)
        places[numbers <= self._count] = numbers[numbers <= self._count] - 1
        read = piece.read
        for row in np.flatnonzero(places < self._count):
            self._put(
                int(places[row]),
                (read[row], piece.images[row].copy()),
                (int(piece.classes[row, 0]), float(piece.probs[row, 0])),
            )
        self.seen += len(piece.images)

    def _put(
        self, place: int, image: tuple[str, NDArray[np.uint8]], found: tuple[int, float]
    ) -> None:
        columns: Sequence[list] = (self.files, self.images, self.classes, self.probs)
        for column, value in zip(columns, (*image, *found), strict=True):
            column[place : place + 1] = [value]
