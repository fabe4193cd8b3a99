"""Differences between repeats that share images: intervals, tests, probability of being best.

Repeated random splits of one image set overlap: their scores are correlated, and the t-test of
independent values takes them for far surer than they are. Nadeau and Bengio (2003, "Inference for
the generalization error", Machine Learning 52) correct the variance of the mean of J repeats,

    (1 / J + n_test / n_train) * sd^2,

where the second term stands for the correlation of the repeats, whatever their number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation.metrics import Floats, Ints

CONFIDENCE = 0.95
DRAWS = 20_000


class Corrected(NamedTuple):
    """Mean over repeats, with an interval and a test of 0 that allow for shared images."""

    mean: float
    low: float  # 95 % interval; NaN with fewer than two repeats
    high: float
    p: float  # two-sided; NaN with fewer than two repeats


class Standing(NamedTuple):
    """Place of each of several methods, by the joint distribution of their means."""

    best: Floats  # (K,) probability of the largest mean; they sum to 1
    near: Floats  # (K,) probability of lying within `point` of the largest


def test_to_train(test_counts: Ints, train_counts: Ints) -> float:
    """Return n_test / n_train as metrics see it that give all classes the same weight.

    It is the mean over the classes. A class of three images, of which one is for testing, counts
    with 1 / 2: its share in the variance of a balanced accuracy is the largest.

    Args:
        test_counts: Test images of each class (C,).
        train_counts: Training images (C,); classes without any are left out.
    """
    test, train = np.asarray(test_counts, np.float64), np.asarray(train_counts, np.float64)
    known = (train > 0) & (test > 0)
    if not known.any():
        raise ValueError("no class has both training and test images")
    return float((test[known] / train[known]).mean())


def corrected(values: Floats, ratio: float) -> Corrected:
    """Return mean, interval and test of values (J,) of repeats that share images.

    Args:
        values: A difference, say, of each repeat.
        ratio: See `test_to_train`.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    count = len(known)
    if not count:
        return Corrected(math.nan, math.nan, math.nan, math.nan)
    mean = float(known.mean())
    if count < 2:
        return Corrected(mean, math.nan, math.nan, math.nan)
    from scipy import stats

    error = math.sqrt(1 / count + ratio) * float(known.std(ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    if error <= 1e-12:
        return Corrected(mean, mean, mean, 1.0 if abs(mean) <= 1e-12 else 0.0)
    p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    return Corrected(mean, mean - half, mean + half, p)


def above_zero(found: Corrected) -> float:
    """Return the probability that the true mean lies above 0, by the distribution of `corrected`.

    That is one minus the one-sided p; NaN with fewer than two repeats, 1/2 where nothing differs.
    """
    return 1 - found.p / 2 if found.mean > 0 else found.p / 2


def standing(
    scores: Floats,
    ratio: float,
    generator: np.random.Generator,
    *,
    point: float = 0.01,
    draws: int = DRAWS,
) -> Standing:
    """Compute the probability of each method to have the largest mean, and to lie near it.

    The means are drawn from a multivariate t distribution of J - 1 degrees of freedom around the
    measured ones. Its covariance is that of the scores less the mean of their repeat, shrunk by
    Ledoit and Wolf (2004): with few repeats of many methods the plain one is singular.

    Args:
        scores: Of each repeat and method (J, K), larger is better.
        ratio: See `test_to_train`.
        generator: Of the draws.
        point: Distance that counts as near.
        draws: Number of draws.

    Raises:
        ValueError: There are fewer than two repeats.
    """
    repeats, methods = scores.shape
    if repeats < 2:
        raise ValueError(f"the standing needs at least 2 repeats, got {repeats}")
    from sklearn.covariance import ledoit_wolf

    centred = scores - scores.mean(1, keepdims=True)
    covariance, _ = ledoit_wolf(centred)
    covariance = np.atleast_2d(covariance) * (repeats / (repeats - 1))
    values, vectors = np.linalg.eigh((1 / repeats + ratio) * covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    normal = generator.standard_normal((draws, methods)) @ root.T
    chi = np.sqrt(generator.chisquare(repeats - 1, size=(draws, 1)) / (repeats - 1))
    drawn = scores.mean(0) + normal / chi
    largest = drawn.max(1, keepdims=True)
    wins = drawn >= largest - 1e-12
    best = (wins / wins.sum(1, keepdims=True)).mean(0)
    return Standing(best, (drawn >= largest - point).mean(0))
