"""Key findings in words, computed from the numbers: only what the tests bear out."""

from __future__ import annotations

from collections.abc import Sequence

from imbalance_study.evaluation.bootstrap import p_text
from imbalance_study.studies.comparison import differences, predictions, tables
from imbalance_study.studies.comparison.differences import Judged
from imbalance_study.studies.comparison.grouping import Grouped

LISTED = 6  # configurations in one sentence
COST_WORDS = {
    "time/train_seconds": "training time",
    "cost/latency_ms_b1": "latency",
    "cost/macs": "multiply-accumulates",
    "cost/parameters": "parameters",
}
COUNTED = ("cost/macs", "cost/parameters")  # the same in every run, while times are measured
NOTABLE = 1.1  # times the baseline's cost


def findings(grouped: Grouped) -> list[str]:
    """Sentences about a comparison, the most important first.

    A configuration is called better or worse only where the paired t-test over seeds, with Holm's
    correction over the configurations, has p below 5 %; and a winner only where nothing but the
    configuration sets it apart from the baseline.
    """
    judged = differences.judge(grouped, grouped.metric)
    if len(judged) == 1:
        return [_alone(judged[0], grouped), *_ensemble(grouped)]
    return [
        *_claims(judged, grouped),
        *_marked(judged, grouped),
        *_tail(grouped),
        *_choice(grouped),
        *_costs(grouped),
        *_ensemble(grouped),
        *_how(judged, grouped),
    ]


def words(metric: str) -> str:
    """A metric's name as one says it."""
    return tables.short(metric).replace("_", " ").replace("f1", "F1")


def _alone(one: Judged, grouped: Grouped) -> str:
    seeds = f"{one.summary.seeds} seed{'s' if one.summary.seeds != 1 else ''}"
    return (
        f"{one.group.name} is the only configuration, so there is nothing to compare it with: "
        f"{words(grouped.metric)} {one.summary.mean:.3f} over {seeds}."
    )


def _claims(judged: Sequence[Judged], grouped: Grouped) -> list[str]:
    """Who beats the baseline, who loses to it, and about whom nothing can be said."""
    fair = [one for one in judged[1:] if one.group.comparable]
    ranked = differences.ranked(fair, grouped.metric)
    name, metric = grouped.baseline.name, words(grouped.metric)
    by_verdict = {
        verdict: [one for one in ranked if one.verdict == verdict]
        for verdict in (differences.BETTER, differences.WORSE, differences.OPEN)
    }
    better, worse, unclear = by_verdict.values()
    said = []
    if better:
        said.append(f"{better[0].group.name} beats {name} in {metric} by {_sure(better[0])}.")
    if len(better) > 1:
        said.append(
            f"{_listed(better[1:])} beat{'s' if len(better) == 2 else ''} it too. Which of those "
            "that beat the baseline is best was not tested."
        )
    if worse:
        said.append(f"Worse than {name} in {metric}: {_listed(worse[::-1])}.")
    if unclear:
        also = "No difference is shown for" if said else f"No difference to {name} is shown for"
        said.append(f"{also} {_listed(unclear)}: {metric} may differ, these seeds do not tell.")
    return said + _untested(fair, grouped)


def _untested(fair: Sequence[Judged], grouped: Grouped) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for one in fair:
        if one.test is not None and one.test.reason:
            by_reason.setdefault(one.test.reason, []).append(one.group.name)
    return [
        f"Nothing is claimed about {_joined(names)} against {grouped.baseline.name}: {reason}."
        for reason, names in by_reason.items()
    ]


def _sure(one: Judged) -> str:
    """Difference, interval and p."""
    assert one.test is not None
    test = one.test
    low, high = _signed(test.low), _signed(test.high)
    return (
        f"{abs(test.difference):.3f} (95 % interval {low} to {high}, Holm-corrected "
        f"{p_text(one.p_holm)}, {test.pairs} seeds)"
    )


def _signed(value: float) -> str:
    """With its sign, and never -0.000."""
    return f"{round(value, 3) + 0.0:+.3f}"


def _listed(those: Sequence[Judged]) -> str:
    told = []
    for one in those[:LISTED]:
        assert one.test is not None
        told.append(f"{one.group.name} ({_signed(one.test.difference)}, {p_text(one.p_holm)})")
    return _joined(told + [f"{len(those) - LISTED} more"] * (len(those) > LISTED))


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _marked(judged: Sequence[Judged], grouped: Grouped) -> list[str]:
    """Those that are not ranked, and why; those with the same reasons in one sentence."""
    by_marks: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged[1:]:
        if not one.group.comparable:
            by_marks.setdefault(one.group.marks, []).append(one)
    said = []
    for marks, those in by_marks.items():
        told = [f"{one.group.name}{_difference(one)}" for one in those[:LISTED]]
        told += [f"{len(those) - LISTED} more"] * (len(those) > LISTED)
        verb = "is" if len(those) == 1 else "are"
        said.append(
            f"{_joined(told)} {verb} not ranked: {'; '.join(marks)}. What the configuration does "
            "and what that does cannot be told apart."
        )
    return said


def _difference(one: Judged) -> str:
    if one.test is None or one.test.pairs == 0:
        return ""
    return f" ({_signed(one.test.difference)})"


def _tail(grouped: Grouped) -> list[str]:
    """Who helps the rarest third of the classes, and what that costs the most frequent third."""
    tail = [
        one
        for one in differences.judge(grouped, "test/tail_recall")
        if one.group.comparable and one.test is not None
    ]
    if all(one.test.reason for one in tail if one.test is not None):
        return []
    gains = [one for one in tail if one.verdict == differences.BETTER]
    if not gains:
        return ["For the rarest third of the classes no gain in recall is shown."]
    best = differences.ranked(gains, "test/tail_recall")[0]
    said = (
        f"The rarest third of the classes gains most with {best.group.name} among those whose gain "
        f"is shown: recall by {_sure(best)}"
    )
    head = next(
        one
        for one in differences.judge(grouped, "test/head_recall")
        if one.group.name == best.group.name
    )
    return [f"{said}; {_head(head)}."]


def _head(one: Judged) -> str:
    third = "the most frequent third"
    if one.verdict == differences.WORSE:
        return f"{third} pays for it with {_sure(one)}"
    if one.verdict == differences.BETTER:
        return f"{third} gains as well, {_sure(one)}"
    if one.test is None or one.test.pairs == 0:
        return f"what it does to {third} is not known"
    return f"for {third} ({_signed(one.test.difference)}) no difference is shown"


def _choice(grouped: Grouped) -> list[str]:
    """Whether validation would have chosen what the test set shows as the highest."""
    table = tables.best_by_metric(grouped)
    metric = words(grouped.metric)
    if not table or grouped.metric not in table["metric"]:
        return []
    row = {name: column[table["metric"].index(grouped.metric)] for name, column in table.items()}
    if not row["chosen_by"].startswith("selected_val/"):
        return [
            "There is no validation to choose by: the highest mean on the test set, "
            f"{row['configuration']} ({metric} {row['test_mean']:.3f}), is too good as an estimate "
            "of what choosing it gives."
        ]
    if row["same"]:
        return [
            f"Validation chooses {row['configuration']}, which also has the highest mean {metric} "
            f"on the test set, {row['test_mean']:.3f}."
        ]
    return [
        f"Validation chooses {row['configuration']} ({metric} {row['test_mean']:.3f} on the test "
        f"set); the highest mean there is that of {row['best_on_test']} "
        f"({row['best_on_test_mean']:.3f}), which is no reason to choose it."
    ]


def _costs(grouped: Grouped) -> list[str]:
    """The largest multiples of the baseline's costs, where they are notable.

    Times vary from run to run, so they are told only where the test over seeds shows them to be
    larger.
    """
    told: dict[str, list[str]] = {}
    for metric, noun in COST_WORDS.items():
        measured = differences.judge(grouped, metric)
        base = measured[0].summary.mean
        ratios = {
            one.group.name: one.summary.mean / base
            for one in measured[1:]
            if metric in COUNTED or one.verdict == differences.WORSE
            if base > 0 < one.summary.mean
        }
        most = max(ratios, key=lambda name: ratios[name], default="")
        if most and ratios[most] >= NOTABLE:
            told.setdefault(most, []).append(f"{ratios[most]:.1f} times the {noun}")
    if not told:
        return []
    costs = "; ".join(f"{_joined(of)} with {name}" for name, of in told.items())
    return [f"Costs reach, against {grouped.baseline.name}: {costs}."]


def _ensemble(grouped: Grouped) -> list[str]:
    table = predictions.ensembles(grouped)
    if not table:
        return []
    column = tables.short(grouped.metric)
    known = [at for at, value in enumerate(table[column]) if value == value]
    if not known:
        return []
    sign = differences.direction(grouped.metric) or 1
    best = max(known, key=lambda at: sign * table[column][at])
    return [
        f"Of the ensembles, {table['ensemble'][best]} ({table['of'][best]}, "
        f"{table['members'][best]} models) has the highest {words(grouped.metric)}, "
        f"{table[column][best]:.3f}, {_signed(table['gain'][best])} against the mean of its "
        "members; it is one ensemble, without a test, and costs as many passes as it has models."
    ]


def _how(judged: Sequence[Judged], grouped: Grouped) -> list[str]:
    """What the p values are, and over which family they are corrected."""
    tested = sum(one.p_holm == one.p_holm for one in judged)
    if not tested:
        return []
    return [
        f"p values are two-sided, of paired t-tests over seeds against {grouped.baseline.name}, "
        f"Holm-corrected over the {tested} configuration{'s' if tested > 1 else ''} tested on a "
        "metric; every metric is a family of its own. The intervals are not corrected."
    ]
