"""Key findings in words, computed from the numbers: only what the tests bear out."""

from __future__ import annotations

from imbalance_study.studies import comparison_tables as tables
from imbalance_study.studies import differences, statistics
from imbalance_study.studies.differences import Judged
from imbalance_study.studies.grouping import Grouped


def findings(grouped: Grouped) -> list[str]:
    """Sentences about a comparison, the most important first.

    A configuration is called better or worse only where the paired t-test over seeds, with Holm's
    correction over the configurations, has p below 5 %; and a winner only where nothing but the
    configuration sets it apart from the baseline.
    """
    judged = differences.judge(grouped, grouped.metric)
    return [
        *_claims(grouped, judged),
    ]


def _claims(grouped: Grouped, judged: list[Judged]) -> list[str]:
    name = tables.short(grouped.metric)
    said = []
    for one in differences.ranked(judged[1:], grouped.metric):
        if one.verdict in (differences.BETTER, differences.WORSE) and one.group.comparable:
            assert one.test is not None
            said.append(
                f"{one.group.name} is {one.verdict} than {grouped.baseline.name} in {name} by "
                f"{abs(one.test.difference):.4f} (Holm-corrected p {one.p_holm:.2g})."
            )
    if not said:
        said.append(
            f"No difference to {grouped.baseline.name} is shown in {name}."
            if any(one.verdict == differences.OPEN for one in judged)
            else f"Nothing is claimed: a test needs {statistics.MIN_SEEDS} seeds."
        )
    return said
