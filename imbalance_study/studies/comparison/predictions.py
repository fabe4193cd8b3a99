"""Compare the test predictions of two trained models, and of ensembles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from imbalance_study.evaluation import metrics as scores
from imbalance_study.evaluation import significance
from imbalance_study.evaluation.calibration import negative_log_likelihood
from imbalance_study.studies.comparison import tables
from imbalance_study.studies.comparison.grouping import Group, GroupedOutcomes, same_images
from imbalance_study.studies.comparison.outcome import Outcome, StoredPredictions

SPEAKS_OF = "these two trained models only, not the next training"
TOP = 3  # configurations in the ensemble of the best


def paired_tests(grouped: GroupedOutcomes, resamples: int = 1_000) -> tables.Table:
    """Test each run against the baseline's run of its seed: a row per configuration and seed.

    McNemar's test compares accuracy; the bootstrap interval is of the difference in balanced
    accuracy. Both hold for these two trained models only. Runs on other test images than the
    baseline's are left out; `unpaired` names them.
    """
    base = grouped.baseline.predictions()
    counts = {one.seed: one.train_counts for one in grouped.baseline.outcomes}
    rows = []
    for group in grouped.others:
        for seed, test in group.predictions().items():
            if seed in base and same_images([base[seed], test]):
                row = {"configuration": group.name, "baseline": grouped.baseline.name, "seed": seed}
                rows.append(row | _pair(test, base[seed], counts[seed], group.name, resamples))
    return tables.columns(rows)


def unpaired(grouped: GroupedOutcomes) -> list[str]:
    """List the configurations with a run on other test images than the baseline's of its seed."""
    base = grouped.baseline.predictions()
    return [
        group.name
        for group in grouped.others
        if any(
            seed in base and not same_images([base[seed], test])
            for seed, test in group.predictions().items()
        )
    ]


def _pair(
    ours: StoredPredictions,
    theirs: StoredPredictions,
    train_counts: scores.Ints,
    name: str,
    resamples: int,
) -> dict[str, Any]:
    """Compare a run of the configuration `name` with the baseline's on the same images."""
    targets = ours.targets
    first, second = ours.probs.argmax(1), theirs.probs.argmax(1)
    mcnemar = significance.mcnemar(first == targets, second == targets)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    generator = np.random.default_rng(seed)
    interval = significance.paired_bootstrap(
        targets, first, second, train_counts, generator, resamples=resamples
    )["balanced_accuracy"]
    num_classes = ours.probs.shape[1]
    gains = (
        scores.quick_metrics(targets, predicted, num_classes)["balanced_accuracy"]
        for predicted in (first, second)
    )
    return {
        "images": len(targets),
        "only_it_is_right": mcnemar.only_first,
        "only_baseline_is_right": mcnemar.only_second,
        "mcnemar_p": mcnemar.p,
        "mcnemar": "exact" if mcnemar.exact else "chi squared",
        "balanced_accuracy_difference": next(gains) - next(gains),
        "bootstrap_low_95": interval.low,
        "bootstrap_high_95": interval.high,
        "speaks_of": SPEAKS_OF,
    }


def ensembles(grouped: GroupedOutcomes) -> tables.Table:
    """Score the mean probabilities of each configuration's seeds, and of the best configurations.

    The best are the three with the highest mean selected_val/balanced_accuracy; without validation
    there is no such ensemble. The gain is over the mean of the members.
    """
    rows = [
        _ensemble(group.name, "its seeds", group.outcomes, grouped.metric)
        for group in grouped.groups
    ]
    top = tables.by_validation(grouped, "selected_val/balanced_accuracy")[:TOP]
    if len(top) > 1:
        members = [one for group in top for one in group.outcomes]
        names = " + ".join(group.name for group in top)
        rows.append(_ensemble(names, f"the {len(top)} best on validation", members, grouped.metric))
    return tables.columns(row for row in rows if row)


def _ensemble(
    name: str, of: str, outcomes: Sequence[Outcome], metric: str
) -> dict[str, Any] | None:
    """Score the mean of the probabilities; None with one member or different images."""
    tests = [one.test for one in outcomes if one.test is not None]
    if len(tests) < 2 or not same_images(tests):
        return None
    members = [one for one in outcomes if one.test is not None]
    if any(one.class_names != members[0].class_names for one in members):
        return None
    targets = tests[0].targets
    probs = np.mean([one.probs.astype(np.float64) for one in tests], axis=0)
    metrics = scores.classification_metrics(
        targets, probs, members[0].train_counts, negative_log_likelihood(targets, probs)
    )
    short = tables.short(metric)
    mean = significance.summarise(
        [one.metrics.get(metric, significance.NAN) for one in members]
    ).mean
    value = metrics.get(short, significance.NAN)
    return {
        "ensemble": name,
        "of": of,
        "members": len(tests),
        f"{short}": value,
        "members_mean": mean,
        "gain": value - mean,
        **{key: one for key, one in metrics.items() if key != short},
    }


def confusion_shares(group: Group) -> scores.Floats | None:
    """Sum confusion matrices (C, C) over seeds, as shares of true classes; None without any."""
    tests = list(group.predictions().values())
    if not tests:
        return None
    counts = sum(
        scores.confusion_matrix(one.targets, one.probs.argmax(1), one.probs.shape[1])
        for one in tests
    )
    total = np.asarray(counts)
    support = total.sum(1, keepdims=True)
    return np.where(support > 0, total / np.maximum(support, 1), np.nan)
