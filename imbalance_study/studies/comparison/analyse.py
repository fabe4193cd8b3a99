"""What finished runs say together: statistics, tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison import (
    differences,
    findings,
    grouping,
    predictions,
    tables,
)
from imbalance_study.studies.comparison.grouping import Grouped
from imbalance_study.studies.comparison.outcome import Comparison, Outcome


def compare_outcomes(
    outcomes: Sequence[Outcome],
    *,
    baseline: str,
    metric: str = "test/balanced_accuracy",
    panels: bool = True,
) -> Comparison:
    """Compare configurations over their seeds.

    Args:
        outcomes: Finished runs.
        baseline: Name of the configuration that the others are measured against.
        metric: What the claim is made on.
        panels: Draw the figures too; they take most of the time.

    Raises:
        ValueError: There is no run, no such baseline, or no run with the metric.
    """
    grouped = grouping.group(outcomes, baseline, metric)
    found = Comparison(
        tables=_tables(grouped),
        metrics=_metrics(grouped),
        findings=findings.findings(grouped),
        marks=_marks(grouped),
    )
    if panels:
        from imbalance_study.studies.comparison import figures as drawn

        found.figures = drawn.figures(grouped)
    return found


def _tables(grouped: Grouped) -> dict[str, tables.Table]:
    """All tables that have a row."""
    made = {
        "summary": tables.summary(grouped),
        "headline": tables.headline(grouped),
        "all_metrics": tables.all_metrics(grouped),
        "best_by_metric": tables.best_by_metric(grouped),
        "costs": tables.costs(grouped),
        "per_seed": tables.per_seed(grouped),
        "recall_by_class": tables.recall_by_class(grouped),
        "trained_models": predictions.paired_tests(grouped),
        "ensembles": predictions.ensembles(grouped),
    }
    return {f"comparison/{name}": table for name, table in made.items() if table}


def _metrics(grouped: Grouped) -> dict[str, float]:
    """The few numbers that the parent run carries itself."""
    judged = differences.judge(grouped, grouped.metric)
    best = differences.best(judged, grouped.metric)
    found = {
        "comparison/configurations": float(len(grouped.groups)),
        "comparison/runs": float(sum(len(group.outcomes) for group in grouped.groups)),
        "comparison/baseline_mean": judged[0].summary.mean,
        "comparison/best_mean": best.summary.mean if best else significance.NAN,
        "comparison/better_than_baseline": float(
            sum(one.verdict == differences.BETTER and one.group.comparable for one in judged)
        ),
    }
    return {name: value for name, value in found.items() if value == value}


def _marks(grouped: Grouped) -> list[str]:
    """Why some configurations cannot be ranked with the baseline, and what is missing."""
    marks = [f"{group.name}: {mark}" for group in grouped.groups for mark in group.marks]
    others = predictions.unpaired(grouped)
    marks += [f"{name}: tested on other images, not paired with the baseline" for name in others]
    return [*marks, *grouped.notes]
