"""Calibration: agreement of predicted probabilities with observed frequencies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation.metrics import Floats, Ints

BINS = 15
LEAST_PROBABILITY = 1e-12


class Reliability(NamedTuple):
    """Bins of equal width; NaN in an empty one."""

    edges: Floats  # (B + 1,) from 0 to 1
    counts: Ints  # (B,)
    confidence: Floats  # (B,) mean
    accuracy: Floats  # (B,) share that is right


class Coverage(NamedTuple):
    """Accuracy of the predictions kept when the least sure ones are rejected."""

    coverage: Floats  # (K,) share that is kept, rising to 1
    accuracy: Floats  # (K,) on the kept


def reliability(confidence: Floats, right: Ints, bins: int = BINS) -> Reliability:
    """Sort predictions into bins of equal width ((b-1)/B, b/B]; a confidence of 0 into the first.

    Args:
        confidence: Probabilities (N,).
        right: Whether the event with that probability happened (N,).
        bins: B.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    return Reliability(
        edges,
        counts,
        np.bincount(index, weights=confidence, minlength=bins) / filled,
        np.bincount(index, weights=right, minlength=bins) / filled,
    )


def gap(bins: Reliability) -> float:
    """Compute the calibration error of bins: sum_b n_b / N |accuracy - confidence|."""
    differences = np.nan_to_num(np.abs(bins.accuracy - bins.confidence))
    return float((bins.counts * differences).sum() / max(bins.counts.sum(), 1))


def expected_calibration_error(targets: Ints, probs: Floats, bins: int = BINS) -> float:
    """Compute the calibration error of the predicted class (Guo et al. 2017, eq. 3).

    arXiv:1706.04599.
    """
    return gap(reliability(probs.max(1), probs.argmax(1) == targets, bins))


def classwise_calibration_error(targets: Ints, probs: Floats, bins: int = BINS) -> float:
    """Average the calibration errors of the columns of the probabilities.

    1/C sum_c sum_b n_bc / N |share of class c - mean p_c| (Kull et al. 2019, arXiv:1910.12656,
    eq. 3). Unlike the plain error it also sees the classes that are never the most probable one.
    """
    errors = [
        gap(reliability(column, targets == label, bins)) for label, column in enumerate(probs.T)
    ]
    return float(np.mean(errors))


def negative_log_likelihood(targets: Ints, probs: Floats) -> float:
    """Average -log p of the true class, with p at least 1e-12."""
    own = probs[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(own, LEAST_PROBABILITY)).mean())


def brier_score(targets: Ints, probs: Floats) -> float:
    """Average sum_c (p_c - [y = c])^2, between 0 and 2 (Brier 1950, eq. 2)."""
    own = probs[np.arange(len(targets)), targets]
    return float(((probs**2).sum(1) - 2 * own + 1).mean())


def accuracy_by_coverage(targets: Ints, probs: Floats) -> Coverage:
    """Compute the accuracy of the surest predictions, for every share of them.

    Predictions of equal confidence are kept or rejected together.
    """
    confidence = probs.max(1)
    order = np.argsort(-confidence, kind="stable")
    right = (probs.argmax(1) == targets)[order]
    ends = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    kept = ends + 1
    return Coverage(kept / len(order), right.cumsum()[ends] / kept)


def area_under_risk(curve: Coverage) -> float:
    """Average the error rate over all coverages; small is good.

    Each step is held from the one before: 0 when nothing is wrong, the error rate when confidence
    is uninformative (the AURC of Geifman et
    al. 2019, arXiv:1805.08206).
    """
    steps = np.diff(curve.coverage, prepend=0)
    return float((steps * (1 - curve.accuracy)).sum())


def split_confidence(targets: Ints, probs: Floats) -> tuple[Floats, Floats]:
    """Return the confidence of the right and of the wrong predictions."""
    right = probs.argmax(1) == targets
    return probs.max(1)[right], probs.max(1)[~right]


def calibration_metrics(targets: Ints, probs: Floats) -> dict[str, float]:
    """Compute all metrics of the probabilities that are single numbers.

    Args:
        targets: True classes (N,), N at least 1.
        probs: Class probabilities (N, C).

    Returns:
        ece and classwise_ece (15 bins), nll, brier, aurc, and mean and standard deviation of the
        confidence of right and wrong predictions (NaN where there are none).
    """
    if not len(targets):
        raise ValueError("calibration needs at least 1 prediction, got 0")
    probs = np.asarray(probs, dtype=np.float64)
    metrics = {
        "ece": expected_calibration_error(targets, probs),
        "classwise_ece": classwise_calibration_error(targets, probs),
        "nll": negative_log_likelihood(targets, probs),
        "brier": brier_score(targets, probs),
        "aurc": area_under_risk(accuracy_by_coverage(targets, probs)),
    }
    for name, values in zip(("right", "wrong"), split_confidence(targets, probs), strict=True):
        some = len(values) > 0
        metrics[f"confidence_{name}_mean"] = float(values.mean()) if some else float("nan")
        metrics[f"confidence_{name}_std"] = float(values.std()) if some else float("nan")
    return metrics
