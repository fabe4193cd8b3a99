"""Rank the trials of a study, and describe them in tables and words, without Optuna."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from imbalance_study.config.schema import RECORDING
from imbalance_study.studies.search.settings import Objective

Columns = dict[str, list[Any]]


class Trial(NamedTuple):
    """A trial, as the storage has it."""

    number: int
    state: str  # complete, pruned, failed, running or waiting
    values: tuple[float, ...]  # of the objectives, where it is complete
    dimensions: dict[str, Any]  # its point in the space
    reports: dict[int, float]  # epoch to the first objective
    options: dict[str, str]  # that the search decided
    error: float  # standard error of the first objective; NaN where unknown
    seconds: float
    baseline: str  # name of the baseline; empty for other trials
    gap: float  # seconds since the last epoch of the previous trial; NaN for the first one


def completed(trials: Sequence[Trial]) -> list[Trial]:
    """Select the complete trials."""
    return [trial for trial in trials if trial.state == "complete"]


def ranked(trials: Sequence[Trial], goals: Sequence[Objective]) -> list[Trial]:
    """Sort the complete trials by the first objective, the best first; of equals the earlier."""
    sign = -1 if goals[0].maximize else 1
    return sorted(completed(trials), key=lambda t: (sign * t.values[0], *t.values[1:], t.number))


def pareto_front(trials: Sequence[Trial], goals: Sequence[Objective]) -> list[Trial]:
    """Select the complete trials that no other trial dominates."""

    def costs(trial: Trial) -> list[float]:
        return [-v if goal.maximize else v for v, goal in zip(trial.values, goals, strict=True)]

    points = [(trial, costs(trial)) for trial in completed(trials)]
    return [
        trial
        for trial, mine in points
        if not any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine
            for _, other in points
        )
    ]


def tie_sentence(trials: Sequence[Trial], goals: Sequence[Objective]) -> str:
    """Describe a tie: the best two trials lie within the standard error; else return nothing."""
    order = ranked(trials, goals)
    if len(order) < 2 or not order[0].error > 0:
        return ""
    first, second = order[:2]
    apart = abs(first.values[0] - second.values[0])
    if apart > first.error:
        return ""
    close = sum(abs(t.values[0] - first.values[0]) <= first.error for t in order)
    return (
        f"The best two trials ({first.number} and {second.number}) are {apart:.4f} apart, within "
        f"one standard error ({first.error:.4f}): validation does not show which is better; "
        f"{close} trials of {len(order)} are that close to the best."
    )


def trials_table(trials: Sequence[Trial], goals: Sequence[Objective]) -> Columns:
    """Make the table of all trials: the best first, at the end trials without a value."""
    order = ranked(trials, goals)
    rest = [trial for trial in trials if trial.state not in ("complete", "waiting")]
    rows = [*order, *rest]
    columns: Columns = {
        "trial": [t.number for t in rows],
        "state": [t.state for t in rows],
    }
    for position, goal in enumerate(goals):
        columns[goal.name] = [t.values[position] if t.values else None for t in rows]
    columns["standard_error"] = [t.error if t.error == t.error else None for t in rows]
    columns["epochs"] = [max(t.reports, default=0) for t in rows]
    columns["seconds"] = [round(t.seconds, 1) for t in rows]
    columns["baseline"] = [t.baseline for t in rows]
    names = dict.fromkeys(name for t in rows for name in t.options)
    for name in names:
        columns[name] = [t.options.get(name, "") for t in rows]
    return columns


def training_command(fixed: Mapping[str, str], best: Trial) -> str:
    """Write the command that trains the winner."""
    words = ["imbalance-study", "train"]
    for name, value in (dict(fixed) | best.options).items():
        if name in RECORDING:
            continue
        words += [f"--{name}", value]
    return shlex.join(words)


def description(
    name: str,
    trials: Sequence[Trial],
    goals: Sequence[Objective],
    command: str,
    tests: Sequence[Mapping[str, float]],
    search: str,
) -> str:
    """Describe a study in Markdown.

    Args:
        name: Name of the study.
        trials: All trials.
        goals: The objectives.
        command: The command that trains the winner.
        tests: Test metrics of the winner's runs, one per seed.
        search: The searched groups of options.
    """
    order = ranked(trials, goals)
    counted = {state: sum(t.state == state for t in trials) for state in ("complete", "pruned")}
    failed = sum(t.state == "failed" for t in trials)
    lines = [
        f"Study **{name}** over {search.replace('|', ', ')}: {counted['complete']} trials "
        f"complete, {counted['pruned']} pruned" + (f", {failed} failed." if failed else "."),
        "",
    ]
    if not order:
        return "\n".join([*lines, "No trial is complete."])
    best = order[0]
    sure = f" ± {best.error:.4f} (standard error)" if best.error == best.error else ""
    lines += [f"Best: trial {best.number}, {goals[0].name} {best.values[0]:.4f}{sure}.", ""]
    lines += [_against_baseline(order, goals), ""]
    tie = tie_sentence(trials, goals)
    if tie:
        lines += [tie, ""]
    if len(goals) > 1:
        lines += [_front_sentence(trials, goals), ""]
    lines += [
        "The validation value of the best trial is too optimistic, because these images chose it; "
        "no trial used the test set.",
        "",
    ]
    if tests:
        lines += [_test_sentence(tests), ""]
    lines += ["Train the winner:", "", f"`{command}`"]
    return "\n".join(part for i, part in enumerate(lines) if part or lines[i - 1])


def _against_baseline(order: Sequence[Trial], goals: Sequence[Objective]) -> str:
    """Compare the best trial with the best baseline."""
    known = [trial for trial in order if trial.baseline]
    if not known:
        return "No baseline is complete."
    best = known[0]
    if best.number == order[0].number:
        return f"The best trial is the baseline {best.baseline}: the search found nothing better."
    apart = abs(order[0].values[0] - best.values[0])
    return (
        f"The best baseline, {best.baseline}, has {best.values[0]:.4f}, a difference of "
        f"{apart:.4f}."
    )


def _front_sentence(trials: Sequence[Trial], goals: Sequence[Objective]) -> str:
    front = sorted(pareto_front(trials, goals), key=lambda trial: trial.values[1])
    points = "; ".join(f"trial {t.number}: {t.values[0]:.4f} at {t.values[1]:.4g}" for t in front)
    return (
        f"No trial beats these in both {goals[0].name} and {goals[1].name}: {points}. The winner "
        f"is the best in {goals[0].name}."
    )


def _test_sentence(tests: Sequence[Mapping[str, float]]) -> str:
    parts = []
    for metric in ("balanced_accuracy", "accuracy", "macro_f1"):
        values = [metrics[f"test/{metric}"] for metrics in tests]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        parts.append(f"{metric.replace('_', ' ')} {statistics.fmean(values):.4f}{spread}")
    seeds = "seed" if len(tests) == 1 else "seeds"
    return f"On the test set, mean of {len(tests)} {seeds}: {', '.join(parts)}."
