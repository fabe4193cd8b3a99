"""The verdict of a comparison: one sentence with effect, interval, p and cost."""

from __future__ import annotations

from collections.abc import Sequence

from imbalance_study.evaluation.bootstrap import p_text
from imbalance_study.studies.comparison import costs, differences, tables
from imbalance_study.studies.comparison.differences import Judgement
from imbalance_study.studies.comparison.grouping import GroupedOutcomes, is_share


def verdict(grouped: GroupedOutcomes) -> str:
    """Say whether a configuration beats the baseline, by how much, how sure and at what cost.

    It follows the rule of the findings: the paired t-test over seeds with Holm's correction, and
    only configurations that can be ranked with the baseline.
    """
    judgements = differences.judge(grouped, grouped.metric)
    fair = [one for one in judgements[1:] if one.group.comparable]
    ranked = differences.ranked(fair, grouped.metric)
    better = [one for one in ranked if one.verdict == differences.BETTER]
    if better:
        return _winner(better, grouped)
    if len(judgements) == 1:
        return _alone(judgements[0], grouped)
    name, metric = grouped.baseline.name, words(grouped.metric)
    if all(one.verdict == differences.UNTESTED for one in fair):
        return f"Nothing is tested against {name}: {_why_untested(fair)}."
    worse = [one for one in fair if one.verdict == differences.WORSE]
    text = f"No configuration is shown to beat {name} in {metric}"
    if worse:
        text += f"; {len(worse)} of {len(fair)} {'is' if len(worse) == 1 else 'are'} worse"
    return f"{text}{_power(fair, grouped)}."


def words(metric: str) -> str:
    """Write a metric's name in words."""
    return tables.short(metric).replace("_", " ").replace("f1", "F1")


def amount(value: float, metric: str) -> str:
    """Write the size of a difference: in points of a share, else as it is."""
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3f}"


def _winner(better: Sequence[Judgement], grouped: GroupedOutcomes) -> str:
    best, metric = better[0], grouped.metric
    assert best.test is not None
    sign = differences.direction(metric) or 1
    ends = sorted(sign * end for end in (best.test.low, best.test.high))
    low, high = (amount(end, metric) for end in ends)
    points = " points" if is_share(metric) else ""
    text = (
        f"{best.group.name} beats {grouped.baseline.name} by "
        f"{amount(abs(best.test.difference), metric)}{points} of {words(metric)} "
        f"({low} to {high}), {p_text(best.p_holm)}, {best.test.pairs} seeds"
    )
    if cost := _cost(best, grouped):
        text += f"; {cost}"
    if len(better) > 1:
        count = len(better) - 1
        text += f". {count} more {'beats' if count == 1 else 'beat'} it, too"
    return f"{text}."


def _cost(best: Judgement, grouped: GroupedOutcomes) -> str:
    """Compare the costs with the baseline's: at inference, and in training time."""
    parts = []
    name, base = best.group.name, grouped.baseline.name
    found = {group.name: one for one in costs.networks(grouped) for group in one.members}
    if name in found and base in found:
        ratio = found[name].costs["cost/macs"] / found[base].costs["cost/macs"]
        same = found[name] is found[base]
        parts.append(
            "same cost at inference" if same else f"{ratio:.2g} times the multiply-accumulates"
        )
    training = costs.training(grouped)[name]
    if training.verdict in (differences.BETTER, differences.WORSE):
        parts.append(f"{training.times_baseline:.2g} times the training time")
    elif training.verdict == differences.OPEN:
        parts.append("no difference in training time is shown")
    return ", ".join(parts)


def _alone(one: Judgement, grouped: GroupedOutcomes) -> str:
    metric, summary = grouped.metric, one.summary
    text = f"{one.group.name} reaches {words(metric)} {summary.mean:.3f}"
    if summary.low == summary.low and summary.sd:
        text += f" ({summary.low:.3f} to {summary.high:.3f})"
    seeds = f"{summary.seeds} seed{'s' if summary.seeds != 1 else ''}"
    return f"{text} over {seeds}; there is nothing to compare it with."


def _why_untested(fair: Sequence[Judgement]) -> str:
    reasons = dict.fromkeys(one.test.reason for one in fair if one.test is not None)
    return "; ".join(reasons) or "no configuration can be ranked with it"


def _power(fair: Sequence[Judgement], grouped: GroupedOutcomes) -> str:
    """Say the smallest difference that this design could have shown."""
    known = [one.detectable for one in fair if one.verdict == differences.OPEN]
    known = [size for size in known if size > 0]
    if not known:
        return ""
    metric = grouped.metric
    ends = list(dict.fromkeys(amount(size, metric) for size in (min(known), max(known))))
    points = " points" if is_share(metric) else ""
    return f"; a difference would have been shown (80 % power) from {' to '.join(ends)}{points} on"
