"""Standard errors, and stratified resamples of a test set.

The bootstrap is stratified: every resample draws as many images of each class as the set has, with
replacement. For a metric of counts, such a resample is one multinomial draw per class over the
predicted classes, with the row of the confusion matrix as probabilities: a thousand confusion
matrices are drawn at once, without touching the images, and follow exactly the same distribution.
Areas under curves need the images; there the resample is a vector of multiplicities.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.metrics import Floats, Ints

CELLS_AT_ONCE = 4_000_000  # of confusion matrices or multiplicities: about 32 MB


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


def p_text(p_value: float) -> str:
    """Write a p value in short; one below 5 % never reads as 5 %."""
    if p_value < 0.001:
        return "p < 0.001"
    text = f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"
    return f"p < {text}" if p_value < 0.05 <= float(text) else f"p = {text}"


def standard_error_of_balanced_accuracy(
    targets: Ints, predictions: Ints, num_classes: int
) -> float:
    """Compute `standard_error_of_mean_recall` of predictions."""
    confusion = metrics.confusion_matrix(targets, predictions, num_classes)
    scores = metrics.class_scores(confusion)
    return standard_error_of_mean_recall(scores.recall, scores.support)


def standard_error_of_mean_recall(recall: Floats, support: Ints | Floats) -> float:
    """Compute the standard error of the mean recall, the images being samples.

    sqrt(sum_c v_c) / K over the K classes present, with v_c = r_c (1 - r_c) / (n_c - 1), the
    unbiased estimate of the variance of the recall r_c of n_c images. For a single image the
    variance is unknown, so v_c is then 1/4, the largest possible.

    Args:
        recall: (C,) of each class.
        support: (C,) images of each class.

    Returns:
        The standard error; NaN when there are no images.
    """
    present = support > 0
    if not present.any():
        return float("nan")
    count, recall = support[present], recall[present]
    variance = np.where(count > 1, recall * (1 - recall) / np.maximum(count - 1, 1), 0.25)
    return float(np.sqrt(variance.sum()) / present.sum())


def resampled_confusions(
    confusion: Ints, resamples: int, generator: np.random.Generator, *, shares: Floats
) -> Iterator[Ints]:
    """Draw confusion matrices (B, C, C) of stratified resamples, in chunks that fit in memory.

    Args:
        confusion: Confusion matrix (C, C); every resample has its numbers of images of each class.
        resamples: B in all.
        generator: Source of the draws.
        shares: Probabilities (C, C) of the predicted classes, a row for each true class.
    """
    support = confusion.sum(1)
    chunk = max(1, CELLS_AT_ONCE // confusion.size)
    for start in range(0, resamples, chunk):
        size = (min(chunk, resamples - start), len(confusion))
        yield generator.multinomial(support, shares, size=size)


def resampled_aucs(
    targets: Ints, probs: Floats, resamples: int, generator: np.random.Generator
) -> dict[str, Floats]:
    """Resample the images of each class; return the averages of `metrics.auc_means`, (B,) each."""
    counts = np.bincount(targets, minlength=probs.shape[1])
    labels = np.flatnonzero((counts > 0) & (counts < len(targets)))
    if not len(labels) or not np.isfinite(probs).all():
        return {name: np.full(resamples, np.nan) for name in metrics.AUC_NAMES}
    roc_sum, weighted_sum, precision_sum = np.zeros((3, resamples))
    multiplicity = _multiplicities(targets, counts, resamples, generator)
    for label in labels:
        roc, precision = _weighted_areas(probs[:, label], targets == label, multiplicity)
        roc_sum += roc
        weighted_sum += roc * counts[label]
        precision_sum += precision
    means = roc_sum / len(labels), weighted_sum / counts[labels].sum(), precision_sum / len(labels)
    return dict(zip(metrics.AUC_NAMES, means, strict=True))


def _multiplicities(
    targets: Ints, counts: Ints, resamples: int, generator: np.random.Generator
) -> Ints:
    """Count how often each image is in each resample (N, B)."""
    drawn = np.zeros((len(targets), resamples), dtype=np.int32)
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(targets == label)
        picks = generator.integers(len(members), size=(resamples, len(members)))
        cells = picks * resamples + np.arange(resamples)[:, None]
        flat = np.bincount(cells.ravel(), minlength=len(members) * resamples)
        drawn[members] = flat.reshape(len(members), resamples)
    return drawn


def _weighted_areas(scores: Floats, positive: Ints, multiplicity: Ints) -> tuple[Floats, Floats]:
    """Compute ROC AUC and average precision (B,) of images that count more than once.

    Negatives matter through their number between two positives alone, so runs of them are summed
    before anything is accumulated.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], positive[order]
    starts = np.flatnonzero(np.append(True, np.diff(ranked) != 0))  # of runs of equal scores
    has_hit = np.logical_or.reduceat(hit, starts)
    # A run of scores without a positive joins the one before it, unless that one has a positive.
    keep = has_hit | np.append(True, has_hit[:-1])
    starts = starts[keep]
    drawn = multiplicity[order]
    gained = np.add.reduceat(np.where(hit[:, None], drawn, 0), starts, axis=0)
    passed = np.add.reduceat(np.where(hit[:, None], 0, drawn), starts, axis=0)
    hits, misses = gained.cumsum(0), passed.cumsum(0)
    below = misses[-1] - misses
    roc = (gained * (below + passed / 2)).sum(0) / (hits[-1].astype(float) * misses[-1])
    precision = (gained * (hits / np.maximum(hits + misses, 1))).sum(0) / hits[-1]
    return roc, precision
