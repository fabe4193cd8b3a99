"""Gain that more images of a class promise, from scores with fewer of them."""

from __future__ import annotations

import numpy as np

from imbalance_study.evaluation.corrected_differences import Corrected, corrected
from imbalance_study.evaluation.metrics import Floats, Ints


def gain(scores: Floats, images: Ints, now: int, more: int, ratio: float) -> Corrected:
    """Estimate how much a score gains from more images of one class.

    In each repeat a line is fitted through the scores over ``-1 / sqrt(n)``, n the training images
    of the class: errors of classifiers often fall about as fast as that, and the gain stays
    bounded, unlike that of a line over log n. The line goes on to ``now + more``.

    Args:
        scores: Of each repeat (J, P), with P different numbers of images of the class.
        images: Training images of the class (P,), at least two different numbers.
        now: Images of the class there are.
        more: Images to add.
        ratio: n_test / n_train, see `corrected_differences.test_to_train`.

    Raises:
        ValueError: The numbers of images are all the same, or one is below 1.
    """
    places = np.asarray(images, np.float64)
    if places.min() < 1 or len(np.unique(places)) < 2:
        raise ValueError(f"a learning curve needs two different numbers of images, got {images}")
    along = -1 / np.sqrt(places)
    along = along - along.mean()
    slopes = (np.asarray(scores) * along).sum(1) / (along**2).sum()
    return corrected(slopes * (1 / np.sqrt(now) - 1 / np.sqrt(now + more)), ratio)
