"""Image sets made of numbers."""

import numpy as np

from imbalance_study.data.image_set import ImageSet

NONE = np.empty(0, np.int64)


def image_set(
    counts: list[int], *, val: int = 0, test: int = 0, groups: list[int] | None = None
) -> ImageSet:
    """So many training images of each class, then `val` and `test` images of each, all black."""
    sizes = [counts, [val] * len(counts), [test] * len(counts)]
    labels = np.concatenate([np.repeat(np.arange(len(counts)), size) for size in sizes])
    ends = np.cumsum([sum(size) for size in sizes])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    names = tuple(f"class {label}" for label in range(len(counts)))
    return ImageSet(
        "made", np.zeros((len(labels), 1, 1, 3), np.uint8), labels, names,
        tuple(map(str, range(len(labels)))), *parts,
        np.array(groups, np.int64) if groups else NONE, (),
    )  # fmt: skip


def counts(images: ImageSet, part: np.ndarray) -> list[int]:
    return np.bincount(images.labels[part], minlength=len(images.class_names)).tolist()
