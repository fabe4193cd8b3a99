import json
import subprocess
import sys

import pytest

from imbalance_study.tracking import run_folder
from imbalance_study.tracking.journal import Journal


def test_entries_outlive_the_process_in_order(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from imbalance_study.tracking.journal import Journal\n"
        "book = Journal(Path(sys.argv[1]))\n"
        "for step in range(50): book.metrics({'train/loss': step}, step)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "one")], check=False)
    book = Journal(tmp_path / "one")
    assert [entry.content["step"] for entry in book.pending(1000)] == list(range(50))
    assert book.last_step("train/") == 49


def test_a_torn_last_line_is_left_out_and_written_over(tmp_path):
    book = Journal(tmp_path / "one")
    book.tags({"a": "1"})
    book.close()
    events = tmp_path / "one" / "journal" / "events.jsonl"
    whole = events.read_bytes()
    for end in (1, 5, len(whole) - 2):
        events.write_bytes(whole + whole[:end])
        again = Journal(tmp_path / "one")
        assert len(again.pending()) == 1
        again.tags({"b": "2"})
        again.close()
        lines = events.read_text().splitlines()
        assert [json.loads(line)["values"] for line in lines] == [{"a": "1"}, {"b": "2"}]
        events.write_bytes(whole)


def test_the_position_is_kept_and_uploaded_files_are_dropped(tmp_path):
    book = Journal(tmp_path / "one")
    book.files({"figures/a.png": b"a"})
    book.files({"figures/b.png": b"b"})
    book.advance(1)
    book.close()
    again = Journal(tmp_path / "one")
    (entry,) = again.pending()
    assert (again.files_of(entry) / "figures" / "b.png").read_bytes() == b"b"
    assert len(list((tmp_path / "one" / "journal" / "files").iterdir())) == 1


def test_one_at_a_time_has_it(tmp_path):
    book = Journal(tmp_path / "one")
    with pytest.raises(ValueError, match="still being recorded or uploaded by another process"):
        Journal(tmp_path / "one")
    book.close()
    Journal(tmp_path / "one").close()


def test_a_full_disk_loses_no_line_while_training(tmp_path, small_files_only):
    book = Journal(tmp_path / "one")
    book.metrics({"a": 1.0}, 1)
    with small_files_only((tmp_path / "one" / "journal" / "events.jsonl").stat().st_size + 20):
        book.metrics({"a": 2.0}, 2)
        book.files({"figures/a.png": bytes(10_000)})
        assert [entry.content["step"] for entry in book.pending()] == [1, 2]
    assert book.lost_files == 1
    book.metrics({"a": 3.0}, 3)
    book.close()
    steps = [entry.content["step"] for entry in Journal(tmp_path / "one").pending()]
    assert steps == [1, 2, 3]


def test_a_full_disk_at_the_end_is_an_error(tmp_path, small_files_only):
    book = Journal(tmp_path / "one")
    book.strict = True
    with small_files_only(100), pytest.raises(OSError):
        book.files({"checkpoints/best.pt": bytes(10_000)})
    with small_files_only(10), pytest.raises(OSError):
        book.tags({"a": "1" * 100})
    book.tags({"b": "2"})  # room again
    assert [entry.content["values"] for entry in book.pending()] == [{"b": "2"}]


@pytest.mark.parametrize(
    ("status", "checkpoint", "kept"),
    [("FINISHED", True, False), ("FAILED", True, True), ("FAILED", False, False)],
)
def test_it_goes_when_nothing_is_left_to_do_with_it(tmp_path, status, checkpoint, kept):
    book = Journal(tmp_path / "one")
    if checkpoint:
        (tmp_path / "one" / run_folder.CHECKPOINTS).mkdir()
        (tmp_path / "one" / run_folder.CHECKPOINTS / "last.pt").touch()
    book.end(status)
    book.advance(1)
    book.close()
    assert (tmp_path / "one" / run_folder.JOURNAL).exists() == kept


def test_what_is_not_uploaded_stays(tmp_path):
    book = Journal(tmp_path / "one")
    book.tags({"a": "1"})
    book.end("FINISHED")
    book.advance(1)
    book.close()
    assert [entry.op for entry in Journal(tmp_path / "one").pending()] == ["end"]


def test_the_place_of_a_run_is_known_without_its_state(tmp_path):
    book = Journal(tmp_path / "one")
    begun = {"experiment": "e", "name": "n", "time": 1, "tags": {}, "parent": ""}
    book.append("start", begun | {"run_id": "r", "experiment_id": "7", "store": "sqlite:///x"})
    book.tags({"a": "1"})
    book.advance(1)
    book.close()
    state = tmp_path / "one" / "journal" / "state.json"
    for damaged in (b"", b"null", b'{"position": "x"', bytes(10)):
        state.write_bytes(damaged)
        again = Journal(tmp_path / "one")
        assert (again.state["run_id"], again.state["store"]) == ("r", "sqlite:///x")
        assert [entry.op for entry in again.pending()] == ["start", "tags"]
        again.close()


def test_an_entry_that_a_strict_journal_refused_leaves_no_gap(tmp_path, small_files_only):
    book = Journal(tmp_path / "one")
    book.strict = True
    with small_files_only(10), pytest.raises(OSError):
        book.tags({"a": "1" * 100})
    book.tags({"b": "2"})
    book.close()
    assert [entry.number for entry in Journal(tmp_path / "one").pending()] == [0]


def test_a_damaged_journal_is_an_error_that_names_the_way_out(tmp_path):
    book = Journal(tmp_path / "one")
    for step in range(3):
        book.metrics({"a": 1.0}, step)
    book.close()
    events = tmp_path / "one" / "journal" / "events.jsonl"
    damaged = events.read_bytes().replace(b'"step": 1', b'"step": 7')
    events.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"line 2 is damaged; .* sync --salvage true one"):
        Journal(tmp_path / "one")
    assert events.read_bytes() == damaged
    salvaged = Journal(tmp_path / "one", salvage=True)
    assert salvaged.damage == "line 2 is damaged"
    assert [entry.op for entry in salvaged.pending()] == ["metrics", "lost", "metrics"]
    salvaged.close()
    Journal(tmp_path / "one").close()


def test_an_empty_journal_goes(tmp_path):
    Journal(tmp_path / "one").close()
    assert not (tmp_path / "one").exists()
