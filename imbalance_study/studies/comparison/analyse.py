"""Compare finished runs: statistics, tables, figures and findings."""

from __future__ import annotations

from collections.abc import Sequence

from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison import (
    costs,
    differences,
    findings,
    grouping,
    predictions,
    tables,
    verdict,
)
from imbalance_study.studies.comparison.grouping import GroupedOutcomes
from imbalance_study.studies.comparison.outcome import Comparison, Outcome


def compare_outcomes(
    outcomes: Sequence[Outcome],
    *,
    baseline: str,
    metric: str = "test/balanced_accuracy",
    draw: bool = True,
    price_per_kwh: float = 0.0,
) -> Comparison:
    """Compare configurations over their seeds.

    Args:
        outcomes: Finished runs.
        baseline: Name of the configuration that the others are compared with.
        metric: The metric that is tested.
        draw: Draw the figures too; they take most of the time.
        price_per_kwh: Price of a kilowatt-hour; 0 says nothing of money.

    Raises:
        ValueError: There is no run, no such baseline, or no run with the metric.
    """
    grouped = grouping.group_outcomes(outcomes, baseline, metric)
    return compare_grouped(grouped, draw=draw, price_per_kwh=price_per_kwh)


def compare_grouped(
    grouped: GroupedOutcomes, *, draw: bool = True, price_per_kwh: float = 0.0
) -> Comparison:
    """Compare configurations whose runs are grouped; see `compare_outcomes`."""
    comparison = Comparison(
        tables=_tables(grouped, price_per_kwh),
        metrics=_metrics(grouped),
        findings=findings.findings(grouped),
        marks=_marks(grouped),
        verdict=verdict.verdict(grouped),
        inference=costs.at_inference(grouped),
    )
    if draw:
        from imbalance_study.studies.comparison import figures

        comparison.figures = figures.draw_figures(grouped)
    return comparison


def _tables(grouped: GroupedOutcomes, price_per_kwh: float) -> dict[str, tables.Table]:
    """Make all tables, without those that have no row."""
    made = {
        "summary": tables.summary(grouped),
        "headline": tables.headline(grouped),
        "all_metrics": tables.all_metrics(grouped),
        "best_by_metric": tables.best_by_metric(grouped),
        "costs": costs.table(grouped, price_per_kwh),
        "per_seed": tables.per_seed(grouped),
        "recall_by_class": tables.recall_by_class(grouped),
        "trained_models": predictions.paired_tests(grouped),
        "ensembles": predictions.ensembles(grouped),
    }
    return {f"comparison/{name}": table for name, table in made.items() if table}


def _metrics(grouped: GroupedOutcomes) -> dict[str, float]:
    """Make the metrics of the parent run."""
    judgements = differences.judge(grouped, grouped.metric)
    best = differences.best(judgements, grouped.metric)
    better = [
        one for one in judgements if one.verdict == differences.BETTER and one.group.comparable
    ]
    values = {
        "comparison/configurations": float(len(grouped.groups)),
        "comparison/runs": float(sum(len(group.outcomes) for group in grouped.groups)),
        "comparison/baseline_mean": judgements[0].summary.mean,
        "comparison/best_mean": best.summary.mean if best else significance.NAN,
        "comparison/better_than_baseline": float(len(better)),
    }
    return {name: value for name, value in values.items() if value == value}


def _marks(grouped: GroupedOutcomes) -> list[str]:
    """List why some configurations cannot be ranked with the baseline, and missing runs."""
    marks = [f"{group.name}: {mark}" for group in grouped.groups for mark in group.marks]
    marks += [
        f"{name}: tested on other images, not paired with the baseline"
        for name in predictions.unpaired(grouped)
    ]
    return [*marks, *grouped.notes]
