"""Errors of a model: confused classes, and images to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.metrics import Floats, Ints


class ClassCurves(NamedTuple):
    """One class against the rest, thresholds falling; the ROC curve starts at (0, 0)."""

    false_positive_rate: Floats  # (T + 1,)
    true_positive_rate: Floats  # (T + 1,)
    recall: Floats  # (T,)
    precision: Floats  # (T,)
    roc_auc: float
    average_precision: float


def error_counts(targets: Ints, predictions: Ints) -> dict[str, float]:
    """Count the wrong predictions, and their share."""
    wrong = int((np.asarray(targets) != np.asarray(predictions)).sum())
    return {"errors": float(wrong), "error_rate": wrong / len(targets) if len(targets) else np.nan}


def most_confused(
    confusion: Ints, class_names: Sequence[str], count: int = 10
) -> dict[str, list[Any]]:
    """List the pairs of true and predicted class with the most images, as columns.

    Args:
        confusion: Confusion matrix (C, C).
        class_names: Names (C,).
        count: Pairs at most; pairs without an image are never listed.

    Returns:
        Columns true, predicted, images, share (of the images of the true class), the most images
        first, of equal numbers the larger share.
    """
    off = confusion - np.diag(np.diagonal(confusion))
    shares = off / np.maximum(confusion.sum(1, keepdims=True), 1)
    order = np.lexsort((-shares.ravel(), -off.ravel()))[:count]
    pairs = [divmod(int(cell), len(confusion)) for cell in order if off.ravel()[cell] > 0]
    return {
        "true": [str(class_names[row]) for row, _ in pairs],
        "predicted": [str(class_names[column]) for _, column in pairs],
        "images": [int(off[pair]) for pair in pairs],
        "share": [float(shares[pair]) for pair in pairs],
    }


def spread_over_classes(
    labels: Ints, candidates: Ints, generator: np.random.Generator, count: int = 25
) -> Ints:
    """Choose images at random, but as many of each class as there are, in turn.

    Every class with a candidate gives one image before any gives its second; when there are more
    classes than `count`, chance decides between them.

    Args:
        labels: Classes of all images (N,).
        candidates: Indices to choose from.
        generator: Source of the draws.
        count: Images at most.

    Returns:
        The chosen indices, by class and then by index.
    """
    shuffled = generator.permutation(np.asarray(candidates, dtype=np.int64))
    turn = np.zeros(len(shuffled), dtype=np.int64)
    for label in np.unique(labels[shuffled]):
        members = labels[shuffled] == label
        turn[members] = np.arange(members.sum())
    chosen = shuffled[np.argsort(turn, kind="stable")[:count]]
    return chosen[np.lexsort((chosen, labels[chosen]))]


def misclassified(
    targets: Ints, predictions: Ints, generator: np.random.Generator, count: int = 25
) -> Ints:
    """Choose wrongly predicted images at random, spread over the true classes."""
    wrong = np.flatnonzero(np.asarray(targets) != np.asarray(predictions))
    return spread_over_classes(np.asarray(targets), wrong, generator, count)


def surest_of_each_class(targets: Ints, probs: Floats, count: int = 1) -> list[Ints]:
    """Return the right predictions of highest confidence of each class, surest first.

    Returns:
        One array of at most `count` indices per class, empty where nothing is right.
    """
    targets = np.asarray(targets)
    right = probs.argmax(1) == targets
    confidence = probs.max(1)
    chosen: list[Ints] = []
    for label in range(probs.shape[1]):
        members = np.flatnonzero(right & (targets == label))
        chosen.append(members[np.argsort(-confidence[members], kind="stable")[:count]])
    return chosen


def most_confident_errors(targets: Ints, probs: Floats, count: int = 25) -> Ints:
    """Return indices of the wrong predictions of highest confidence, the surest first."""
    wrong = np.flatnonzero(probs.argmax(1) != targets)
    return wrong[np.argsort(-probs.max(1)[wrong], kind="stable")[:count]]


def least_certain(probs: Floats, count: int = 25) -> Ints:
    """Return indices of the predictions of lowest confidence, the least sure first."""
    return np.argsort(probs.max(1), kind="stable")[:count]


def class_curves(targets: Ints, probs: Floats, points: int = 400) -> list[ClassCurves | None]:
    """Compute ROC and precision-recall curve of each class against the rest.

    The areas are exact; the curves keep about `points` thresholds, evenly spread along each curve.

    Returns:
        One entry per class, None where it has no positives or no negatives, or where a probability
        is not finite.
    """
    targets = np.asarray(targets)
    areas = metrics.ranking_scores(targets, probs)
    curves: list[ClassCurves | None] = []
    for label, roc_auc in enumerate(areas.roc_auc):
        if np.isnan(roc_auc):
            curves.append(None)
            continue
        _, hits, misses = metrics.cumulative_hits(probs[:, label], targets == label)
        true_rate, false_rate = hits / hits[-1], misses / misses[-1]
        kept = _evenly_along(true_rate + false_rate, points)
        curves.append(
            ClassCurves(
                np.append(0.0, false_rate[kept]),
                np.append(0.0, true_rate[kept]),
                true_rate[kept],
                (hits / (hits + misses))[kept],
                float(roc_auc),
                float(areas.average_precision[label]),
            )
        )
    return curves


def _evenly_along(length: Floats, points: int) -> Ints:
    """Return indices of about `points` entries, evenly spread over a rising sequence."""
    if len(length) <= points:
        return np.arange(len(length))
    at = np.searchsorted(length, np.linspace(length[0], length[-1], points))
    return np.unique(np.append(at, [0, len(length) - 1]))
