"""The answer of a comparison for machines: a JSON document, which docs/json.md describes."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imbalance_study import __version__
from imbalance_study.studies.comparison import costs, differences
from imbalance_study.studies.comparison.differences import Judgement
from imbalance_study.studies.comparison.grouping import GroupedOutcomes
from imbalance_study.studies.comparison.outcome import Comparison

FORMAT = "imbalance_study answer"
FORMAT_VERSION = 1


def document(
    subject: Mapping[str, str],
    parts: Sequence[Mapping[str, Any]],
    commands: Sequence[str],
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """Make the whole document.

    Args:
        subject: What was asked about: kind, name, experiment, run_id and link, as far as known.
        parts: From `part`, one for each data set.
        commands: Command lines that repeat it.
        problems: Why runs are missing.
    """
    made = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "program": __version__,
        "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "subject": dict(subject),
        "parts": list(parts),
        "commands": list(commands),
        "problems": list(problems),
    }
    plain: dict[str, Any] = _plain(made)
    return plain


def part(
    grouped: GroupedOutcomes, comparison: Comparison, about: Mapping[str, str]
) -> dict[str, Any]:
    """Make the part on one data set.

    Args:
        grouped: The runs.
        comparison: Their comparison.
        about: Data set and model.
    """
    judgements = differences.judge(grouped, grouped.metric)
    winner = differences.best(judgements, grouped.metric)
    spent = comparison.tables.get("comparison/costs", {})
    shown = any(one.verdict == differences.BETTER and one.group.comparable for one in judgements)
    return {
        **about,
        "metric": grouped.metric,
        "baseline": grouped.baseline.name,
        "verdict": comparison.verdict,
        "better_shown": shown,
        "inference": comparison.inference,
        "same_network": costs.one_network(grouped),
        "configurations": [
            _configuration(one, grouped, one is winner, spent)
            for one in differences.ranked(judgements, grouped.metric)
        ],
        "findings": list(comparison.findings),
        "notes": list(comparison.marks),
    }


def _configuration(
    one: Judgement, grouped: GroupedOutcomes, best: bool, spent: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    group, test = one.group, one.test
    at = spent["configuration"].index(group.name) if spent else 0
    measured = {name: column[at] for name, column in spent.items() if name not in _NO_COSTS}
    measured.pop(grouped.metric.rsplit("/", 1)[-1], None)
    return {
        "name": group.name,
        "verdict": one.verdict,
        "best": best,
        "rankable": group.comparable,
        "notes": list(group.marks) + ([test.reason] if test and test.reason else []),
        "mean": one.summary.mean,
        "sd": one.summary.sd,
        "interval_95": [one.summary.low, one.summary.high],
        "difference": test.difference if test else None,
        "difference_interval_95": [test.low, test.high] if test else None,
        "pairs": test.pairs if test else 0,
        "p": test.p if test else None,
        "p_holm": one.p_holm,
        "shown_from": one.detectable,
        "runs": [
            {
                "seed": run.seed,
                "run_id": run.run_id,
                "value": run.metrics.get(grouped.metric),
                "seconds": run.seconds,
            }
            for run in group.outcomes
        ],
        "metrics": {
            name: {"mean": stats.mean, "sd": stats.sd}
            for name in grouped.headline
            for stats in [group.summary(name)]
        },
        "costs": measured,
    }


_NO_COSTS = {"configuration", "epochs", "updates", "images_seen"}


def _plain(value: Any) -> Any:
    """Turn values into those of JSON, which has no NaN: null."""
    match value:
        case Mapping():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case bool() | None | str():
            return value
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
    return str(value)
