import json

import pytest

from imbalance_study.tracking.event_log import Entry, EventLog


def _entry(number):
    return Entry(number, "tags", {"values": {"a": "ü"}})


def test_an_entry_is_one_line_of_ascii_and_is_read_back(tmp_path):
    line = _entry(3).line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert json.loads(line) == {"n": 3, "op": "tags", "values": {"a": "ü"}}
    log = EventLog(tmp_path / "events.jsonl")
    log.append(line, strict=False)
    assert log.read() == [_entry(3)]
    log.close()
    assert EventLog(tmp_path / "events.jsonl").entries == [_entry(3)]


@pytest.mark.parametrize("rest", [b'{"n": 1', b'{"n": 1, "op": "tags", "values": {}}', b"\x00\x00"])
def test_an_incomplete_last_line_is_removed_at_the_opening(tmp_path, rest):
    path = tmp_path / "events.jsonl"
    path.write_bytes(_entry(0).line() + rest)
    log = EventLog(path)
    assert log.entries == [_entry(0)]
    log.append(_entry(1).line(), strict=False)
    assert log.read() == [_entry(0), _entry(1)]


def test_lines_that_a_full_disk_refuses_are_written_later_in_order(tmp_path, small_files_only):
    log = EventLog(tmp_path / "events.jsonl")
    with small_files_only(10):
        log.append(_entry(0).line(), strict=False)
        log.append(_entry(1).line(), strict=False)
        assert log.read() == []
    log.append(_entry(2).line(), strict=False)
    assert [entry.number for entry in log.read()] == [0, 1, 2]


def test_a_strict_line_that_does_not_fit_is_an_error_and_dropped(tmp_path, small_files_only):
    log = EventLog(tmp_path / "events.jsonl")
    with small_files_only(10), pytest.raises(OSError, match="too large"):
        log.append(_entry(0).line(), strict=True)
    log.append(_entry(1).line(), strict=True)
    assert [entry.number for entry in log.read()] == [1]
