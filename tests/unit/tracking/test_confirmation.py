import shutil
from urllib.parse import unquote, urlsplit

import pytest
from mlflow import MlflowClient

from imbalance_study.tracking import confirmation, delivery
from imbalance_study.tracking.journal import Journal


@pytest.fixture
def uploaded(empty_store, tmp_path):
    """A client, and the journal of a run that the store has completely."""
    journal = Journal(tmp_path / "one")
    journal.keeps_files = True
    start = {"experiment": "mine", "name": "one", "time": 1, "tags": {}, "parent": ""}
    journal.append("start", start)
    journal.params({"loss": "focal"})
    journal.metrics({"a": 1.0, "b" * 300: 2.0}, 1)
    journal.files({"figures/a.png": b"a", "b.json": b"{}"})
    journal.tags({"note": "done"})
    journal.end("FINISHED")
    client = MlflowClient(empty_store)
    delivery.start(client, journal)
    while entries := journal.pending():
        journal.advance(delivery.deliver(client, journal, entries))
    return client, journal


def _artifacts(client, journal):
    return unquote(urlsplit(client.get_run(journal.state["run_id"]).info.artifact_uri).path)


def test_nothing_is_missing_of_a_run_that_the_store_has(uploaded):
    assert confirmation.missing_entries(*uploaded) == []


def test_files_that_are_not_there_are_found_and_can_be_sent_again(uploaded):
    client, journal = uploaded
    shutil.rmtree(f"{_artifacts(client, journal)}/figures")
    (entry,) = confirmation.missing_entries(client, journal)
    assert entry.op == "files"
    delivery.deliver(client, journal, [entry])
    assert confirmation.missing_entries(client, journal) == []


def test_records_and_a_status_that_are_not_there_are_found(uploaded):
    client, journal = uploaded
    journal.metrics({"c": 1.0}, 2)
    journal.tags({"later": "x"})
    client.update_run(journal.state["run_id"], status="RUNNING")
    found = confirmation.missing_entries(client, journal)
    assert [entry.op for entry in found] == ["end", "metrics", "tags"]
