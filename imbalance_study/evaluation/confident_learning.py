"""Labels that look wrong, from probabilities of models that did not see them.

Confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068): an image counts as one of
class j when its probability of j reaches the mean that images labelled j have. The counts say how
many labels of each class are wrong, and in favour of which class; the images that fit best are
named.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation.metrics import Floats, Ints, confusion_matrix


class Suspects(NamedTuple):
    """Images whose labels look wrong, the most suspicious first."""

    rows: Ints  # (K,)
    suggested: Ints  # (K,) the class that each looks like
    margin: Floats  # (K,) probability of the label less that of the suggested class, -1 to 0


def suspicious_labels(labels: Ints, probs: Floats) -> Suspects:
    """Find the labels that look wrong.

    "Prune by noise rate" of the paper (section 3.2, method 4): of the images labelled i, as many as
    the calibrated count of (i, j) says, those with the largest p_j - p_i. Differs from the paper in
    that p_j must be the larger one of the two, and in that an image is named once.

    Args:
        labels: Given classes (N,).
        probs: Probabilities (N, C) of models that did not train on the image.

    Raises:
        ValueError: The two differ in length.
    """
    labels, probs = np.asarray(labels), np.asarray(probs, np.float64)
    if len(labels) != len(probs):
        raise ValueError(f"labels and probs differ in length: {len(labels)} and {len(probs)}")
    wrong = _wrong_counts(labels, probs)
    margin = probs[np.arange(len(labels)), labels][:, None] - probs  # (N, C)
    suggested = np.full(len(labels), -1)
    for label, other in zip(*np.nonzero(wrong), strict=True):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(margin[rows, other], kind="stable")][: wrong[label, other]]
        rows = rows[margin[rows, other] < 0]
        now = np.where(suggested[rows] < 0, 0.0, margin[rows, suggested[rows]])
        suggested[rows] = np.where(margin[rows, other] < now, other, suggested[rows])
    found = np.flatnonzero(suggested >= 0)
    size = margin[found, suggested[found]]
    order = np.argsort(size, kind="stable")
    return Suspects(found[order], suggested[found[order]], size[order])


def _wrong_counts(labels: Ints, probs: Floats) -> Ints:
    """Estimate the number of labels (C, C) of class i whose true class is j; 0 where i = j."""
    classes = probs.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = probs[np.arange(len(labels)), labels]
    means = np.bincount(labels, own, minlength=classes) / np.maximum(counts, 1)
    confident = np.where(probs >= np.where(counts > 0, means, np.inf), probs, -1.0)
    sure = confident.max(1) >= 0
    joint = confusion_matrix(labels[sure], confident[sure].argmax(1), classes)
    calibrated = joint / np.maximum(joint.sum(1, keepdims=True), 1) * counts[:, None]
    np.fill_diagonal(calibrated, 0)
    return np.asarray(np.rint(calibrated), np.int64)
