"""Post-hoc corrections: parameters chosen on validation, then applied to any logits.

Functions called ``fit_...`` and ``search_...`` read validation; the others apply their results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation import bootstrap, metrics
from imbalance_study.evaluation.metrics import Floats, Ints

TAUS = tuple(round(0.1 * step, 1) for step in range(21))  # 0 to 2; 0 corrects nothing
THRESHOLDS = tuple(float(10**power) for power in np.linspace(-2, 2, 41))
TEMPERATURES = (0.05, 20.0)


class TauSearch(NamedTuple):
    """Balanced accuracy on validation over a grid."""

    taus: Floats  # (T,)
    balanced_accuracy: Floats  # (T,)
    standard_error: Floats  # (T,) of each, from the few images that validation has
    best: float  # the smallest tau of the best


def softmax(logits: Floats) -> Floats:
    """Compute probabilities (N, C) of logits (N, C), in double precision."""
    shifted = np.asarray(logits, dtype=np.float64)
    powers = np.exp(shifted - shifted.max(1, keepdims=True))
    probs: Floats = powers / powers.sum(1, keepdims=True)
    return probs


def adjust_logits(logits: Floats, class_counts: Ints, tau: float) -> Floats:
    """Subtract the training prior from the logits: z_c - tau log(n_c / N).

    Menon et al. 2021, arXiv:2007.07314, eq. 9. tau = 1 is right for balanced accuracy of an ideally
    calibrated model, 0 changes nothing. Only for models trained without any correction.

    Raises:
        ValueError: A class has no training image.
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    if (counts < 1).any():
        raise ValueError(
            f"logit adjustment needs an image of every class, got class_counts {class_counts}"
        )
    adjusted: Floats = np.asarray(logits) - tau * np.log(counts / counts.sum())
    return adjusted


def tau_normalise(logits: Floats, head_weight: Floats, tau: float) -> Floats:
    """Divide the logit of each class by the length of its weights: z_c / |w_c| ** tau.

    Kang et al. 2020, arXiv:1910.09217, sec. 4.3. Differs from the paper, which drops the bias:
    here it is divided along, so that tau = 0 is the model itself.

    Args:
        logits: Logits (N, C).
        head_weight: Weights of the linear head (C, F).
        tau: 0 changes nothing, 1 makes the weights equally long.
    """
    norms = np.linalg.norm(np.asarray(head_weight, dtype=np.float64), axis=1)
    normalised: Floats = np.asarray(logits) / np.maximum(norms, 1e-12) ** tau
    return normalised


def search_tau(
    corrected: Callable[[float], Floats],
    targets: Ints,
    taus: tuple[float, ...] = TAUS,
) -> TauSearch:
    """Compute balanced accuracy of corrected validation logits over a grid; choose tau.

    Args:
        corrected: tau to logits (N, C), such as ``lambda tau: adjust_logits(logits, counts, tau)``.
        targets: True classes (N,), N at least 1.
        taus: The grid.
    """
    if not len(targets):
        raise ValueError("tau is chosen on validation images, got none")
    scores = balanced_accuracy_over(corrected, targets, taus)
    errors = []
    for tau in taus:
        logits = corrected(tau)
        errors.append(
            bootstrap.standard_error_of_balanced_accuracy(
                targets, logits.argmax(1), logits.shape[1]
            )
        )
    best = min(taus, key=lambda tau: (-round(scores[taus.index(tau)], 12), tau))
    return TauSearch(np.array(taus), scores, np.array(errors), best)


def balanced_accuracy_over(
    corrected: Callable[[float], Floats], targets: Ints, taus: tuple[float, ...] = TAUS
) -> Floats:
    """Compute balanced accuracy (T,) of logits corrected by each tau, without a choice.

    Args:
        corrected: tau to logits (N, C).
        targets: True classes (N,).
        taus: The grid.
    """
    scores = []
    for tau in taus:
        logits = corrected(tau)
        scored = metrics.quick_metrics(targets, logits.argmax(1), logits.shape[1])
        scores.append(scored["balanced_accuracy"])
    return np.array(scores)


def fit_thresholds(
    probs: Floats, targets: Ints, sweeps: int = 3, grid: tuple[float, ...] = THRESHOLDS
) -> Floats:
    """Fit thresholds t (C,) of the rule argmax_c p_c / t_c to validation.

    Coordinate ascent on balanced accuracy: class after class takes the value of the grid that is
    best with the others held, of equally good ones the closest to 1, until a sweep changes nothing.
    A class without validation images keeps 1: raising its threshold would cost nothing there, and
    take all its images on the test set.

    Args:
        probs: Validation probabilities (N, C).
        targets: True classes (N,), N at least 1.
        sweeps: Passes over the classes at most.
        grid: Thresholds to choose from, 1 among them or not.
    """
    if not len(targets):
        raise ValueError("thresholds are chosen on validation images, got none")
    targets = np.asarray(targets)
    counts = np.bincount(targets, minlength=probs.shape[1])
    weight = 1 / (counts[targets] * (counts > 0).sum())
    thresholds = np.ones(probs.shape[1])
    tried = np.array(sorted({*grid, 1.0}, key=lambda value: abs(np.log(value))))
    for _ in range(sweeps):
        before = thresholds.copy()
        for label in np.flatnonzero(counts).tolist():
            thresholds[label] = _best_threshold(probs, targets, weight, thresholds, label, tried)
        if (thresholds == before).all():
            break
    return thresholds


def _best_threshold(
    probs: Floats, targets: Ints, weight: Floats, thresholds: Floats, label: int, tried: Floats
) -> float:
    """Return the first tried threshold of a class with the largest weighted accuracy."""
    scores = probs / thresholds
    scores[:, label] = -np.inf
    rival, rival_score = scores.argmax(1), scores.max(1)
    taken = probs[:, label] > tried[:, None] * rival_score
    right = np.where(taken, targets == label, targets == rival)
    gained = np.round((right * weight).sum(1), 12)
    return float(tried[gained.argmax()])


def fit_thresholds_by(
    score: Callable[[Ints], Floats],
    probs: Floats,
    targets: Ints,
    sweeps: int = 3,
    grid: tuple[float, ...] = THRESHOLDS,
) -> Floats:
    """Fit thresholds t (C,) as `fit_thresholds` does, for any score of confusion matrices.

    Args:
        score: Confusion matrices (..., C, C) to values (...), larger is better.
        probs: Validation probabilities (N, C).
        targets: True classes (N,), N at least 1.
        sweeps: Passes over the classes at most.
        grid: Thresholds to choose from, 1 among them or not.
    """
    if not len(targets):
        raise ValueError("thresholds are chosen on validation images, got none")
    classes = probs.shape[1]
    thresholds = np.ones(classes)
    tried = np.array(sorted({*grid, 1.0}, key=lambda value: abs(np.log(value))))
    for _ in range(sweeps):
        before = thresholds.copy()
        for label in np.unique(targets).tolist():
            scores = probs / thresholds
            scores[:, label] = -np.inf
            taken = probs[:, label] > tried[:, None] * scores.max(1)
            predicted = np.where(taken, label, scores.argmax(1))  # (T, N)
            cells = np.arange(len(tried))[:, None] * classes**2 + targets * classes + predicted
            counts = np.bincount(cells.ravel(), minlength=len(tried) * classes**2)
            values = score(counts.reshape(-1, classes, classes))
            thresholds[label] = tried[np.round(values, 12).argmax()]
        if (thresholds == before).all():
            break
    return thresholds


def apply_thresholds(probs: Floats, thresholds: Floats) -> Floats:
    """Divide probabilities (N, C) by the thresholds (C,) of their classes; sum to 1 again."""
    scaled: Floats = np.asarray(probs, dtype=np.float64) / thresholds
    scaled /= np.maximum(scaled.sum(1, keepdims=True), 1e-300)
    return scaled


def fit_temperature(logits: Floats, targets: Ints) -> float:
    """Fit T of softmax(z / T) by the negative log-likelihood on validation.

    Guo et al. 2017, arXiv:1706.04599, sec. 4.2. Bisection on log T between 0.05 and 20, which
    bounds it where every prediction is right; the loss is convex in 1 / T.
    """
    if not len(targets):
        raise ValueError("the temperature is fitted on validation images, got none")
    logits = np.asarray(logits, dtype=np.float64)
    own = logits[np.arange(len(targets)), targets]

    def slope(temperature: float) -> float:
        """Return the derivative of the loss by 1 / T: E_p[z] - z_y, rising with 1 / T."""
        return float(((softmax(logits / temperature) * logits).sum(1) - own).mean())

    low, high = np.log(TEMPERATURES)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(np.exp(middle)) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))
