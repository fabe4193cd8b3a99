"""The figures of a study, from its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imbalance_study.evaluation.figures import search as search_figures
from imbalance_study.evaluation.figures import search_dimensions
from imbalance_study.studies.search import records, space
from imbalance_study.studies.search.settings import Objective

_SLICED = 12  # dimensions in one figure
_PARALLEL = 8
_BASES = {"power of two": 2, "one minus power": 10}  # of dimensions that are exponents


def of_study(
    trials: Sequence[records.Trial],
    goals: Sequence[Objective],
    searched: space.Space,
    importances: Mapping[str, float],
) -> dict[str, Any]:
    """Name to Figure; what needs several complete trials is left out where there are none."""
    done = sorted(records.complete(trials), key=lambda trial: trial.number)
    if not done:
        return {}
    goal = goals[0]
    values = np.array([trial.values[0] for trial in done])
    importances = labelled(importances, searched)
    dimensions = _dimensions(done, searched, importances)
    found = {
        "study_history": _history(trials, done, values, goals),
        "study_intermediate": _intermediate(trials, goals),
    }
    if dimensions:
        found["study_slices"] = search_dimensions.slices(dimensions[:_SLICED], values, goal.name)
        found["study_parallel"] = search_dimensions.parallel(
            dimensions[:_PARALLEL], values, goal.name, goal.maximize
        )
    if importances:
        found["study_importances"] = search_figures.importances(importances, goal.name)
    pair = _pair(dimensions, importances)
    if pair:
        found["study_contour"] = search_dimensions.contour(*pair, values, goal.name)
    if len(goals) > 1:
        front = {trial.number for trial in records.front(done, goals)}
        found["study_pareto"] = search_figures.pareto(
            values,
            np.array([trial.values[1] for trial in done]),
            np.array([trial.number in front for trial in done]),
            [f"{trial.options.get('model', '')} (trial {trial.number})".strip() for trial in done],
            (goal.name, goals[1].name),
        )
    return found


def labelled(importances: Mapping[str, float], searched: space.Space) -> dict[str, float]:
    """The shares under the names that a reader knows, in place of the search's own."""
    names = {axis.name: _label(axis) for axis in searched.axes}
    return {names.get(name, name): share for name, share in importances.items()}


def _label(axis: space.Axis) -> str:
    option, _, key = axis.writes.partition(":")
    if axis.form == "factor":
        return f"{option} / default"
    if axis.form == "one minus power":
        return f"1 - {key}"
    return option if axis.form == "power of two" else axis.name


def _plain(axis: space.Axis, value: Any) -> Any:
    """A value as the option has it: 32, where the search has the exponent 5."""
    if value is None or axis.form not in _BASES:
        return value
    return float(_BASES[axis.form] ** value)


def _dimensions(
    done: Sequence[records.Trial], searched: space.Space, importances: Mapping[str, float]
) -> list[search_dimensions.Dimension]:
    """Those in which the complete trials differ: by importance, then by how many trials have it."""
    found = []
    for axis in searched.axes:
        values = [_plain(axis, trial.dimensions.get(axis.name)) for trial in done]
        if len({value for value in values if value is not None}) > 1:
            found.append(
                search_dimensions.Dimension(_label(axis), values, axis.log or axis.form in _BASES)
            )

    def rank(one: search_dimensions.Dimension) -> tuple[float, int]:
        return -importances.get(one.name, -1.0), sum(value is None for value in one.values)

    return sorted(found, key=rank)


def _pair(
    dimensions: Sequence[search_dimensions.Dimension], importances: Mapping[str, float]
) -> tuple[search_dimensions.Dimension, search_dimensions.Dimension] | None:
    """The two most important."""
    known = [one for one in dimensions if one.name in importances]
    return (known[0], known[1]) if len(known) > 1 else None


def _history(
    trials: Sequence[records.Trial],
    done: Sequence[records.Trial],
    values: np.ndarray[Any, Any],
    goals: Sequence[Objective],
) -> Any:
    goal = goals[0]
    accumulate = np.maximum.accumulate if goal.maximize else np.minimum.accumulate
    return search_figures.history(
        np.array([trial.number for trial in done]),
        values,
        accumulate(values),
        np.array([trial.number for trial in trials if trial.state == "pruned"], dtype=int),
        goal.name,
        records.ranked(done, goals)[0].error,
        [trial.number for trial in done if trial.baseline],
    )


def _intermediate(trials: Sequence[records.Trial], goals: Sequence[Objective]) -> Any:
    pruned = [trial for trial in trials if trial.state == "pruned"]
    shown = [*records.ranked(trials, goals), *pruned]
    curves = []
    for trial in shown:
        points = sorted((e, v) for e, v in trial.reports.items() if math.isfinite(v))
        epochs, values = np.array([e for e, _ in points], int), np.array([v for _, v in points])
        curves.append((epochs, values))
    return search_figures.intermediate(curves, [trial.state for trial in shown], goals[0].name)
