"""The figures of a comparison: from its runs to the arrays that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.evaluation import significance
from imbalance_study.evaluation.figures import comparison as drawn
from imbalance_study.evaluation.figures import comparison_metrics as profiles
from imbalance_study.evaluation.figures import comparison_panels as cells
from imbalance_study.evaluation.figures.comparison_style import labels as short_labels
from imbalance_study.evaluation.metrics import Floats
from imbalance_study.studies.comparison import differences, predictions, tables
from imbalance_study.studies.comparison.grouping import Group, Grouped
from imbalance_study.studies.comparison.outcome import Curve, Projected

CURVES = ("val/balanced_accuracy", "val/loss", "train/accuracy", "train/loss")
COST_NAMES = {
    "cost/macs": "multiply-accumulates of an image",
    "cost/latency_ms_b1": "latency of one image, ms",
}
PROFILE = (
    *("balanced_accuracy", "accuracy", "macro_f1", "macro_precision"),
    *("head_recall", "medium_recall", "tail_recall", "worst_recall"),
)
TOP = 5


class Run(NamedTuple):
    """A run whose features are drawn."""

    group: Group
    projected: Projected
    macro_f1: float


def figures(grouped: Grouped) -> dict[str, Any]:
    """Name to figure; one that has nothing to show is left out."""
    names = labels(grouped)
    makers = {
        "headline": headline,
        "differences": differences_to_baseline,
        "training_curves": training_curves,
        "confusion_matrices": confusion_matrices,
        "feature_clusters": feature_clusters,
        "recall_by_frequency": recall_by_frequency,
        "all_metrics": all_metrics,
        "radar": radar,
        "costs": costs,
    }
    made = {f"comparison/{name}": make(grouped, names) for name, make in makers.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def labels(grouped: Grouped) -> dict[str, str]:
    """Configuration to what the figures call it."""
    names = [group.name for group in grouped.groups]
    short = short_labels(names, [not group.comparable for group in grouped.groups])
    return dict(zip(names, short, strict=True))


def headline(grouped: Grouped, names: dict[str, str]) -> Any:
    """Bars of the headline metrics."""
    return drawn.headline_bars(
        {tables.short(metric): _bars(grouped, metric) for metric in grouped.headline},
        list(names.values()),
    )


def _bars(grouped: Grouped, metric: str) -> drawn.Bars:
    values = [np.array(list(group.values(metric).values())) for group in grouped.groups]
    means, lows, highs = _over_seeds(grouped, metric)
    return drawn.Bars(means, lows, highs, values)


def _over_seeds(grouped: Grouped, metric: str) -> tuple[Floats, Floats, Floats]:
    """Means (K,) and the ends of their intervals, NaN with fewer than three seeds."""
    found = [
        significance.summarise(list(group.values(metric).values())) for group in grouped.groups
    ]
    few = np.array([one.seeds < significance.MIN_SEEDS for one in found])
    lows = np.where(few, np.nan, [one.low for one in found])
    highs = np.where(few, np.nan, [one.high for one in found])
    return np.array([one.mean for one in found]), lows, highs


def differences_to_baseline(grouped: Grouped, names: dict[str, str]) -> Any:
    """The forest plot; None with a baseline alone."""
    judged = differences.judge(grouped, grouped.metric)[1:]
    if not judged:
        return None
    tests = [one.test for one in judged if one.test is not None]
    return drawn.differences_to_baseline(
        np.array([one.difference for one in tests]),
        np.array([one.low for one in tests]),
        np.array([one.high for one in tests]),
        np.array([one.p_holm for one in judged]),
        [names[one.group.name] for one in judged],
        f"{grouped.metric} against {names[grouped.baseline.name]}, paired by seed",
        alpha=significance.ALPHA,
    )


def training_curves(grouped: Grouped, names: dict[str, str]) -> Any:
    """Validation and training over the epochs; None where no run recorded them."""
    found: dict[str, dict[int, drawn.Band]] = {}
    for metric in CURVES:
        for index, group in enumerate(grouped.groups):
            curves = [one.curves[metric] for one in group.outcomes if metric in one.curves]
            if any(len(curve.steps) for curve in curves):
                found.setdefault(metric, {})[index] = band(curves)
    return drawn.training_curves_compared(found, list(names.values())) if found else None


def band(curves: Sequence[Curve]) -> drawn.Band:
    """Mean and standard deviation over the seeds that reached each epoch."""
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    values = np.full((len(curves), len(steps)), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[np.searchsorted(steps, curve.steps)] = curve.values
    found = [significance.summarise(column) for column in values.T]
    means = np.array([one.mean for one in found])
    spread = np.nan_to_num([one.sd for one in found])
    return drawn.Band(steps.astype(float), means, means - spread, means + spread)


def confusion_matrices(grouped: Grouped, names: dict[str, str]) -> Any:
    """One matrix per configuration; None without predictions."""
    found = [(group, predictions.confusion_shares(group)) for group in grouped.same_classes]
    known = [(group, shares) for group, shares in found if shares is not None]
    if not known:
        return None
    return cells.confusion_panel(
        [shares for _, shares in known],
        [_mean(group, "test/balanced_accuracy") for group, _ in known],
        [names[group.name] for group, _ in known],
        grouped.baseline.outcomes[0].class_names,
    )


def feature_clusters(grouped: Grouped, names: dict[str, str]) -> Any:
    """t-SNE of the same images, of the seed that most configurations have; None without any."""
    seed, runs = same_projection(grouped)
    if not runs:
        return None
    first = runs[0].projected
    return cells.cluster_panel(
        [run.projected.points for run in runs],
        first.targets,
        [run.macro_f1 for run in runs],
        [names[run.group.name] for run in runs],
        grouped.baseline.outcomes[0].class_names,
        f"t-SNE of the features of the same {len(first.targets):,} test images, seed {seed}",
    )


def same_projection(grouped: Grouped) -> tuple[int, list[Run]]:
    """The seed, and one run per configuration, whose pictures show the same images."""
    best: tuple[int, list[Run]] = (0, [])
    by_images: dict[tuple[int, bytes], list[Run]] = {}
    for group in grouped.same_classes:
        for one in group.outcomes:
            if one.tsne is not None and len(one.tsne.targets):
                key = (one.seed, one.tsne.indices.tobytes())
                score = one.metrics.get("test/macro_f1", significance.NAN)
                by_images.setdefault(key, []).append(Run(group, one.tsne, score))
    for (seed, _), runs in by_images.items():
        if len(runs) > len(best[1]):
            best = seed, runs
    return best


def recall_by_frequency(grouped: Grouped, names: dict[str, str]) -> Any:
    """Recall of each class for all configurations; None without predictions."""
    recalls = {
        group.name: np.stack(list(tables.class_recalls(group).values()))
        for group in grouped.same_classes
        if group.predicted()
    }
    if not recalls:
        return None
    first = grouped.baseline.outcomes[0]
    means = [[significance.summarise(of).mean for of in found.T] for found in recalls.values()]
    return cells.recall_compared(
        first.train_counts,
        [np.array(one) for one in means],
        [names[name] for name in recalls],
        first.class_names,
    )


def all_metrics(grouped: Grouped, names: dict[str, str]) -> Any:
    """The heat map of everything that was measured."""
    found = {
        name: [_mean(group, name) for group in grouped.groups]
        for name in tables.shown_metrics(grouped)
    }
    metrics = [name for name, means in found.items() if np.isfinite(means).any()]
    if not metrics:
        return None
    values = np.array([found[name] for name in metrics])
    ways = [differences.direction(name) for name in metrics]
    return profiles.metrics_heatmap(values, ways, metrics, list(names.values()))


def radar(grouped: Grouped, names: dict[str, str]) -> Any:
    """The five best by validation (by the metric itself without one); None with few metrics."""
    judged = differences.judge(grouped, grouped.metric)
    ranking = [one.group for one in differences.ranked(judged, grouped.metric)]
    top = (tables.by_validation(grouped, "selected_val/balanced_accuracy") or ranking)[:TOP]
    found = {name: [_mean(group, f"test/{name}") for group in top] for name in PROFILE}
    metrics = [name for name, means in found.items() if np.isfinite(means).any()]
    if len(metrics) < 3:
        return None
    return profiles.radar(
        np.array([found[name] for name in metrics]).T,
        [name.replace("_", " ").replace("f1", "F1") for name in metrics],
        [names[group.name] for group in top],
        np.array([list(names).index(group.name) for group in top]),
    )


def costs(grouped: Grouped, names: dict[str, str]) -> Any:
    """Accuracy against what it costs; None where no cost was measured."""
    amounts = {
        text: np.array([_mean(group, name) for group in grouped.groups])
        for name, text in COST_NAMES.items()
        if any(group.values(name) for group in grouped.groups)
    }
    if not amounts:
        return None
    means, lows, highs = _over_seeds(grouped, grouped.metric)
    return drawn.metric_against_costs(
        amounts, means, lows, highs, list(names.values()), grouped.metric
    )


def _mean(group: Group, metric: str) -> float:
    return significance.summarise(list(group.values(metric).values())).mean
