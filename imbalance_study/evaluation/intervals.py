"""Confidence intervals of the metrics of one model on one test set.

The images of a test set are a sample of their classes. A plain bootstrap takes a class whose two
test images are both right for a class without any error: its intervals are too narrow where test
images are few, and have no width where a model is right (or wrong) throughout. Here each row of
the confusion matrix gets one more right and one more wrong image before it is resampled (Agresti
and Coull 1998 do the same to a proportion). The variance of a metric over these resamples gives the
number of images that would be as informative for a plain proportion, its effective sample size, and
Jeffreys' interval of a proportion is taken at that number (Korn and Graubard 1998; Brown, Cai and
DasGupta 2001). So an interval lies within 0 and 1 and always has a width. Coverage by simulation:
``benchmarks/interval_coverage.py`` and docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imbalance_study.evaluation import bootstrap, metrics
from imbalance_study.evaluation.bootstrap import Interval
from imbalance_study.evaluation.metrics import Floats, Ints

# Images of a class below which an interval says little; reports name such classes.
FEW_IMAGES = 20


def metric_intervals(
    targets: Ints,
    probs: Floats,
    train_counts: Ints,
    generator: np.random.Generator,
    *,
    resamples: int = 1_000,
    auc_resamples: int = 200,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return the intervals of all metrics of a test set; see the module.

    Args:
        targets: True classes (N,).
        probs: Class probabilities (N, C).
        train_counts: Training images of each class (C,).
        generator: Source of the draws.
        resamples: Resamples of the metrics of counts.
        auc_resamples: Resamples of the areas under curves; 0 leaves these out.
        confidence: Coverage of the interval.

    Returns:
        Name (as in `metrics.count_metrics`, and the AUCs) to interval. A metric that is NaN has
        NaN ends.

    Raises:
        ValueError: `confidence` is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    probs = np.asarray(probs)
    confusion = metrics.confusion_matrix(targets, probs.argmax(1), probs.shape[1])
    intervals = count_intervals(confusion, train_counts, generator, resamples, confidence)
    if auc_resamples:
        intervals |= _auc_intervals(
            np.asarray(targets), probs, generator, auc_resamples, confidence
        )
    return intervals


def count_intervals(
    confusion: Ints,
    train_counts: Ints,
    generator: np.random.Generator,
    resamples: int = 1_000,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return intervals of the metrics that a confusion matrix (C, C) determines; see the module."""
    values = metrics.count_metrics(confusion, train_counts)
    chunks = [
        metrics.count_metrics(drawn, train_counts)
        for drawn in bootstrap.resampled_confusions(
            confusion, resamples, generator, shares=_smoothed(confusion)
        )
    ]
    intervals = {}
    for name, value in values.items():
        drawn = np.concatenate([chunk[name] for chunk in chunks])
        intervals[name] = _at_effective_size(value, drawn.mean(), drawn.var(ddof=1), confidence)
    intervals["worst_recall"] = worst_recall_interval(confusion, confidence)
    return intervals


def worst_recall_interval(confusion: Ints, confidence: float = 0.95) -> Interval:
    """Return the interval of the smallest recall, from smallest lower end to smallest upper end.

    Lower ends are Jeffreys' at ``confidence``, since the class that is truly worst lies above its
    own in all but half of the remaining cases. Upper ends have that error shared among the C
    classes (Bonferroni), since all of them bound the smallest recall at once. The interval errs on
    the safe side: it covers more often than `confidence`.
    """
    scores = metrics.class_scores(confusion)
    present = scores.support > 0
    if not present.any():
        return Interval(float("nan"), float("nan"))
    count = scores.support[present]
    right = np.diagonal(confusion)[present]
    shared = 1 - (1 - confidence) / len(count)
    low, _ = jeffreys(right, count, confidence)
    _, high = jeffreys(right, count, shared)
    return Interval(float(low.min()), float(high.min()))


def jeffreys(
    right: npt.ArrayLike, count: npt.ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return Jeffreys' interval of a proportion, by quantiles of Beta(right + 1/2, wrong + 1/2).

    The lower end is 0 where nothing is right, the upper end 1 where everything is (Brown, Cai and
    DasGupta 2001, section 4.1). Numbers need not be whole.
    """
    from scipy.special import betaincinv

    right = np.asarray(right, float)
    wrong = np.maximum(np.asarray(count, float) - right, 0.0)
    tail = (1 - confidence) / 2
    low = np.where(right <= _NONE, 0.0, betaincinv(right + 0.5, wrong + 0.5, tail))
    high = np.where(wrong <= _NONE, 1.0, betaincinv(right + 0.5, wrong + 0.5, 1 - tail))
    return low, high


_NONE = 1e-9  # images


def few_images(support: Ints, class_names: Sequence[str]) -> str:
    """Say which classes have test images, but fewer than 20; nothing where none has so few.

    Args:
        support: Test images of each class (C,).
        class_names: Names (C,).
    """
    order = np.argsort(support, kind="stable").tolist()
    few = [
        f"{class_names[label]} {support[label]}"
        for label in order
        if 0 < support[label] < FEW_IMAGES
    ]
    if not few:
        return ""
    more = f" and {len(few) - 3} more classes" if len(few) > 3 else ""
    return (
        f"fewer than {FEW_IMAGES} test images: {', '.join(few[:3])}{more}; each image counts for "
        "much, so that means over classes are uncertain"
    )


def _smoothed(confusion: Ints) -> Floats:
    """Return rows (C, C) of probabilities, each with one more right and one more wrong image."""
    classes = len(confusion)
    more = np.full((classes, classes), 1 / max(classes - 1, 1))
    np.fill_diagonal(more, 1.0)
    raised = confusion + more
    return np.asarray(raised / raised.sum(1, keepdims=True))


def _at_effective_size(value: float, centre: float, variance: float, confidence: float) -> Interval:
    """Return Jeffreys' interval of `value` with ``centre (1 - centre) / variance`` images."""
    if not np.isfinite(value) or not np.isfinite(variance):
        return Interval(float("nan"), float("nan"))
    size = centre * (1 - centre) / variance if variance > 0 else np.inf
    if not 0 < size < np.inf:  # resamples of one value alone
        return Interval(0.0, 1.0)
    low, high = jeffreys(value * size, size, confidence)
    return Interval(min(float(low), value), max(float(high), value))


def _auc_intervals(
    targets: Ints,
    probs: Floats,
    generator: np.random.Generator,
    resamples: int,
    confidence: float,
) -> dict[str, Interval]:
    """Return the intervals of the averages of areas.

    The variance is that of resamples, plus what Hanley and McNeil give for areas a little lower
    beyond the measured ones. The average precision takes the same addition.
    """
    scores = metrics.ranking_scores(targets, probs)
    values = metrics.auc_means(scores)
    drawn = bootstrap.resampled_aucs(targets, probs, resamples, generator)
    known = ~np.isnan(scores.roc_auc)
    areas, positives = scores.roc_auc[known], scores.positives[known]
    negatives = len(targets) - positives
    smaller = np.minimum(positives, negatives)
    shrunk = (areas * smaller + 1) / (smaller + 2)
    added = np.maximum(
        _area_variance(shrunk, positives, negatives) - _area_variance(areas, positives, negatives),
        0,
    )
    intervals = {}
    for name, value in values.items():
        equal = np.full(len(areas), 1 / max(len(areas), 1))
        weights = positives / max(positives.sum(), 1) if name == "roc_auc_weighted" else equal
        variance = float(drawn[name].var(ddof=1) + (weights**2 * added).sum())
        lowered = value - float((weights * (areas - shrunk)).sum())
        centre = min(max(lowered, _NONE), 1 - _NONE)
        intervals[name] = _at_effective_size(value, centre, variance, confidence)
    return intervals


def _area_variance(area: Floats, positives: Ints, negatives: Ints) -> Floats:
    """Return the variance of areas (C,) under ROC curves (Hanley and McNeil 1982, equation 1)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    total = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return np.asarray(total / (positives * negatives))
