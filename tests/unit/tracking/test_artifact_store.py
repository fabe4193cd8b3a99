from pathlib import Path

import pytest
from mlflow import MlflowClient

from imbalance_study.tracking import artifact_store, store


@pytest.fixture
def client(own_place, empty_store):
    store.connect(empty_store)
    return MlflowClient(empty_store)


def _experiment(client, name, location):
    return client.get_experiment(client.create_experiment(name, str(location)))


def test_a_store_that_takes_files_is_left_as_it_was(client, tmp_path):
    folder = tmp_path / "artifacts"
    artifact_store.check(client, _experiment(client, "good", folder))
    assert list(folder.iterdir()) == []


def test_a_store_that_takes_no_files_is_refused_with_the_reason(client):
    experiment = _experiment(client, "bad", "/proc/nowhere")
    with pytest.raises(ValueError, match=r"/proc/nowhere of experiment 'bad'.*offline"):
        artifact_store.check(client, experiment)


def test_a_store_is_tried_once(client, tmp_path):
    folder = tmp_path / "artifacts"
    experiment = _experiment(client, "good", folder)
    artifact_store.check(client, experiment)
    folder.rmdir()
    artifact_store.check(client, experiment)
    assert not folder.exists()


def test_a_folder_that_was_moved_is_said_where_the_experiment_has_runs(client, tmp_path, capsys):
    gone = tmp_path / "old" / "mlruns"
    experiment = _experiment(client, "moved", gone)
    client.create_run(experiment.experiment_id)
    assert artifact_store.missing_folder(str(experiment.artifact_location)) == gone
    artifact_store.check(client, experiment)
    assert f"the folder {gone} of experiment 'moved' does not exist" in capsys.readouterr().err
    assert artifact_store.missing_folder("s3://bucket/x") is None
    assert artifact_store.missing_folder(str(Path.cwd())) is None
