"""Draw the figures of a study from its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imbalance_study.evaluation.figures import search as plots
from imbalance_study.evaluation.figures import search_dimensions
from imbalance_study.studies.search import axes, records, space
from imbalance_study.studies.search.settings import Objective

_SLICED = 12  # dimensions in one figure
_PARALLEL = 8
_BASES = {"power of two": 2, "one minus power": 10}  # of dimensions that are exponents


def draw_figures(
    trials: Sequence[records.Trial],
    goals: Sequence[Objective],
    searched: space.Space,
    importances: Mapping[str, float],
) -> dict[str, Any]:
    """Draw all figures for which there are enough complete trials; returns name to Figure."""
    complete = sorted(records.completed(trials), key=lambda trial: trial.number)
    if not complete:
        return {}
    goal = goals[0]
    values = np.array([trial.values[0] for trial in complete])
    importances = label_importances(importances, searched)
    dimensions = _dimensions(complete, searched, importances)
    drawn = {
        "study_history": _history(trials, complete, values, goals),
        "study_intermediate": _intermediate(trials, goals),
    }
    if dimensions:
        drawn["study_slices"] = search_dimensions.slices(dimensions[:_SLICED], values, goal.name)
        drawn["study_parallel"] = search_dimensions.parallel(
            dimensions[:_PARALLEL], values, goal.name, goal.maximize
        )
    if importances:
        drawn["study_importances"] = plots.importances(importances, goal.name)
    pair = _pair(dimensions, importances)
    if pair:
        drawn["study_contour"] = search_dimensions.contour(*pair, values, goal.name)
    if len(goals) > 1:
        front = {trial.number for trial in records.pareto_front(complete, goals)}
        drawn["study_pareto"] = plots.pareto(
            values,
            np.array([trial.values[1] for trial in complete]),
            np.array([trial.number in front for trial in complete]),
            [
                f"{trial.options.get('model', '')} (trial {trial.number})".strip()
                for trial in complete
            ],
            (goal.name, goals[1].name),
        )
    return drawn


def label_importances(importances: Mapping[str, float], searched: space.Space) -> dict[str, float]:
    """Replace the dimensions' names of the search by those of the options."""
    names = {axis.name: _label(axis) for axis in searched.axes}
    return {names.get(name, name): share for name, share in importances.items()}


def _label(axis: axes.Axis) -> str:
    option, _, key = axis.writes.partition(":")
    if axis.form == "factor":
        return f"{option} / default"
    if axis.form == "one minus power":
        return f"1 - {key}"
    return option if axis.form == "power of two" else axis.name


def _option_value(axis: axes.Axis, value: Any) -> Any:
    """Convert a value of the search to that of the option: the exponent 5 to 32."""
    if value is None or axis.form not in _BASES:
        return value
    return float(_BASES[axis.form] ** value)


def _dimensions(
    complete: Sequence[records.Trial], searched: space.Space, importances: Mapping[str, float]
) -> list[search_dimensions.Dimension]:
    """Those in which the complete trials differ: by importance, then by how many trials have it."""
    dimensions = []
    for axis in searched.axes:
        values = [_option_value(axis, trial.dimensions.get(axis.name)) for trial in complete]
        if len({value for value in values if value is not None}) > 1:
            dimensions.append(
                search_dimensions.Dimension(_label(axis), values, axis.log or axis.form in _BASES)
            )

    def rank(one: search_dimensions.Dimension) -> tuple[float, int]:
        return -importances.get(one.name, -1.0), sum(value is None for value in one.values)

    return sorted(dimensions, key=rank)


def _pair(
    dimensions: Sequence[search_dimensions.Dimension], importances: Mapping[str, float]
) -> tuple[search_dimensions.Dimension, search_dimensions.Dimension] | None:
    """The two most important."""
    known = [one for one in dimensions if one.name in importances]
    return (known[0], known[1]) if len(known) > 1 else None


def _history(
    trials: Sequence[records.Trial],
    complete: Sequence[records.Trial],
    values: np.ndarray[Any, Any],
    goals: Sequence[Objective],
) -> Any:
    goal = goals[0]
    accumulate = np.maximum.accumulate if goal.maximize else np.minimum.accumulate
    return plots.history(
        np.array([trial.number for trial in complete]),
        values,
        accumulate(values),
        np.array([trial.number for trial in trials if trial.state == "pruned"], dtype=int),
        goal.name,
        records.ranked(complete, goals)[0].error,
        [trial.number for trial in complete if trial.baseline],
    )


def _intermediate(trials: Sequence[records.Trial], goals: Sequence[Objective]) -> Any:
    pruned = [trial for trial in trials if trial.state == "pruned"]
    shown = [*records.ranked(trials, goals), *pruned]
    curves = []
    for trial in shown:
        points = sorted((e, v) for e, v in trial.reports.items() if math.isfinite(v))
        epochs, values = np.array([e for e, _ in points], int), np.array([v for _, v in points])
        curves.append((epochs, values))
    return plots.intermediate(curves, [trial.state for trial in shown], goals[0].name)
