"""Classification metrics from targets and predictions: pure functions of arrays.

All metrics of counts are computed from the confusion matrix, so that one function serves an epoch,
the test set and a thousand bootstrap resamples at once.

A class that has no image among the targets has no recall (NaN) and is left out of every mean over
classes; a class that is never predicted has precision 0. Both are scikit-learn's values with
``labels=<the classes present>, zero_division=0``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

G_MEAN_CORRECTION = 0.001
AUC_NAMES = ("roc_auc_macro", "roc_auc_weighted", "pr_auc_macro")

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


class ClassScores(NamedTuple):
    """Scores of each class, with the leading dimensions of the confusion matrices."""

    support: Floats  # (..., C) images of the class
    predicted: Floats  # (..., C) images predicted as the class
    precision: Floats  # (..., C) 0 where never predicted
    recall: Floats  # (..., C) NaN where there is no image
    f1: Floats  # (..., C) NaN where there is no image


class RankingScores(NamedTuple):
    """Areas under the curves of each class against the rest; NaN without positives or negatives."""

    roc_auc: Floats  # (C,)
    average_precision: Floats  # (C,)
    positives: Ints  # (C,)


def confusion_matrix(targets: Ints, predictions: Ints, num_classes: int) -> Ints:
    """Count the images (C, C) by true class (row) and predicted class (column).

    Args:
        targets: True classes (N,).
        predictions: Predicted classes (N,).
        num_classes: C.

    Raises:
        ValueError: The two differ in length, or a label is outside 0..C-1.
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    if targets.shape != predictions.shape or targets.ndim != 1:
        raise ValueError(
            "targets and predictions must be vectors of one length, "
            f"got shapes {targets.shape} and {predictions.shape}"
        )
    for name, labels in (("targets", targets), ("predictions", predictions)):
        if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f"{name} must be within 0..{num_classes - 1}, got {labels.min()}..{labels.max()}"
            )
    cells = targets.astype(np.int64) * num_classes + predictions.astype(np.int64)
    counts = np.bincount(cells, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)


def class_scores(confusion: Ints | Floats) -> ClassScores:
    """Compute precision, recall and F1 of each class from confusion matrices (..., C, C)."""
    counts = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    support, predicted = counts.sum(-1), counts.sum(-2)
    present = support > 0
    recall = np.where(present, hits / np.where(present, support, 1), np.nan)
    precision = hits / np.maximum(predicted, 1)
    f1 = np.where(present, 2 * hits / np.maximum(support + predicted, 1), np.nan)
    return ClassScores(support, predicted, precision, recall, f1)


def frequency_thirds(train_counts: Ints) -> tuple[Ints, Ints, Ints]:
    """Split the classes into head, medium and tail by their number of training images.

    Head and tail have round(C / 3) classes each, medium the rest (none when C = 2); classes of
    equal count keep their label order.

    Returns:
        The class labels of head, medium and tail, each from the most to the fewest images.
    """
    order = np.argsort(-np.asarray(train_counts), kind="stable")
    third = round(len(order) / 3)
    return order[:third], order[third : len(order) - third], order[len(order) - third :]


def count_metrics(confusion: Ints | Floats, train_counts: Ints) -> dict[str, Any]:
    """Compute every metric that the confusion matrix determines.

    With support s_c, recall r_c, precision p_c and F1 f_c over the K classes present:
    balanced_accuracy = macro_recall = sum r_c / K, macro_f1 = sum f_c / K, weighted_x = sum s_c x_c
    / N, g_mean = (prod r_c) ** (1 / K); g_mean_corrected has 0.001 in place of each recall of 0, as
    imbalanced-learn's ``correction``. micro_f1 is the accuracy, as for any single-label task.

    Args:
        confusion: Confusion matrices (..., C, C).
        train_counts: Training images of each class (C,).

    Returns:
        Name to value, an array of the leading dimensions (a float for a single matrix). A mean
        over no class at all is NaN.
    """
    scores = class_scores(confusion)
    total = np.maximum(scores.support.sum(-1), 1)
    accuracy = np.diagonal(np.asarray(confusion), axis1=-2, axis2=-1).sum(-1) / total
    present = scores.support > 0
    share = scores.support / total[..., None]
    precision = np.where(present, scores.precision, np.nan)
    head, medium, tail = frequency_thirds(train_counts)
    macro_recall = _mean(scores.recall)
    metrics = {
        "accuracy": accuracy,
        "balanced_accuracy": macro_recall,
        "macro_f1": _mean(scores.f1),
        "micro_f1": accuracy,
        "weighted_f1": np.nansum(share * scores.f1, -1),
        "macro_precision": _mean(precision),
        "macro_recall": macro_recall,
        "weighted_precision": np.nansum(share * precision, -1),
        "weighted_recall": np.nansum(share * scores.recall, -1),
        "g_mean": _geometric_mean(scores.recall),
        "g_mean_corrected": _geometric_mean(
            np.where(scores.recall == 0, G_MEAN_CORRECTION, scores.recall)
        ),
        "worst_recall": _smallest(scores.recall),
        "head_recall": _mean(scores.recall[..., head]),
        "medium_recall": _mean(scores.recall[..., medium]),
        "tail_recall": _mean(scores.recall[..., tail]),
    }
    if np.ndim(confusion) == 2:
        return {name: float(value) for name, value in metrics.items()}
    return metrics


def quick_metrics(targets: Ints, predictions: Ints, num_classes: int) -> dict[str, float]:
    """Compute accuracy, balanced accuracy and macro F1, as after each epoch."""
    confusion = confusion_matrix(targets, predictions, num_classes)
    scores = class_scores(confusion)
    return {
        "accuracy": float(np.trace(confusion) / max(len(targets), 1)),
        "balanced_accuracy": float(_mean(scores.recall)),
        "macro_f1": float(_mean(scores.f1)),
    }


def classification_metrics(
    targets: Ints, probs: Floats, train_counts: Ints, loss: float
) -> dict[str, float]:
    """Compute all metrics of one split, named without its prefix.

    Args:
        targets: True classes (N,).
        probs: Class probabilities (N, C); the prediction is the largest, the first one of a tie.
        train_counts: Training images of each class (C,), for head, medium and tail.
        loss: Mean loss over the split, passed through.

    Returns:
        Those of `count_metrics`, ``loss``, ``roc_auc_macro`` and ``pr_auc_macro`` (means over the
        classes that have both positives and negatives; the latter of the average precision),
        ``roc_auc_weighted`` (by the number of positives) and, when C > 5, ``top5_accuracy``.
    """
    probs = np.asarray(probs)
    num_classes = probs.shape[1]
    if len(train_counts) != num_classes:
        raise ValueError(
            f"train_counts must have one entry per column of probs, {num_classes}, "
            f"got {len(train_counts)}"
        )
    confusion = confusion_matrix(targets, probs.argmax(1), num_classes)
    metrics: dict[str, float] = count_metrics(confusion, train_counts)
    if num_classes > 5:
        metrics["top5_accuracy"] = top_k_accuracy(targets, probs, 5)
    metrics |= auc_means(ranking_scores(targets, probs))
    metrics["loss"] = float(loss)
    return metrics


def prefixed(metrics: Mapping[str, float], split: str) -> dict[str, float]:
    """Put the split before the name of each metric: ``{"test/accuracy": ...}``."""
    return {f"{split}/{name}": value for name, value in metrics.items()}


def top_k_accuracy(targets: Ints, probs: Floats, k: int) -> float:
    """Return the share of images with the true class among the `k` most probable ones.

    Between equal probabilities the higher label goes first, as in scikit-learn.
    """
    if not len(targets):
        return float("nan")
    own = np.take_along_axis(probs, np.asarray(targets)[:, None], axis=1)
    higher_label = np.arange(probs.shape[1]) > np.asarray(targets)[:, None]
    ahead = ((probs > own) | ((probs == own) & higher_label)).sum(1)
    return float((ahead < k).mean())


def cumulative_hits(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Ints, Ints]:
    """Count true and false positives among the images that reach each threshold.

    Args:
        scores: Scores (N,).
        positive: Whether each image belongs to the class (N,).

    Returns:
        The distinct scores in falling order (T,), and both counts (T,).
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(positive[order])[ends]
    return ranked[ends], hits, ends + 1 - hits


def ranking_scores(targets: Ints, probs: Floats) -> RankingScores:
    """Compute the ROC AUC and the average precision of each class against the rest.

    The first is P(score of a positive > score of a negative) + P(equal) / 2; the second
    sum_t (R_t - R_{t-1}) P_t over the distinct thresholds, without interpolation. Both are NaN for
    a class without positives or without negatives, and where a score is not finite.
    """
    targets, probs = np.asarray(targets), np.asarray(probs)
    num_classes = probs.shape[1]
    positives = np.bincount(targets, minlength=num_classes)
    roc_auc, precision = np.full(num_classes, np.nan), np.full(num_classes, np.nan)
    if not np.isfinite(probs).all():
        return RankingScores(roc_auc, precision, positives)
    for label in np.flatnonzero((positives > 0) & (positives < len(targets))):
        _, hits, misses = cumulative_hits(probs[:, label], targets == label)
        gained = np.diff(hits, prepend=0)
        below = misses[-1] - misses
        tied = np.diff(misses, prepend=0)
        roc_auc[label] = (gained * (below + tied / 2)).sum() / (hits[-1] * misses[-1])
        precision[label] = (gained * hits / (hits + misses)).sum() / hits[-1]
    return RankingScores(roc_auc, precision, positives)


def auc_means(scores: RankingScores) -> dict[str, float]:
    """Average the areas over the classes that have one; NaN where none has."""
    weights = np.where(np.isnan(scores.roc_auc), 0, scores.positives)
    weighted = np.nansum(weights * scores.roc_auc) / weights.sum() if weights.any() else np.nan
    return {
        "roc_auc_macro": float(_mean(scores.roc_auc)),
        "roc_auc_weighted": float(weighted),
        "pr_auc_macro": float(_mean(scores.average_precision)),
    }


def per_class_table(
    confusion: Ints, class_names: Sequence[str], train_counts: Ints
) -> dict[str, list[Any]]:
    """Tabulate counts, errors and scores of each class, as columns.

    Args:
        confusion: Confusion matrix (C, C).
        class_names: Names (C,) in label order.
        train_counts: Training images (C,).

    Returns:
        Columns class, train_count, test_count, errors (images of the class predicted as another),
        precision, recall, f1, in label order.
    """
    scores = class_scores(confusion)
    return {
        "class": [str(name) for name in class_names],
        "train_count": [int(count) for count in train_counts],
        "test_count": [int(count) for count in scores.support],
        "errors": [int(count) for count in scores.support - np.diagonal(confusion)],
        "precision": scores.precision.tolist(),
        "recall": scores.recall.tolist(),
        "f1": scores.f1.tolist(),
    }


def _mean(values: Floats) -> Floats:
    """Average over the last axis without its NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _smallest(values: Floats) -> Floats:
    smallest = np.where(np.isnan(values), np.inf, values).min(-1)
    return np.where(np.isinf(smallest), np.nan, smallest)


def _geometric_mean(recall: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.exp(_mean(np.log(recall)))
