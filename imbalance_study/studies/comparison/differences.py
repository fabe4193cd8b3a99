"""Every configuration against the baseline: the statistics that tables, figures and words share."""

from __future__ import annotations

from typing import NamedTuple

from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison.grouping import Group, Grouped

# Words of a metric's name after its split.
LOWER_IS_BETTER = {
    *("loss", "errors", "ece", "brier", "nll", "aurc", "bouldin", "rate", "count"),
    *("seconds", "latency", "macs", "parameters", "size", "memory"),
}
NO_DIRECTION = {"epoch", "tau", "temperature", "std", "error", "gap", "confidence"}


class Judged(NamedTuple):
    """One configuration on one metric."""

    group: Group
    summary: significance.Summary
    test: significance.PairedTest | None  # None for the baseline
    p_holm: float  # NaN without a test
    verdict: str  # one of VERDICTS


BASELINE, BETTER, WORSE, OPEN, UNTESTED = (
    "baseline",
    "better",
    "worse",
    "no difference shown",
    "no test",
)


def direction(metric: str) -> int:
    """1 where larger is better, -1 where smaller is, 0 where neither is."""
    section, _, name = metric.rpartition("/")
    words = set(name.split("_"))
    if words & NO_DIRECTION or section in ("train", "test_deletion"):
        return 0
    return -1 if words & LOWER_IS_BETTER else 1


def judge(grouped: Grouped, metric: str) -> list[Judged]:
    """All configurations on a metric, the baseline first.

    The p values are corrected after Holm over the configurations that were tested on this metric:
    that is the family, a second metric is another one.
    """
    base = grouped.baseline.values(metric)
    tests = [significance.paired_t_test(one.values(metric), base) for one in grouped.others]
    adjusted = significance.holm([test.p for test in tests])
    first = Judged(
        grouped.baseline,
        significance.summarise(list(base.values())),
        None,
        significance.NAN,
        BASELINE,
    )
    sign = direction(metric)
    return [first] + [
        Judged(
            one,
            significance.summarise(list(one.values(metric).values())),
            test,
            p,
            _verdict(test, p, sign),
        )
        for one, test, p in zip(grouped.others, tests, adjusted, strict=True)
    ]


def _verdict(test: significance.PairedTest, p_holm: float, sign: int) -> str:
    if test.reason:
        return UNTESTED
    if not p_holm < significance.ALPHA:
        return OPEN
    return BETTER if sign * test.difference > 0 else WORSE


def best(judged: list[Judged], metric: str) -> Judged | None:
    """The best mean among the configurations that can be compared; None without any value."""
    sign = direction(metric) or 1
    fair = [one for one in judged if one.group.comparable and one.summary.seeds]
    return max(fair, key=lambda one: sign * one.summary.mean, default=None)


def ranked(judged: list[Judged], metric: str) -> list[Judged]:
    """From the best mean to the worst; those without a value last."""
    sign = direction(metric) or 1
    known = [one for one in judged if one.summary.seeds]
    rest = [one for one in judged if not one.summary.seeds]
    return sorted(known, key=lambda one: -sign * one.summary.mean) + rest
