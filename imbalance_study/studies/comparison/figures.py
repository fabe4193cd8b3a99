"""Draw the figures of a comparison from its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.evaluation import significance
from imbalance_study.evaluation.figures import (
    comparison,
    comparison_metrics,
    comparison_panels,
)
from imbalance_study.evaluation.figures.comparison_style import labels as short_labels
from imbalance_study.evaluation.metrics import Floats
from imbalance_study.studies.comparison import costs as spending
from imbalance_study.studies.comparison import differences, predictions, tables
from imbalance_study.studies.comparison.grouping import Group, GroupedOutcomes
from imbalance_study.studies.comparison.outcome import Curve, StoredEmbedding

CURVES = ("val/balanced_accuracy", "val/loss", "train/accuracy", "train/loss")
# Columns of the table of costs and their axes; the first two are of the network.
COST_NAMES = {
    "macs": "multiply-accumulates of an image",
    "latency_ms_b1": "latency of one image, ms",
    "train_seconds": "training, s",
}
PROFILE = (
    *("balanced_accuracy", "accuracy", "macro_f1", "macro_precision"),
    *("head_recall", "medium_recall", "tail_recall", "worst_recall"),
)
TOP = 5


class EmbeddedRun(NamedTuple):
    """A run with the embedding of its features."""

    group: Group
    embedding: StoredEmbedding
    macro_f1: float


def draw_figures(grouped: GroupedOutcomes) -> dict[str, Any]:
    """Draw all figures that have something to show; returns name to figure."""
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


def labels(grouped: GroupedOutcomes) -> dict[str, str]:
    """Map each configuration to its short label in figures."""
    names = [group.name for group in grouped.groups]
    short = short_labels(names, [not group.comparable for group in grouped.groups])
    return dict(zip(names, short, strict=True))


def headline(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw the headline metrics as bars."""
    return comparison.headline_bars(
        {tables.short(metric): _bars(grouped, metric) for metric in grouped.headline},
        list(names.values()),
    )


def _bars(grouped: GroupedOutcomes, metric: str) -> comparison.Bars:
    values = [np.array(list(group.values(metric).values())) for group in grouped.groups]
    means, lows, highs = _over_seeds(grouped, metric)
    return comparison.Bars(means, lows, highs, values)


def _over_seeds(grouped: GroupedOutcomes, metric: str) -> tuple[Floats, Floats, Floats]:
    """Compute means (K,) and the ends of their intervals, NaN with fewer than three seeds."""
    summaries = [group.summary(metric) for group in grouped.groups]
    few = np.array([one.seeds < significance.MIN_SEEDS for one in summaries])
    lows = np.where(few, np.nan, [one.low for one in summaries])
    highs = np.where(few, np.nan, [one.high for one in summaries])
    return np.array([one.mean for one in summaries]), lows, highs


def differences_to_baseline(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw the forest plot; None with a baseline alone."""
    judgements = differences.judge(grouped, grouped.metric)[1:]
    if not judgements:
        return None
    tests = [one.test for one in judgements if one.test is not None]
    return comparison.differences_to_baseline(
        np.array([one.difference for one in tests]),
        np.array([one.low for one in tests]),
        np.array([one.high for one in tests]),
        np.array([one.p_holm for one in judgements]),
        [names[one.group.name] for one in judgements],
        f"{grouped.metric} against {names[grouped.baseline.name]}, paired by seed",
        alpha=significance.ALPHA,
    )


def training_curves(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw validation and training over the epochs; None where no run recorded them."""
    bands: dict[str, dict[int, comparison.Band]] = {}
    for metric in CURVES:
        for index, group in enumerate(grouped.groups):
            curves = [one.curves[metric] for one in group.outcomes if metric in one.curves]
            if any(len(curve.steps) for curve in curves):
                bands.setdefault(metric, {})[index] = band(curves)
    return comparison.training_curves_compared(bands, list(names.values())) if bands else None


def band(curves: Sequence[Curve]) -> comparison.Band:
    """Compute mean and standard deviation over the seeds that reached each epoch."""
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    values = np.full((len(curves), len(steps)), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[np.searchsorted(steps, curve.steps)] = curve.values
    summaries = [significance.summarise(column) for column in values.T]
    means = np.array([one.mean for one in summaries])
    spread = np.nan_to_num([one.sd for one in summaries])
    return comparison.Band(steps.astype(float), means, means - spread, means + spread)


def confusion_matrices(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw a confusion matrix per configuration; None without predictions."""
    shares_of = [(group, predictions.confusion_shares(group)) for group in grouped.same_classes]
    known = [(group, shares) for group, shares in shares_of if shares is not None]
    if not known:
        return None
    return comparison_panels.confusion_panel(
        [shares for _, shares in known],
        [_mean(group, "test/balanced_accuracy") for group, _ in known],
        [names[group.name] for group, _ in known],
        grouped.baseline.outcomes[0].class_names,
    )


def feature_clusters(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw t-SNE of the same images, for the seed that most configurations have; else None."""
    seed, runs = same_projection(grouped)
    if not runs:
        return None
    first = runs[0].embedding
    return comparison_panels.cluster_panel(
        [run.embedding.points for run in runs],
        first.targets,
        [run.macro_f1 for run in runs],
        [names[run.group.name] for run in runs],
        grouped.baseline.outcomes[0].class_names,
        f"t-SNE of the features of the same {len(first.targets):,} test images, seed {seed}",
    )


def same_projection(grouped: GroupedOutcomes) -> tuple[int, list[EmbeddedRun]]:
    """Find the seed, and a run per configuration, whose embeddings are of the same images."""
    best: tuple[int, list[EmbeddedRun]] = (0, [])
    by_images: dict[tuple[int, bytes], list[EmbeddedRun]] = {}
    for group in grouped.same_classes:
        for one in group.outcomes:
            if one.tsne is not None and len(one.tsne.targets):
                key = (one.seed, one.tsne.indices.tobytes())
                score = one.metrics.get("test/macro_f1", significance.NAN)
                by_images.setdefault(key, []).append(EmbeddedRun(group, one.tsne, score))
    for (seed, _), runs in by_images.items():
        if len(runs) > len(best[1]):
            best = seed, runs
    return best


def recall_by_frequency(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw the recall of each class for all configurations; None without predictions."""
    recalls = {
        group.name: np.stack(list(tables.class_recalls(group).values()))
        for group in grouped.same_classes
        if group.predictions()
    }
    if not recalls:
        return None
    first = grouped.baseline.outcomes[0]
    means = [[significance.summarise(of).mean for of in seeds.T] for seeds in recalls.values()]
    return comparison_panels.recall_compared(
        first.train_counts,
        [np.array(one) for one in means],
        [names[name] for name in recalls],
        first.class_names,
    )


def all_metrics(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw the heat map of all metrics; None without any. Equal networks have equal costs."""
    shared = {one.name: of.costs for of in spending.networks(grouped) for one in of.members}
    means_of = {
        name: [shared.get(one.name, {}).get(name, _mean(one, name)) for one in grouped.groups]
        for name in tables.shown_metrics(grouped)
    }
    metrics = [name for name, means in means_of.items() if np.isfinite(means).any()]
    if not metrics:
        return None
    values = np.array([means_of[name] for name in metrics])
    ways = [differences.direction(name) for name in metrics]
    shown = np.array([_shown(grouped, name) for name in metrics])
    return comparison_metrics.metrics_heatmap(values, shown, ways, metrics, list(names.values()))


def _shown(grouped: GroupedOutcomes, metric: str) -> list[int]:
    """Return 1 for a configuration that is shown to be better, -1 for a worse one, else 0.

    One that cannot be ranked, and a metric of which neither more nor less is better, show nothing.
    """
    if not differences.direction(metric):
        return [0] * len(grouped.groups)
    signs = {differences.BETTER: 1, differences.WORSE: -1}
    return [
        signs.get(one.verdict, 0) if one.group.comparable else 0
        for one in differences.judge(grouped, metric)
    ]


def radar(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw the five best by validation, else by the metric; None with fewer than three metrics."""
    judgements = differences.judge(grouped, grouped.metric)
    ranking = [one.group for one in differences.ranked(judgements, grouped.metric)]
    top = (tables.by_validation(grouped, "selected_val/balanced_accuracy") or ranking)[:TOP]
    means_of = {name: [_mean(group, f"test/{name}") for group in top] for name in PROFILE}
    metrics = [name for name, means in means_of.items() if np.isfinite(means).any()]
    if len(metrics) < 3:
        return None
    return comparison_metrics.radar(
        np.array([means_of[name] for name in metrics]).T,
        [name.replace("_", " ").replace("f1", "F1") for name in metrics],
        [names[group.name] for group in top],
        np.array([list(names).index(group.name) for group in top]),
    )


def costs(grouped: GroupedOutcomes, names: dict[str, str]) -> Any:
    """Draw the metric against its costs; None where no network's cost was measured.

    The costs at inference are left out where all configurations are the same network.
    """
    table = spending.table(grouped)
    if not table.keys() & {"macs", "latency_ms_b1"}:
        return None
    left_out = {"macs", "latency_ms_b1"} if spending.one_network(grouped) else set()
    amounts = {
        text: np.array(table[name], dtype=np.float64)
        for name, text in COST_NAMES.items()
        if name in table and name not in left_out
    }
    if not amounts:
        return None
    means, lows, highs = _over_seeds(grouped, grouped.metric)
    return comparison.metric_against_costs(
        amounts, means, lows, highs, list(names.values()), grouped.metric
    )


def _mean(group: Group, metric: str) -> float:
    return group.summary(metric).mean
