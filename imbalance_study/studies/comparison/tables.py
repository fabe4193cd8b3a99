"""Make the tables of a comparison, as columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from imbalance_study.evaluation import metrics as scores
from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison import differences
from imbalance_study.studies.comparison.differences import Judgement
from imbalance_study.studies.comparison.grouping import Group, GroupedOutcomes

Table = dict[str, list[Any]]
# Sections of the metrics that a comparison shows in full.
SHOWN = ("test/", "test_calibration/", "test_features/", "selected_val/", "cost/", "time/train_")


def columns(rows: Iterable[dict[str, Any]]) -> Table:
    """Turn rows, all with the same keys, into columns."""
    given = list(rows)
    return {name: [row[name] for row in given] for name in given[0]} if given else {}


def summary(grouped: GroupedOutcomes) -> Table:
    """Make a row per configuration, the best first: the test, then the other headline metrics."""
    metric = grouped.metric
    judgements = differences.judge(grouped, metric)
    winner = differences.best(judgements, metric)
    rows = []
    for one in differences.ranked(judgements, metric):
        row: dict[str, Any] = {"configuration": one.group.name, "seeds": len(one.group.outcomes)}
        row |= _judgement(one, short(metric))
        row |= {"best": one is winner, **_marks(one.group)}
        for other in grouped.headline[1:]:
            stats = one.group.summary(other)
            row |= {short(other): stats.mean, f"{short(other)}_sd": stats.sd}
        rows.append(row)
    return columns(rows)


def headline(grouped: GroupedOutcomes) -> Table:
    """Make a row per headline metric and configuration, with the columns of `summary`."""
    rows = []
    for metric in grouped.headline:
        judgements = differences.judge(grouped, metric)
        winner = differences.best(judgements, metric)
        for one in differences.ranked(judgements, metric):
            row: dict[str, Any] = {"metric": metric, "configuration": one.group.name}
            row |= {"seeds": one.summary.seeds, **_judgement(one, "mean")}
            rows.append(row | {"best": one is winner, **_marks(one.group)})
    return columns(rows)


def _judgement(one: Judgement, name: str) -> dict[str, Any]:
    """Make the columns of a judgement; the mean is called `name`."""
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
        "shown_from": one.detectable,
        "verdict": f"{one.verdict}: {test.reason}" if test and test.reason else one.verdict,
    }


def _marks(group: Group) -> dict[str, Any]:
    return {"comparable": group.comparable, "mark": "; ".join(group.marks)}


def short(metric: str) -> str:
    """Cut the split off a metric's name."""
    return metric.rsplit("/", 1)[-1]


def shown_metrics(grouped: GroupedOutcomes) -> list[str]:
    """List the metrics worth a row, in the order of `SHOWN`, without repetitions."""
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


def all_metrics(grouped: GroupedOutcomes) -> Table:
    """Make a row per metric and configuration: mean, deviation and interval over seeds."""
    rows = []
    for metric in shown_metrics(grouped):
        better = {1: "higher", -1: "lower", 0: ""}[differences.direction(metric)]
        for group in grouped.groups:
            stats = group.summary(metric)
            row: dict[str, Any] = {"metric": metric, "better": better, "configuration": group.name}
            row |= {"seeds": stats.seeds, "mean": stats.mean, "sd": stats.sd}
            rows.append(row | {"low_95": stats.low, "high_95": stats.high})
    return columns(rows)


def best_by_metric(grouped: GroupedOutcomes) -> Table:
    """Find the configuration that each headline metric chooses, on validation where possible.

    The test value of a choice made on validation is unbiased. The best value on the test set is
    too optimistic, and is shown beside it.
    """
    rows = []
    for metric in grouped.headline:
        on_test = differences.best(differences.judge(grouped, metric), metric)
        if on_test is None:
            continue
        twin = f"selected_val/{short(metric)}"
        chosen = _best_on(grouped, twin)
        picked = chosen or on_test.group
        stats = picked.summary(metric)
        rows.append(
            {
                "metric": metric,
                "chosen_by": twin if chosen else "the test set itself: too good",
                "configuration": picked.name,
                "test_mean": stats.mean,
                "test_sd": stats.sd,
                "best_on_test": on_test.group.name,
                "best_on_test_mean": on_test.summary.mean,
                "same": picked.name == on_test.group.name,
            }
        )
    return columns(rows)


def _best_on(grouped: GroupedOutcomes, metric: str) -> Group | None:
    """Find the comparable configuration with the best mean; None unless all have a value."""
    fair = [group for group in grouped.groups if group.comparable]
    summaries = {group.name: group.summary(metric) for group in fair}
    if not all(one.seeds for one in summaries.values()):
        return None
    sign = differences.direction(metric) or 1
    return max(fair, key=lambda group: sign * summaries[group.name].mean)


def by_validation(grouped: GroupedOutcomes, metric: str) -> list[Group]:
    """Sort the comparable configurations by validation, the best first; none where some lack it."""
    fair = [group for group in grouped.groups if group.comparable]
    means = [one.summary(metric).mean for one in fair]
    if any(mean != mean for mean in means):
        return []
    order = sorted(range(len(fair)), key=lambda index: -means[index])
    return [fair[index] for index in order]


def per_seed(grouped: GroupedOutcomes) -> Table:
    """Make a row per run: its headline metrics, data and amount of training."""
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
            "threads": one.threads,
            "fingerprint": one.fingerprint,
            "run_id": one.run_id,
        }
        for group in grouped.groups
        for one in group.outcomes
    )


def class_recalls(group: Group) -> dict[int, scores.Floats]:
    """Map seed to the recall (C,) of each class, for the runs that have test predictions."""
    recalls = {}
    for seed, test in group.predictions().items():
        matrix = scores.confusion_matrix(test.targets, test.probs.argmax(1), test.probs.shape[1])
        recalls[seed] = scores.class_scores(matrix).recall
    return recalls


def recall_by_class(grouped: GroupedOutcomes) -> Table:
    """Make a row per class, by falling number of training images; a column per configuration."""
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
