"""The damages that benchmarks/journal_damage.py tries, on a short log."""

import journal_damage
import pytest

from imbalance_study.tracking.event_log import Entry

LINES = [Entry(number, "metrics", {"a": number}).line() for number in range(4)]


def test_every_damage_of_a_short_log_is_noticed_and_costs_one_line_at_most(tmp_path):
    tried = list(journal_damage.cases(LINES, 2))
    assert len(tried) == 2 * (len(LINES[0]) + len(LINES[2])) + 3 * len(LINES)
    assert [journal_damage.check(case, LINES, tmp_path) for case in tried] == [""] * len(tried)


@pytest.mark.parametrize(
    ("left", "fault"),
    [
        ([LINES[0], LINES[3]], "record 2 is lost"),
        ([*LINES[:3], Entry(3, "metrics", {"a": 9}).line()], "record 3 was never written"),
    ],
)
def test_a_lost_and_an_invented_record_are_found(tmp_path, left, fault):
    case = journal_damage.Case("two lines", left, 1)
    assert journal_damage.check(case, LINES, tmp_path) == fault


@pytest.mark.slow
def test_the_journal_of_a_run_is_kept_whole(tmp_path):
    lines = journal_damage.journal_of_a_run(tmp_path)
    assert len(lines) > 20
    assert all(line.startswith(b'{"crc": "') for line in lines)
