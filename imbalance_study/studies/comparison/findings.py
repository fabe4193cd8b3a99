"""Write the findings of a comparison as sentences that its tests support."""

from __future__ import annotations

from collections.abc import Sequence

from imbalance_study.evaluation.bootstrap import p_text
from imbalance_study.studies.comparison import differences, predictions, tables
from imbalance_study.studies.comparison.differences import Judgement
from imbalance_study.studies.comparison.grouping import GroupedOutcomes

LISTED = 6  # configurations in one sentence
COST_WORDS = {
    "time/train_seconds": "training time",
    "cost/latency_ms_b1": "latency",
    "cost/macs": "multiply-accumulates",
    "cost/parameters": "parameters",
}
COUNTED = ("cost/macs", "cost/parameters")  # equal in every run; times vary
NOTABLE = 1.1  # times the baseline's cost


def findings(grouped: GroupedOutcomes) -> list[str]:
    """Write sentences about a comparison, the most important first.

    A configuration is called better or worse only where the paired t-test over seeds, with Holm's
    correction over the configurations, has p below 5 %, and only where the configuration is the
    sole difference to the baseline.
    """
    judgements = differences.judge(grouped, grouped.metric)
    if len(judgements) == 1:
        return [_single(judgements[0], grouped), *_ensemble(grouped)]
    return [
        *_claims(judgements, grouped),
        *_not_ranked(judgements),
        *_tail(judgements, grouped),
        *_choice(grouped),
        *_costs(grouped),
        *_ensemble(grouped),
        *_method(judgements, grouped),
    ]


def words(metric: str) -> str:
    """Write a metric's name in words."""
    return tables.short(metric).replace("_", " ").replace("f1", "F1")


def _single(one: Judgement, grouped: GroupedOutcomes) -> str:
    """Describe the only configuration."""
    seeds = f"{one.summary.seeds} seed{'s' if one.summary.seeds != 1 else ''}"
    return (
        f"{one.group.name} is the only configuration, so there is nothing to compare it with: "
        f"{words(grouped.metric)} {one.summary.mean:.3f} over {seeds}."
    )


def _claims(judgements: Sequence[Judgement], grouped: GroupedOutcomes) -> list[str]:
    """Name the configurations that are better, worse, or not shown to differ."""
    fair = [one for one in judgements[1:] if one.group.comparable]
    ranked = differences.ranked(fair, grouped.metric)
    name, metric = grouped.baseline.name, words(grouped.metric)
    by_verdict = {
        verdict: [one for one in ranked if one.verdict == verdict]
        for verdict in (differences.BETTER, differences.WORSE, differences.OPEN)
    }
    better, worse, unclear = by_verdict.values()
    sentences = []
    if better:
        sentences.append(
            f"{better[0].group.name} beats {name} in {metric} by {_effect(better[0])}."
        )
    if len(better) > 1:
        sentences.append(
            f"{_listed(better[1:])} beat{'s' if len(better) == 2 else ''} it too. The "
            "configurations that beat the baseline were not tested against each other."
        )
    if worse:
        sentences.append(f"Worse than {name} in {metric}: {_listed(worse[::-1])}.")
    if unclear:
        also = (
            "No difference is shown for" if sentences else f"No difference to {name} is shown for"
        )
        sentences.append(
            f"{also} {_listed(unclear)}: {metric} may differ, but these seeds do not show it"
            f"{_power(unclear)}."
        )
    return sentences + _untested(fair, grouped)


def _power(unclear: Sequence[Judgement]) -> str:
    """Say from where on a difference would be shown, for the most and the least certain one."""
    known = [one for one in unclear if one.detectable > 0]
    if not known:
        return ""
    least = min(known, key=lambda one: one.detectable)
    most = max(known, key=lambda one: one.detectable)
    assert least.test is not None
    size = f"{least.detectable:.3f}"
    if most is not least:
        size += f" ({least.group.name}) to {most.detectable:.3f} ({most.group.name})"
    return f", as {least.test.pairs} seeds show a difference with 80 % power from {size} on"


def _untested(fair: Sequence[Judgement], grouped: GroupedOutcomes) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for one in fair:
        if one.test is not None and one.test.reason:
            by_reason.setdefault(one.test.reason, []).append(one.group.name)
    return [
        f"There is no test of {_joined(names)} against {grouped.baseline.name}: {reason}."
        for reason, names in by_reason.items()
    ]


def _effect(one: Judgement) -> str:
    """Write difference, interval and p."""
    assert one.test is not None
    test = one.test
    low, high = _signed(test.low), _signed(test.high)
    return (
        f"{abs(test.difference):.3f} (95 % interval {low} to {high}, Holm-corrected "
        f"{p_text(one.p_holm)}, {test.pairs} seeds)"
    )


def _signed(value: float) -> str:
    """Write a value with its sign, never as -0.000."""
    return f"{round(value, 3) + 0.0:+.3f}"


def _listed(judgements: Sequence[Judgement]) -> str:
    """List configurations with difference and p, the first few of them."""
    names = []
    for one in judgements[:LISTED]:
        assert one.test is not None
        names.append(f"{one.group.name} ({_signed(one.test.difference)}, {p_text(one.p_holm)})")
    return _joined(names + _rest(judgements))


def _rest(judgements: Sequence[Judgement]) -> list[str]:
    return [f"{len(judgements) - LISTED} more"] if len(judgements) > LISTED else []


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _not_ranked(judgements: Sequence[Judgement]) -> list[str]:
    """Name the configurations that are not ranked, with their marks; a sentence for equal marks."""
    by_marks: dict[tuple[str, ...], list[Judgement]] = {}
    for one in judgements[1:]:
        if not one.group.comparable:
            by_marks.setdefault(one.group.marks, []).append(one)
    sentences = []
    for marks, alike in by_marks.items():
        names = [f"{one.group.name}{_difference(one)}" for one in alike[:LISTED]] + _rest(alike)
        verb = "is" if len(alike) == 1 else "are"
        difference = "this difference" if len(marks) == 1 else "these differences"
        sentences.append(
            f"{_joined(names)} {verb} not ranked: {'; '.join(marks)}. The effect of the "
            f"configuration cannot be separated from {difference}."
        )
    return sentences


def _difference(one: Judgement) -> str:
    if one.test is None or one.test.pairs == 0:
        return ""
    return f" ({_signed(one.test.difference)})"


def _tail(judgements: Sequence[Judgement], grouped: GroupedOutcomes) -> list[str]:
    """Name the largest gain for the rarest third of the classes, and its cost for the others.

    It is a claim for the configurations alone that beat the baseline on the metric, so that it
    opens no second family: where no configuration differs, a false sentence needs a false claim
    first. For the others the means are given.
    """
    recall = "test/tail_recall"
    tail = [
        one
        for one in differences.judge(grouped, recall)
        if one.group.comparable and one.test is not None and one.test.pairs
    ]
    shown = {one.group.name for one in judgements if one.verdict == differences.BETTER}
    gains = [one for one in tail if one.verdict == differences.BETTER and one.group.name in shown]
    if gains:
        best = differences.ranked(gains, recall)[0]
        gain = (
            f"The rarest third of the classes gains most with {best.group.name} among the "
            f"configurations with a significant gain: recall by {_effect(best)}"
        )
        head = next(
            one
            for one in differences.judge(grouped, "test/head_recall")
            if one.group.name == best.group.name
        )
        return [f"{gain}; {_head(head)}."]
    if not tail or all(one.test.reason for one in tail if one.test is not None):
        return []
    if shown & {one.group.name for one in tail}:
        return ["For the rarest third of the classes no gain in recall is shown."]
    highest = differences.ranked(tail, recall)[0]
    assert highest.test is not None
    return [
        f"For the rarest third of the classes no gain in recall is claimed: that needs a "
        f"configuration that beats {grouped.baseline.name} in {words(grouped.metric)}. On average "
        f"{highest.group.name} changes it by {_signed(highest.test.difference)}."
    ]


def _head(one: Judgement) -> str:
    third = "the most frequent third"
    if one.verdict == differences.WORSE:
        return f"{third} pays for it with {_effect(one)}"
    if one.verdict == differences.BETTER:
        return f"{third} gains as well, {_effect(one)}"
    if one.test is None or one.test.pairs == 0:
        return f"the effect on {third} is not known"
    return f"for {third} ({_signed(one.test.difference)}) no difference is shown"


def _choice(grouped: GroupedOutcomes) -> list[str]:
    """Compare the choice of validation with the highest mean on the test set."""
    table = tables.best_by_metric(grouped)
    metric = words(grouped.metric)
    if not table or grouped.metric not in table["metric"]:
        return []
    row = {name: column[table["metric"].index(grouped.metric)] for name, column in table.items()}
    if not row["chosen_by"].startswith("selected_val/"):
        return [
            "There is no validation to choose by: the highest mean on the test set, "
            f"{row['configuration']} ({metric} {row['test_mean']:.3f}), is too optimistic for a "
            "configuration that is chosen by it."
        ]
    if row["same"]:
        return [
            f"Validation chooses {row['configuration']}, which also has the highest mean {metric} "
            f"on the test set, {row['test_mean']:.3f}."
        ]
    return [
        f"Validation chooses {row['configuration']} ({metric} {row['test_mean']:.3f} on the test "
        f"set); {row['best_on_test']} has the highest mean there "
        f"({row['best_on_test_mean']:.3f}), which is no reason to choose it."
    ]


def _costs(grouped: GroupedOutcomes) -> list[str]:
    """Name the largest multiples of the baseline's costs.

    Times vary from run to run, so that they count only where the test over seeds shows a
    difference.
    """
    parts: dict[str, list[str]] = {}
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
            parts.setdefault(most, []).append(f"{ratios[most]:.1f} times the {noun}")
    if not parts:
        return []
    costs = "; ".join(f"{_joined(of)} with {name}" for name, of in parts.items())
    return [f"Costs reach, against {grouped.baseline.name}: {costs}."]


def _ensemble(grouped: GroupedOutcomes) -> list[str]:
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


def _method(judgements: Sequence[Judgement], grouped: GroupedOutcomes) -> list[str]:
    """Explain the p values and the family of their correction."""
    tested = sum(one.p_holm == one.p_holm for one in judgements)
    if not tested:
        return []
    return [
        f"p values are two-sided, of paired t-tests over seeds against {grouped.baseline.name}, "
        f"Holm-corrected over the {tested} configuration{'s' if tested > 1 else ''} tested on "
        f"{words(grouped.metric)}, on which the claims are; each other metric of the tables is a "
        "family of its own. The intervals are not corrected."
    ]
