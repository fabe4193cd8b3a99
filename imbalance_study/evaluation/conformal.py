"""Sets of classes that hold the true one with a chosen probability, in each class.

Split conformal prediction by class (Vovk 2012, "Conditional validity of inductive conformal
predictors", arXiv:1209.2673): a class is in the set of an image when its probability is not lower
than that of all but a share alpha of the calibration images of that class.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation.metrics import Floats, Ints


class SetQuality(NamedTuple):
    """Coverage and size of the sets of each class, over repeated halves."""

    coverage: Floats  # (C,) share of the images of a class whose set holds it
    size: Floats  # (C,) mean number of classes in the sets of its images
    always: (
        np.ndarray
    )  # bool (C,): whether the class is in all sets, having too few images to be left out


def least_probabilities(probs: Floats, targets: Ints, alpha: float) -> Floats:
    """Return the probability (C,) from which on a class belongs into a set.

    It is the k-th smallest of the n images of the class, k = floor(alpha (n + 1)). With fewer than
    1 / alpha - 1 images k is 0, and the class is in every set: no image is proof against it.

    Args:
        probs: Probabilities (N, C) of images that the model did not train on.
        targets: Their classes (N,).
        alpha: Share of the images of each class that may be missed.

    Raises:
        ValueError: `alpha` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha}")
    least = np.zeros(probs.shape[1])
    for label in range(probs.shape[1]):
        own = np.sort(probs[targets == label, label])
        place = math.floor(alpha * (len(own) + 1) + 1e-9)
        least[label] = own[place - 1] if place else -np.inf
    return least


def sets(probs: Floats, least: Floats) -> np.ndarray:
    """Return the classes in the set of each image, as bool (N, C); a set may be empty."""
    return np.asarray(probs >= least)


def quality(
    probs: Floats,
    targets: Ints,
    alpha: float,
    generator: np.random.Generator,
    *,
    repeats: int = 50,
) -> SetQuality:
    """Measure the sets: half of each class calibrates, the other half is covered or not.

    Args:
        probs: Probabilities (N, C) of images that their models did not train on.
        targets: Their classes (N,).
        alpha: See `least_probabilities`.
        generator: Of the halves.
        repeats: Number of halves.
    """
    classes = probs.shape[1]
    covered, size, seen = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    for _ in range(repeats):
        half = np.zeros(len(targets), bool)
        for label in range(classes):
            rows = generator.permutation(np.flatnonzero(targets == label))
            half[rows[: len(rows) // 2]] = True
        least = least_probabilities(probs[half], targets[half], alpha)
        found, rest = sets(probs[~half], least), targets[~half]
        covered += np.bincount(rest, found[np.arange(len(rest)), rest], minlength=classes)
        size += np.bincount(rest, found.sum(1), minlength=classes)
        seen += np.bincount(rest, minlength=classes)
    with np.errstate(invalid="ignore"):
        shares, sizes = covered / seen, size / seen
    always = np.isneginf(least_probabilities(probs, targets, alpha))
    return SetQuality(shares, sizes, always)
