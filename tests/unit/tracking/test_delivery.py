import json

import pytest
from mlflow import MlflowClient

from imbalance_study.tracking import delivery
from imbalance_study.tracking.journal import Journal


@pytest.fixture
def client(empty_store):
    return MlflowClient(empty_store)


def _journal(folder, parent="", **fields):
    journal = Journal(folder)
    start = {"experiment": "mine", "name": "one", "time": 1, "tags": {"a": "b"}, "parent": parent}
    journal.append("start", start | fields)
    return journal


def _deliver_all(client, journal):
    entries = journal.pending(1000)
    while entries:
        entries = entries[delivery.deliver(client, journal, entries) :]


def test_the_run_of_a_journal_is_created_once_even_if_its_state_is_lost(client, tmp_path):
    journal = _journal(tmp_path / "one")
    delivery.start(client, journal)
    run_id = journal.state["run_id"]
    journal.state |= {"run_id": "", "experiment_id": ""}
    delivery.start(client, journal)
    assert journal.state["run_id"] == run_id
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.start_time) == ("one", 1)
    assert run.data.tags[delivery.JOURNAL_TAG] == "one"
    assert client.get_experiment(run.info.experiment_id).name == "mine"


def test_a_second_delivery_changes_nothing(client, tmp_path):
    journal = _journal(tmp_path / "one")
    journal.params({"lr": "0.1"})
    journal.metrics({"a": 1.0}, 0)
    journal.metrics({"a": float("nan")}, 1)
    journal.table({"x": [1]}, "pairs.json")
    journal.files({"figures/a.png": b"a"})
    journal.end("FINISHED")
    delivery.start(client, journal)
    for _ in range(2):
        _deliver_all(client, journal)
    run = client.get_run(journal.state["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.1"}
    history = client.get_metric_history(run.info.run_id, "a")
    assert [(m.step, repr(m.value)) for m in history] == [(0, "1.0"), (1, "nan")]
    assert run.data.tags["mlflow.loggedArtifacts"].count("pairs.json") == 1


def test_metrics_tags_and_params_in_a_row_are_one_request_and_others_are_not(client, tmp_path):
    journal = _journal(tmp_path / "one")
    journal.params({"p": "1"})
    for step in range(5):
        journal.metrics({"a": 1.0}, step)
    journal.tags({"t": "1"})
    journal.params({"p": "2", "q": "3"})
    journal.dict({}, "config.json")
    delivery.start(client, journal)
    entries = journal.pending()[1:]
    assert delivery.deliver(client, journal, entries) == 8
    assert delivery.deliver(client, journal, entries[8:]) == 1
    data = client.get_run(journal.state["run_id"]).data
    assert data.params == {"p": "1", "q": "3"}
    assert data.tags["t"] == "1"


def test_tables_in_a_row_are_sent_together_and_known_to_the_ui(client, tmp_path):
    journal = _journal(tmp_path / "one")
    for name in ("a", "b", "c"):
        journal.table({"x": [1]}, f"{name}.json")
    journal.dict({}, "config.json")
    delivery.start(client, journal)
    entries = journal.pending()[1:]
    assert delivery.deliver(client, journal, entries[:1]) == 1
    assert delivery.deliver(client, journal, entries) == 3
    run_id = journal.state["run_id"]
    tables = json.loads(client.get_run(run_id).data.tags["mlflow.loggedArtifacts"])
    assert [table["path"] for table in tables] == ["a.json", "b.json", "c.json"]
    assert {file.path for file in client.list_artifacts(run_id)} == {"a.json", "b.json", "c.json"}


def test_more_metrics_than_fit_into_a_request_arrive_completely(client, tmp_path):
    journal = _journal(tmp_path / "one")
    journal.metrics({f"m{number}": 1.0 for number in range(1500)}, 0)
    delivery.start(client, journal)
    _deliver_all(client, journal)
    assert len(client.get_run(journal.state["run_id"]).data.metrics) == 1500


def test_texts_that_are_too_long_for_the_store_are_cut(client, tmp_path):
    journal = _journal(tmp_path / "one")
    journal.params({"p" * 300: "x" * 9000})
    journal.tags({"t": "y" * 9000})
    delivery.start(client, journal)
    _deliver_all(client, journal)
    data = client.get_run(journal.state["run_id"]).data
    ((name, text),) = data.params.items()
    assert (len(name), len(text), len(data.tags["t"])) == (250, 6000, 8000)


def test_an_offline_child_needs_its_parent_first(client, tmp_path):
    child = _journal(tmp_path / "offline-child", parent="offline-parent")
    with pytest.raises(ValueError, match="offline-parent, which must be uploaded first"):
        delivery.start(client, child)
    parent = _journal(tmp_path / "offline-parent")
    delivery.start(client, parent)
    delivery.start(client, child)
    run = client.get_run(child.state["run_id"])
    assert run.data.tags["mlflow.parentRunId"] == parent.state["run_id"]
    assert run.info.experiment_id == parent.state["experiment_id"]
