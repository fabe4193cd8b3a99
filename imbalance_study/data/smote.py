"""SMOTE on pixels or features: new rows of the smaller classes, made once, before training.

A resampler is a function ``resample(images, labels, seed, *, options) -> (images, labels)`` that is
called once, on the training part after the split. In the place of images there may be features of
a frozen backbone, float32 (N, F).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[Any]
Labels = NDArray[np.int64]


def smote(
    images: Images,
    labels: Labels,
    seed: int,
    *,
    k: int = 5,
    max_gb: float = 0.0,
    class_names: Sequence[str] = (),
) -> tuple[Images, Labels]:
    """Make images between neighbours of a class, until every class is as large as the largest.

    Chawla et al. (2002) by imbalanced-learn on the flattened pixels: a new image is x + u (x' - x)
    with x a random image of its class, x' one of its k nearest neighbours in that class, u uniform
    in 0..1; pixels are rounded to whole grey values. The given images stay first, unchanged.

    Args:
        images: uint8 (N, H, W, 3), or features float32 (N, F).
        labels: int64 (N,).
        seed: Of the random choices.
        k: Neighbours to choose from.
        max_gb: Memory limit, in GB of 10^9 bytes; 0 is the free memory of the machine.
        class_names: Names by label, for messages.

    Returns:
        Images uint8 (C * n_max, H, W, 3), or features, and labels (C * n_max,).

    Raises:
        ValueError: k below 1, a class with no more than k images, or too little memory.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    classes, counts = np.unique(labels, return_counts=True)
    smallest = int(counts.argmin())
    if counts[smallest] <= k:
        label, count = int(classes[smallest]), int(counts[smallest])
        raise ValueError(_too_few(class_names[label] if class_names else str(label), count, k))
    _check_memory(images.shape, counts, max_gb)
    # After the checks: its import takes a second.
    from imblearn.over_sampling import SMOTE

    pixels = images.reshape(len(images), -1).astype(np.float32)
    sampler = SMOTE(k_neighbors=k, random_state=seed)
    resampled, new_labels = sampler.fit_resample(pixels, labels)
    made = resampled[len(images) :]
    if images.dtype == np.uint8:
        made = np.rint(made, out=made).astype(np.uint8)
    return np.concatenate([images, made.reshape(-1, *images.shape[1:])]), new_labels


def counts_after(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of images of each class (C,) after `smote`."""
    return np.full_like(counts, counts.max())


def estimate_bytes(shape: tuple[int, ...], counts: NDArray[np.int64]) -> int:
    """Estimate the peak memory of `smote`, beyond the given images.

    In images of float32: the N given ones twice, the S new ones, and then either all N + S together
    (imbalanced-learn joins its parts) or, with few classes, four times the new ones of one class,
    which are computed in float64. As uint8: all N + S.

    Args:
        shape: Of the images, (N, H, W, 3).
        counts: Images of each class, (C,).
    """
    given, pixels = shape[0], math.prod(shape[1:])
    largest = int(counts.max())
    total = largest * len(counts)
    one_class = 3 * (largest - int(counts.min())) + largest
    return pixels * (4 * (2 * given + (total - given) + max(total, one_class)) + total)


def _too_few(name: str, count: int, k: int) -> str:
    """Say which class lacks images, and the ways out."""
    images = "image" if count == 1 else "images"
    fewer = f"resample=smote:k={count - 1} goes with {count}, " if count > 1 else ""
    return (
        f"smote:k={k} needs at least {k + 1} training images of each class, and class {name!r} has "
        f"{count} {images}; {fewer}sampler=random_over with any number, or add images of the class"
    )


def _check_memory(shape: tuple[int, ...], counts: NDArray[np.int64], max_gb: float) -> None:
    import psutil

    allowed = max_gb * 1e9 or float(psutil.virtual_memory().available)
    needed = estimate_bytes(shape, counts)
    if needed > allowed:
        total = int(counts.max()) * len(counts)
        raise ValueError(
            f"smote needs about {needed / 1e9:.1f} GB for {total} images of "
            f"{_size(shape)}, it may take {allowed / 1e9:.1f} GB: "
            "take smaller images, or a sampler such as random_over"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]} pixels" if len(shape) == 4 else f"{shape[1]} features"
