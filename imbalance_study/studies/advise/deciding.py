"""Decisions with a trained head: thresholds, logit adjustment, rejection, sets of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from imbalance_study.evaluation import conformal, metrics, posthoc
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.studies.advise import splits
from imbalance_study.studies.advise.heads import FeatureSet
from imbalance_study.studies.advise.metric import Metric

ALPHA = 0.1  # share of the images of each class that a set of classes may miss
_KEPT = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


class Decisions(NamedTuple):
    """Rules of decision, each measured on images that it was not fitted to."""

    rules: pd.DataFrame  # rule, score, and what it gains over the baseline as it is
    thresholds: pd.DataFrame  # class, threshold for the rule argmax p / t
    rejection: pd.DataFrame  # share kept, score, accuracy of the kept
    sets: pd.DataFrame  # class, images, coverage, size, always


def decide(
    images: FeatureSet, probs: Mapping[str, Floats], baseline: str, choice: str, metric: Metric
) -> Decisions:
    """Fit and measure the rules.

    Args:
        images: All images.
        probs: Remedy to out-of-fold probabilities (N, C), of the baseline and of the choice.
        baseline: The remedy without correction; logit adjustment corrects it alone.
        choice: The advised remedy; thresholds, rejection and sets are for it.
        metric: That decides.
    """
    labels, counts = images.labels, images.counts
    plain, chosen = probs[baseline], probs[choice]

    def score(predicted: Ints) -> float:
        matrix = metrics.confusion_matrix(labels, predicted, len(counts))
        return float(metric.score(matrix))

    found = {f"{baseline}, as it is": score(plain.argmax(1))}
    if choice != baseline:
        found[f"{choice}, as it is"] = score(chosen.argmax(1))
    found[f"{baseline}, logit adjustment"] = score(_crossed(images, plain, metric, _adjusted))
    for name in dict.fromkeys((baseline, choice)):
        found[f"{name}, thresholds"] = score(_crossed(images, probs[name], metric, _by_thresholds))
    if metric.costs is not None:
        for name in dict.fromkeys((baseline, choice)):
            expected = probs[name] @ metric.costs
            found[f"{name}, least expected cost"] = score(expected.argmin(1))
    rules = pd.DataFrame({"rule": list(found), "score": list(found.values())})
    rules["difference"] = rules["score"] - rules["score"][0]
    fitted = posthoc.fit_thresholds_by(metric.score, chosen, labels)
    thresholds = pd.DataFrame({"class": images.class_names, "threshold": fitted})
    return Decisions(rules, thresholds, _rejection(images, chosen, metric), _sets(images, chosen))


_Rule = Callable[[Floats, Ints, Ints, Metric], Callable[[Floats], Ints]]


def _crossed(images: FeatureSet, probs: Floats, metric: Metric, rule: _Rule) -> Ints:
    """Predict each image by the rule that was fitted to the other folds."""
    predicted = np.zeros(len(images.labels), np.int64)
    for cut in splits.folds(images, seed=1):
        fitted = rule(probs[cut.train], images.labels[cut.train], images.counts, metric)
        predicted[cut.test] = fitted(probs[cut.test])
    return predicted


def _adjusted(
    probs: Floats, labels: Ints, counts: Ints, metric: Metric
) -> Callable[[Floats], Ints]:
    """Choose tau of the logit adjustment; log p serves as logit."""

    def corrected(values: Floats, tau: float) -> Ints:
        logits = np.log(np.maximum(values, 1e-12))
        predicted: Ints = posthoc.adjust_logits(logits, counts, tau).argmax(1)
        return predicted

    def score(tau: float) -> float:
        matrix = metrics.confusion_matrix(labels, corrected(probs, tau), len(counts))
        return float(metric.score(matrix))

    best = max(posthoc.TAUS, key=lambda tau: (round(score(tau), 12), -tau))
    return lambda values: corrected(values, best)


def _by_thresholds(
    probs: Floats, labels: Ints, counts: Ints, metric: Metric
) -> Callable[[Floats], Ints]:
    fitted = posthoc.fit_thresholds_by(metric.score, probs, labels)
    return lambda values: (values / fitted).argmax(1)


def _rejection(images: FeatureSet, probs: Floats, metric: Metric) -> pd.DataFrame:
    """Score the surest images alone, for several shares of them."""
    order = np.argsort(-probs.max(1), kind="stable")
    classes = len(images.class_names)
    found = []
    for share in _KEPT:
        rows = order[: max(1, round(share * len(order)))]
        matrix = metrics.confusion_matrix(images.labels[rows], probs[rows].argmax(1), classes)
        least = float(probs[rows[-1]].max())
        right = float(np.trace(matrix) / len(rows))
        found.append((share, least, right, float(metric.score(matrix))))
    return pd.DataFrame(found, columns=["kept", "least_probability", "accuracy", "score"])


def _sets(images: FeatureSet, probs: Floats) -> pd.DataFrame:
    made = conformal.quality(probs, images.labels, ALPHA, np.random.default_rng(0))
    return pd.DataFrame(
        {
            "class": images.class_names,
            "images": images.counts,
            "coverage": made.coverage,
            "size": made.size,
            "always": made.always,
        }
    )
