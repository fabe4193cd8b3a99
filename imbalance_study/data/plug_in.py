"""Data sets of a user's own: ``dataset=file:function`` or ``dataset=package.module:function``.

The function gets the data folder, by position, and its options as keywords, and returns `Examples`:

    def cells(data_dir, *, stain: str = "he"):
        table = pandas.read_csv(data_dir / stain / "cells.csv")
        return Examples(images=table["file"], labels=table["kind"], groups=table["patient"])

It is called by every run. Image files are decoded once, into the cache; arrays are resized once,
if they need it. The images that result have a fingerprint like those of every data set.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imbalance_study.data.cache import Writer, cached
from imbalance_study.data.decode import resize
from imbalance_study.data.image_folder import Entry, Listing
from imbalance_study.data.image_set import ImageSet, ReadSettings, decoded
from imbalance_study.data.part_names import PARTS, part_of

_BLOCK = 10_000  # images that are resized at a time
_PHOTOGRAPHS = 224  # side of image files where image_size is auto
_SMALLEST = 8


@dataclasses.dataclass(frozen=True)
class Examples:
    """Labelled images, as the function of a data set returns them.

    Attributes:
        images: uint8 (N, H, H, 3) in 0..255, or N paths of image files, absolute or relative to
            the data folder.
        labels: (N,) class numbers from 0, or class names.
        class_names: C names, in the order of the numbers; left out, the names among `labels` in
            alphabetical order, or the numbers themselves.
        split: (N,) of train, val, test; left out, all images are cut by the options of the run.
        groups: (N,) of anything that can be compared; images of a group stay in the same part.
    """

    images: npt.NDArray[np.uint8] | Sequence[str | os.PathLike[str]]
    labels: Sequence[int] | Sequence[str] | npt.NDArray[Any]
    class_names: Sequence[str] = ()
    split: Sequence[str] = ()
    groups: Sequence[Hashable] = ()


def read(
    name: str, function: Callable[[Path], Any], data_dir: Path, settings: ReadSettings
) -> ImageSet:
    """Call the function of a data set, check what it returns, and decode or resize the images.

    Args:
        name: The spec of the data set, for messages and records.
        function: Returns `Examples`.
        data_dir: Its argument.
        settings: How images are read. With an image size of 0, arrays keep theirs up to 224
            pixels, and files are read at 224.

    Raises:
        ValueError: The function returned something else, or its parts do not fit together; the
            message says which.
    """
    found = function(data_dir)
    if not isinstance(found, Examples):
        raise ValueError(
            f"dataset {name} must return imbalance_study.Examples, got {type(found).__name__}"
        )
    try:
        return _image_set(name, found, data_dir, settings)
    except ValueError as error:
        raise ValueError(f"dataset {name}: {error}") from error


def _image_set(name: str, found: Examples, data_dir: Path, settings: ReadSettings) -> ImageSet:
    count = len(found.images)
    if not count:
        raise ValueError("it holds no image")
    labels, class_names = _classes(found, count)
    parts, groups = _parts(found, count), _groups(found, count)
    for label in np.flatnonzero(np.bincount(labels[parts == 0], minlength=len(class_names)) == 0):
        raise ValueError(f"class {class_names[label]!r} has no image of the training part")
    if not isinstance(found.images, np.ndarray) or found.images.dtype.kind in "OU":
        root = data_dir if data_dir.is_dir() else data_dir.parent
        entries = [_entry(root, path) for path in found.images]
        settings = dataclasses.replace(settings, image_size=settings.image_size or _PHOTOGRAPHS)
        origin = data_dir / name  # the cache keeps its images apart from others of the folder
        listing = Listing(root, origin, entries, labels, parts, class_names, groups)
        return decoded(name, listing, settings)
    images = _sized(name, found.images, settings)
    files = tuple(f"{name}/{number:06d}" for number in range(count))
    train, val, test = (np.flatnonzero(parts == part) for part in range(3))
    return ImageSet(name, images, labels, class_names, files, train, val, test, groups, ())


def _classes(found: Examples, count: int) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    labels = _column(found.labels, "labels", count)
    names = tuple(map(str, found.class_names))
    if labels.dtype.kind in "OU":
        texts = labels.astype(str)
        names = names or tuple(np.unique(texts).tolist())
        unknown = sorted({*texts.tolist()} - {*names})
        if unknown:
            raise ValueError(f"the label {unknown[0]!r} is not among class_names: {names}")
        number = {one: position for position, one in enumerate(names)}
        labels = np.array([number[text] for text in texts.tolist()], np.int64)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be whole numbers or names, got {labels.dtype}")
    names = names or tuple(str(number) for number in range(int(labels.max(initial=-1)) + 1))
    if len(names) < 2:
        raise ValueError(f"at least 2 classes are needed, got {len(names)}")
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(names):
        raise ValueError(
            f"labels must be in 0..{len(names) - 1}, got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64), names


def _parts(found: Examples, count: int) -> npt.NDArray[np.int8]:
    if not len(found.split):
        return np.zeros(count, np.int8)
    words = _column(found.split, "split", count).astype(str).tolist()
    parts = {word: part_of(word) for word in sorted({*words})}
    for word, part in parts.items():
        if part is None:
            raise ValueError(f"split must hold {', '.join(PARTS)}, got {word!r}")
    return np.array([parts[word] for word in words], np.int8)


def _groups(found: Examples, count: int) -> npt.NDArray[np.int64]:
    if not len(found.groups):
        return np.empty(0, np.int64)
    return np.unique(_column(found.groups, "groups", count), return_inverse=True)[1].astype(
        np.int64
    )


def _column(values: Sequence[Any] | npt.NDArray[Any], name: str, count: int) -> npt.NDArray[Any]:
    column = np.asarray(values)
    if column.shape != (count,):
        raise ValueError(
            f"{name} must have one value for each of {count} images, got {column.shape}"
        )
    return column


def _entry(folder: Path, path: Any) -> Entry:
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"images must be a uint8 array or paths, got {type(path).__name__}")
    try:
        status = os.stat(folder / path)
    except OSError as error:
        raise ValueError(f"{os.fspath(path)!r}: {error.strerror}") from error
    return Entry(os.fspath(path), status.st_size, status.st_mtime_ns)


def _sized(name: str, images: npt.NDArray[Any], settings: ReadSettings) -> npt.NDArray[np.uint8]:
    """Resize arrays, or find them resized in the cache by their content."""
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise ValueError(f"images must be uint8 (N, H, H, 3) in 0..255, got {images.dtype} {shape}")
    size = settings.image_size or max(_SMALLEST, min(shape[1], _PHOTOGRAPHS))
    if size == shape[1]:
        return images
    content = np.ascontiguousarray(images)

    def build(write: Writer) -> dict[str, Any]:
        for start in range(0, len(content), _BLOCK):
            write(resize(content[start : start + _BLOCK], size, settings.workers))
        return {}

    made_of = {"root": name, "files": [hashlib.sha256(content.data).hexdigest(), *shape]}
    return cached(settings.cache_dir, made_of, size, len(content), build)[0]
