"""The tables of a comparison, as columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from imbalance_study.evaluation import metrics as scores
from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison import differences
from imbalance_study.studies.comparison.differences import Judged
from imbalance_study.studies.comparison.grouping import Group, Grouped

Table = dict[str, list[Any]]
COSTS = (
    "cost/parameters",
    "cost/trainable_parameters",
    "cost/macs",
    "cost/size_mb",
    "cost/latency_ms_b1",
    "cost/latency_ms_b128",
    "cost/peak_memory_mb",
    "time/train_seconds",
)
# Sections of the metrics that a comparison shows in full.
SHOWN = ("test/", "test_calibration/", "test_features/", "selected_val/", "cost/", "time/train_")


def columns(rows: Iterable[dict[str, Any]]) -> Table:
    """Rows as columns; a row lacks nothing that another has."""
    given = list(rows)
    return {name: [row[name] for row in given] for name in given[0]} if given else {}


def summary(grouped: Grouped) -> Table:
    """One row per configuration, the best first: the claim, then the other headline metrics."""
    metric = grouped.metric
    judged = differences.judge(grouped, metric)
    winner = differences.best(judged, metric)
    rows = []
    for one in differences.ranked(judged, metric):
        row: dict[str, Any] = {"configuration": one.group.name, "seeds": len(one.group.outcomes)}
        row |= _judgement(one, short(metric))
        row |= {"best": one is winner, **_marks(one.group)}
        for other in grouped.headline[1:]:
            found = significance.summarise(list(one.group.values(other).values()))
            row |= {short(other): found.mean, f"{short(other)}_sd": found.sd}
        rows.append(row)
    return columns(rows)


def headline(grouped: Grouped) -> Table:
    """A row per headline metric and configuration, with everything that `summary` has for one."""
    rows = []
    for metric in grouped.headline:
        judged = differences.judge(grouped, metric)
        winner = differences.best(judged, metric)
        for one in differences.ranked(judged, metric):
            row: dict[str, Any] = {"metric": metric, "configuration": one.group.name}
            row |= {"seeds": one.summary.seeds, **_judgement(one, "mean")}
            rows.append(row | {"best": one is winner, **_marks(one.group)})
    return columns(rows)


def _judgement(one: Judged, name: str) -> dict[str, Any]:
    test = one.test
    nothing = significance.NAN
    return {
        name: one.summary.mean,
        "sd": one.summary.sd,
        "low_95": one.summary.low,
        "high_95": one.summary.high,
        "pairs": test.pairs if test else 0,
        "difference": test.difference if test else nothing,
        "difference_low_95": test.low if test else nothing,
        "difference_high_95": test.high if test else nothing,
        "p": test.p if test else nothing,
        "p_holm": one.p_holm,
        "verdict": f"{one.verdict}: {test.reason}" if test and test.reason else one.verdict,
    }


def _marks(group: Group) -> dict[str, Any]:
    return {"comparable": group.comparable, "mark": "; ".join(group.marks)}


def short(metric: str) -> str:
    """The name without its split."""
    return metric.rsplit("/", 1)[-1]


def shown_metrics(grouped: Grouped) -> list[str]:
    """Names of all metrics worth a row, in the order of `SHOWN`; without those that repeat."""
    names = dict.fromkeys(
        name for group in grouped.groups for one in group.outcomes for name in one.metrics
    )
    repeated = {"test/micro_f1", "test/macro_recall", "test/weighted_recall", "selected_val/epoch"}
    return [
        name
        for section in SHOWN
        for name in names
        if name.startswith(section) and name not in repeated
    ]


def all_metrics(grouped: Grouped) -> Table:
    """A row per metric and configuration: mean, standard deviation and interval over seeds."""
    rows = []
    for metric in shown_metrics(grouped):
        better = {1: "higher", -1: "lower", 0: ""}[differences.direction(metric)]
        for group in grouped.groups:
            found = significance.summarise(list(group.values(metric).values()))
            row: dict[str, Any] = {"metric": metric, "better": better, "configuration": group.name}
            row |= {"seeds": found.seeds, "mean": found.mean, "sd": found.sd}
            rows.append(row | {"low_95": found.low, "high_95": found.high})
    return columns(rows)


def best_by_metric(grouped: Grouped) -> Table:
    """Which configuration each headline metric chooses, on validation where that is known.

    The test value of a choice made on validation is an honest one; that of the best on the test
    set is too good, and stands beside it.
    """
    rows = []
    for metric in grouped.headline:
        on_test = differences.best(differences.judge(grouped, metric), metric)
        if on_test is None:
            continue
        twin = f"selected_val/{short(metric)}"
        chosen = _best_on(grouped, twin)
        picked = chosen or on_test.group
        found = significance.summarise(list(picked.values(metric).values()))
        rows.append(
            {
                "metric": metric,
                "chosen_by": twin if chosen else "the test set itself: too good",
                "configuration": picked.name,
                "test_mean": found.mean,
                "test_sd": found.sd,
                "best_on_test": on_test.group.name,
                "best_on_test_mean": on_test.summary.mean,
                "same": picked.name == on_test.group.name,
            }
        )
    return columns(rows)


def _best_on(grouped: Grouped, metric: str) -> Group | None:
    """The comparable configuration with the best mean; None unless all of them have a value."""
    fair = [group for group in grouped.groups if group.comparable]
    found = {
        group.name: significance.summarise(list(group.values(metric).values())) for group in fair
    }
    if not all(one.seeds for one in found.values()):
        return None
    sign = differences.direction(metric) or 1
    return max(fair, key=lambda group: sign * found[group.name].mean)


def by_validation(grouped: Grouped, metric: str) -> list[Group]:
    """The comparable configurations from the best on validation; none where some lack it."""
    fair = [group for group in grouped.groups if group.comparable]
    means = [significance.summarise(list(one.values(metric).values())).mean for one in fair]
    if any(mean != mean for mean in means):
        return []
    order = sorted(range(len(fair)), key=lambda index: -means[index])
    return [fair[index] for index in order]


def costs(grouped: Grouped) -> Table:
    """What each configuration costs: means over seeds, and how many times the baseline's time."""
    known = [name for name in COSTS if any(group.values(name) for group in grouped.groups)]
    base = _mean_seconds(grouped.baseline)
    rows = []
    for group in grouped.groups:
        means = {
            short(name): significance.summarise(list(group.values(name).values())).mean
            for name in known
        }
        first = group.outcomes[0]
        rows.append(
            {
                "configuration": group.name,
                short(grouped.metric): significance.summarise(
                    list(group.values(grouped.metric).values())
                ).mean,
                **means,
                "times_baseline_seconds": _mean_seconds(group) / base
                if base > 0
                else significance.NAN,
                "epochs": first.epochs,
                "updates": first.steps,
                "images_seen": first.images_seen,
            }
        )
    return columns(rows)


def _mean_seconds(group: Group) -> float:
    return significance.summarise([one.seconds or significance.NAN for one in group.outcomes]).mean


def per_seed(grouped: Grouped) -> Table:
    """A row per run: the headline metrics, and what it was trained on and for how long."""
    return columns(
        {"configuration": group.name, "seed": one.seed}
        | {short(name): one.metrics.get(name, significance.NAN) for name in grouped.headline}
        | {
            "validation": one.metrics.get(
                f"selected_val/{short(grouped.metric)}", significance.NAN
            ),
            "epochs": one.epochs,
            "updates": one.steps,
            "images_seen": one.images_seen,
            "seconds": one.seconds,
            "fingerprint": one.fingerprint,
            "run_id": one.run_id,
        }
        for group in grouped.groups
        for one in group.outcomes
    )


def class_recalls(group: Group) -> dict[int, scores.Floats]:
    """Seed to the recall (C,) of each class, of the runs that have test predictions."""
    found = {}
    for seed, test in group.predicted().items():
        matrix = scores.confusion_matrix(test.targets, test.probs.argmax(1), test.probs.shape[1])
        found[seed] = scores.class_scores(matrix).recall
    return found


def recall_by_class(grouped: Grouped) -> Table:
    """A row per class, from the most to the fewest training images; a column per configuration."""
    first = grouped.baseline.outcomes[0]
    order = sorted(range(len(first.class_names)), key=lambda label: -first.train_counts[label])
    table: Table = {
        "class": [first.class_names[label] for label in order],
        "train_count": [int(first.train_counts[label]) for label in order],
    }
    for group in grouped.same_classes:
        recalls = list(class_recalls(group).values())
        if recalls:
            means = [
                significance.summarise([one[label] for one in recalls]).mean for label in order
            ]
            table[group.name] = means
    return table if len(table) > 2 else {}
