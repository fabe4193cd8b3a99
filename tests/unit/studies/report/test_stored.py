import pytest
from mlflow import MlflowClient

from imbalance_study.studies.report.stored import StoredRun


@pytest.fixture
def stored(own_place, empty_store):
    """A run with a text, a JSON file and a table."""
    client = MlflowClient(empty_store)
    run_id = client.create_run(client.create_experiment("x")).info.run_id
    client.log_text(run_id, "grüße", "notes/a.txt")
    client.log_dict(run_id, {"seed": 1}, "config.json")
    client.log_table(run_id, {"class": ["a", "b"], "recall": [0.5, 1.0]}, "per_class.json")
    return StoredRun(client, run_id)


def test_files_of_a_folder_are_listed(stored):
    assert stored.names() == {"config.json", "per_class.json"}
    assert stored.names("notes") == {"notes/a.txt"}


def test_files_are_read_as_bytes_json_and_tables(stored):
    assert stored.content("notes/a.txt").decode() == "grüße"
    assert stored.json("config.json") == {"seed": 1}
    assert stored.table("per_class") == {"class": ["a", "b"], "recall": [0.5, 1.0]}


def test_a_missing_file_is_empty(stored):
    assert stored.content("none.txt") == b""
    assert stored.json("none.json") == {}
    assert stored.table("none") == {}
