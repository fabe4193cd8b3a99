"""Test every configuration against the baseline, for tables, figures and findings."""

from __future__ import annotations

from typing import NamedTuple

from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison.grouping import Group, GroupedOutcomes

# Words of a metric's name after its split.
LOWER_IS_BETTER = {
    *("loss", "errors", "ece", "brier", "nll", "aurc", "bouldin", "rate", "count"),
    *("seconds", "latency", "macs", "parameters", "size", "memory", "kwh"),
}
NO_DIRECTION = {"epoch", "tau", "temperature", "std", "error", "gap", "confidence"}


class Judgement(NamedTuple):
    """One configuration compared with the baseline on one metric."""

    group: Group
    summary: significance.Summary
    test: significance.PairedTest | None  # None for the baseline
    p_holm: float  # NaN without a test
    verdict: str  # BASELINE, BETTER, WORSE, OPEN or UNTESTED
    detectable: float  # smallest true difference shown with 80 % power; NaN without a test


BASELINE, BETTER, WORSE, OPEN, UNTESTED = (
    "baseline",
    "better",
    "worse",
    "no difference shown",
    "no test",
)


def direction(metric: str) -> int:
    """Return 1 where larger is better, -1 where smaller is better, 0 where neither is."""
    section, _, name = metric.rpartition("/")
    words = set(name.split("_"))
    if words & NO_DIRECTION or section in ("train", "test_deletion"):
        return 0
    return -1 if words & LOWER_IS_BETTER else 1


def judge(grouped: GroupedOutcomes, metric: str) -> list[Judgement]:
    """Compare all configurations with the baseline on a metric; the baseline comes first.

    The p values have Holm's correction over the configurations that were tested on this metric.
    Each metric is a family of its own.
    """
    base = grouped.baseline.values(metric)
    tests = [significance.paired_t_test(one.values(metric), base) for one in grouped.others]
    adjusted = significance.holm([test.p for test in tests])
    tested = sum(test.p == test.p for test in tests)
    first = Judgement(
        grouped.baseline,
        grouped.baseline.summary(metric),
        None,
        significance.NAN,
        BASELINE,
        significance.NAN,
    )
    sign = direction(metric)
    return [first] + [
        Judgement(
            one,
            one.summary(metric),
            test,
            p,
            _verdict(test, p, sign),
            significance.detectable(test.pairs, tested) * test.sd,
        )
        for one, test, p in zip(grouped.others, tests, adjusted, strict=True)
    ]


def _verdict(test: significance.PairedTest, p_holm: float, sign: int) -> str:
    if test.reason:
        return UNTESTED
    if not p_holm < significance.ALPHA:
        return OPEN
    return BETTER if sign * test.difference > 0 else WORSE


def best(judgements: list[Judgement], metric: str) -> Judgement | None:
    """Find the best mean among the comparable configurations; None without any value."""
    sign = direction(metric) or 1
    fair = [one for one in judgements if one.group.comparable and one.summary.seeds]
    return max(fair, key=lambda one: sign * one.summary.mean, default=None)


def ranked(judgements: list[Judgement], metric: str) -> list[Judgement]:
    """Sort from the best mean to the worst; configurations without a value come last."""
    sign = direction(metric) or 1
    known = [one for one in judgements if one.summary.seeds]
    rest = [one for one in judgements if not one.summary.seeds]
    return sorted(known, key=lambda one: -sign * one.summary.mean) + rest
