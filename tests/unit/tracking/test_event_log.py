import json
import zlib

import pytest

from imbalance_study.tracking.event_log import DamagedLog, Entry, EventLog, salvage


def _entry(number):
    return Entry(number, "tags", {"values": {"a": "ü"}})


def test_an_entry_is_one_line_of_ascii_and_is_read_back(tmp_path):
    line = _entry(3).line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    crc = f"{zlib.crc32(json.dumps({'n': 3, 'op': 'tags', 'values': {'a': 'ü'}}).encode()):08x}"
    assert json.loads(line) == {"crc": crc, "n": 3, "op": "tags", "values": {"a": "ü"}}
    log = EventLog(tmp_path / "events.jsonl")
    log.append(line, strict=False)
    assert log.read() == [_entry(3)]


@pytest.mark.parametrize("rest", [b'{"n": 1', _entry(1).line()[:-3], b"\x00\x00"])
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


def test_lines_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "events.jsonl"
    old = b'{"n": %d, "op": "tags", "values": {"a": "\\u00fc"}}\n'
    path.write_bytes(old % 0 + old % 2)  # a number was left out where a line did not fit
    log = EventLog(path)
    assert log.entries == [_entry(0), _entry(2)]
    log.append(_entry(3).line(), strict=True)
    assert EventLog(path).entries == [_entry(0), _entry(2), _entry(3)]


LINES = [_entry(number).line() for number in range(4)]


def _damaged(how, at):
    lines = list(LINES)
    if how == "removed":
        del lines[at]
    else:
        lines[at] = {"emptied": b"\n", "doubled": 2 * lines[at], "zeros": bytes(len(lines[at]))}[
            how
        ]
    return b"".join(lines)


@pytest.mark.parametrize("how", ["removed", "emptied", "zeros"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_lost_line_is_an_error_that_leaves_the_file_and_salvage_keeps_the_rest(tmp_path, how, at):
    path = tmp_path / "events.jsonl"
    path.write_bytes(_damaged(how, at))
    with pytest.raises(DamagedLog, match=rf"events.jsonl is damaged: (line {at + 1}|record)"):
        EventLog(path)
    assert path.read_bytes() == _damaged(how, at)
    damage = salvage(path, lambda number, damage: Entry(number, "lost", {"damage": damage}))
    expected = [_entry(number) for number in range(4)]
    expected[at] = Entry(at, "lost", {"damage": damage})
    assert damage
    assert EventLog(path).entries == expected
    (kept,) = tmp_path.glob("events.damaged-*.jsonl")
    assert kept.read_bytes() == _damaged(how, at)


def test_a_line_that_stands_twice_counts_once(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(_damaged("doubled", 1))
    assert EventLog(path).entries == [_entry(number) for number in range(4)]


def test_records_out_of_order_are_an_error(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES[0] + LINES[2] + LINES[1])
    with pytest.raises(DamagedLog, match="record 1 before line 2 cannot be found"):
        EventLog(path)
    salvage(path, lambda number, _: Entry(number, "lost", {}))
    assert EventLog(path).entries == [_entry(number) for number in range(3)]


def test_no_damage_of_one_byte_loses_a_sound_line_or_invents_one(tmp_path):
    """Each byte of a file becomes another one in turn."""
    path, sound = tmp_path / "events.jsonl", b"".join(LINES[:3])
    entries = [_entry(number) for number in range(3)]
    for at in range(len(sound)):
        other = bytes([sound[at] ^ (1, 0x80, 0x20)[at % 3]])
        path.write_bytes(sound[:at] + other + sound[at + 1 :])
        salvage(path, lambda number, damage: Entry(number, "lost", {"damage": damage}))
        found = EventLog(path).entries
        hit = sound[:at].count(b"\n")  # the line with that byte
        assert [*found[:hit], *found[hit + 1 :]] == [*entries[:hit], *entries[hit + 1 :]]
        assert all(entry == entries[hit] or entry.op == "lost" for entry in found[hit:][:1])
