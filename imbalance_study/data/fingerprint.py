"""Identity of a run's images, and their mean and standard deviation."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from imbalance_study.data.image_set import ImageSet, Split

_CHUNK_BYTES = 1 << 20


def fingerprint(image_set: ImageSet, split: Split, data_seed: int) -> dict[str, Any]:
    """Identify the data of a run: equal fingerprints mean equal images in equal parts.

    Returns:
        "dataset", "data_seed", "num_classes", "image_size", "class_counts" (part to counts (C,)),
        "indices_sha256" (of indices and labels), "pixels_sha256" (of the images, part by part), and
        "fingerprint", 16 hexadecimal digits of all of these.
    """
    indices, pixels = hashlib.sha256(), hashlib.sha256()
    for name, part in zip(split._fields, split, strict=True):
        indices.update(f"{name} {len(part)} ".encode())
        indices.update(part.astype("<i8").tobytes())
        indices.update(image_set.labels[part].astype("<i8").tobytes())
        for chunk in _chunks(image_set.images, part):
            pixels.update(chunk.data)
    num_classes = len(image_set.class_names)
    facts: dict[str, Any] = {
        "dataset": image_set.name,
        "data_seed": data_seed,
        "num_classes": num_classes,
        "image_size": image_set.images.shape[1],
        "class_counts": {
            name: np.bincount(image_set.labels[part], minlength=num_classes).tolist()
            for name, part in zip(split._fields, split, strict=True)
        },
        "indices_sha256": indices.hexdigest(),
        "pixels_sha256": pixels.hexdigest(),
    }
    text = json.dumps(facts, sort_keys=True)
    return {**facts, "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16]}


def channel_statistics(images: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of each channel over all pixels of the images.

    The sums are of whole numbers, hence exact in any order and number of chunks.

    Args:
        images: uint8 (N, H, W, 3).
        indices: Which of them count.

    Returns:
        Two float64 arrays (3,), for pixels in 0..1. The deviation divides by the number of pixels.

    Raises:
        ValueError: No image counts.
    """
    if not len(indices):
        raise ValueError("channel statistics need at least one image, got none")
    total, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    for chunk in _chunks(images, indices):
        rows = chunk.reshape(-1, chunk.shape[2] * 3)
        total += rows.sum(0, dtype=np.uint64).reshape(-1, 3).sum(0)
        squared = np.square(rows, dtype=np.uint16)  # 255 ** 2 just fits
        squares += squared.sum(0, dtype=np.uint64).reshape(-1, 3).sum(0)
    count = len(indices) * images.shape[1] * images.shape[2]
    mean = total / count
    return mean / 255, np.sqrt(np.maximum(squares / count - mean**2, 0)) / 255


def _chunks(images: np.ndarray, indices: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images, about a megabyte at a time."""
    step = max(1, _CHUNK_BYTES // math.prod(images.shape[1:]))
    for start in range(0, len(indices), step):
        yield np.ascontiguousarray(images[indices[start : start + step]])
