import time

import pytest
from mlflow import MlflowClient

from imbalance_study.tracking import delivery
from imbalance_study.tracking.journal import Journal
from imbalance_study.tracking.uploader import Uploader


def _journal(folder):
    journal = Journal(folder)
    start = {"experiment": "mine", "name": "one", "time": 1, "tags": {}, "parent": ""}
    journal.append("start", start)
    return journal


def _run(store):
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("mine").experiment_id
    (run,) = client.search_runs([experiment])
    return run


def test_all_entries_are_uploaded_and_the_journal_is_removed(empty_store, tmp_path):
    journal = _journal(tmp_path / "runs" / "one")
    uploader = Uploader(journal, empty_store)
    uploader.start()
    for step in range(3):
        journal.metrics({"a": float(step)}, step)
    journal.end("FINISHED")
    assert uploader.finish(20)
    run = _run(empty_store)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"a": 2.0}
    assert not (tmp_path / "runs" / "one").exists()


def test_an_entry_that_the_store_refuses_costs_no_other(empty_store, tmp_path):
    journal = _journal(tmp_path / "one")
    journal.metrics({"good": 1.0}, 0)
    journal.metrics({"bad\nname": 1.0}, 0)
    journal.metrics({"better": 1.0}, 0)
    journal.end("FINISHED")
    uploader = Uploader(journal, empty_store)
    uploader.start()
    assert uploader.finish(20)
    assert len(uploader.refused) == 1
    assert uploader.refused[0].startswith("metrics: ")
    assert set(_run(empty_store).data.metrics) == {"good", "better"}


def test_a_store_that_does_not_answer_is_given_up_and_the_entries_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    journal = _journal(tmp_path / "one")
    journal.end("FINISHED")
    uploader = Uploader(journal, "http://127.0.0.1:9")
    uploader.start()
    assert not uploader.finish(0.3)
    uploader.join(30)
    assert uploader.problem is not None
    assert [entry.op for entry in Journal(tmp_path / "one").pending()] == ["start", "end"]


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_the_status_of_the_run_is_that_of_its_journal(empty_store, tmp_path, status):
    journal = _journal(tmp_path / "one")
    journal.end(status)
    uploader = Uploader(journal, empty_store)
    uploader.start()
    assert uploader.finish(20)
    assert _run(empty_store).info.status == status


@pytest.fixture
def unwritable(empty_store, tmp_path):
    """The experiment of these runs, with a location that takes no files; a function mends it."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is meant to be")
    MlflowClient(empty_store).create_experiment("mine", str(blocked / "artifacts"))
    return blocked.unlink


def test_metrics_description_and_status_do_not_wait_for_files(unwritable, empty_store, tmp_path):
    journal = _journal(tmp_path / "one")
    journal.dict({}, "config.json")
    journal.metrics({"a": 1.0}, 1)
    journal.table({"x": [1]}, "pairs.json")
    journal.note("done")
    journal.end("FINISHED")
    uploader = Uploader(journal, empty_store)
    uploader.start()
    assert not uploader.finish(0.5)
    uploader.join(30)
    run = _run(empty_store)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"a": 1.0}
    assert run.data.tags["mlflow.note.content"] == "done"
    assert run.data.tags[delivery.INCOMPLETE_TAG] == "one"
    assert "Not a directory" in str(uploader.problem)
    waiting = Journal(tmp_path / "one")
    assert [entry.op for entry in waiting.pending()] == ["files", "table"]
    unwritable()
    again = Uploader(waiting, empty_store)
    again.start()
    assert again.finish(20)
    run = _run(empty_store)
    names = {file.path for file in MlflowClient(empty_store).list_artifacts(run.info.run_id)}
    assert names == {"config.json", "pairs.json"}
    assert delivery.INCOMPLETE_TAG not in run.data.tags
    assert not (tmp_path / "one").exists()


def test_files_that_were_not_taken_are_tried_again_while_the_training_goes_on(
    unwritable, empty_store, tmp_path, monkeypatch
):
    monkeypatch.setattr("imbalance_study.tracking.uploader._RETRY", 0.2)
    journal = _journal(tmp_path / "one")
    journal.dict({}, "config.json")
    journal.metrics({"a": 1.0}, 1)
    uploader = Uploader(journal, empty_store)
    uploader.start()
    until = time.monotonic() + 30
    while not journal.postponed():
        assert time.monotonic() < until
        time.sleep(0.05)
    unwritable()
    while journal.postponed() or journal.pending(1):
        assert time.monotonic() < until
        time.sleep(0.05)
    journal.end("FINISHED")
    assert uploader.finish(20)
    assert delivery.INCOMPLETE_TAG not in _run(empty_store).data.tags
