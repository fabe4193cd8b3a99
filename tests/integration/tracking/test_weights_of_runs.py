"""Runs that start from the model of another run: ``weights=runs:/ID``."""

import json
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from imbalance_study import cli
from imbalance_study.config.resolve import resolve
from imbalance_study.experiment import dry_run
from imbalance_study.models import pretrained
from imbalance_study.tracking import fetch, run

TINY = {
    "dataset": "digits",
    "model": "resnet20",
    "epochs": "1",
    "steps_per_epoch": "4",
    "system_metrics": "false",
    "analyses": "none",
}


@pytest.fixture(autouse=True)
def _own_store(monkeypatch):
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run at 16 px: its store and its id."""
    folder = tmp_path_factory.mktemp("store")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run.train(resolve(TINY | {"tracking_uri": store, "image_size": "16"}), show_progress=False)
    return folder, store, _newest(store).info.run_id


def _newest(store):
    client = MlflowClient(store)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(ids, order_by=["attributes.start_time DESC"])[0]


def test_a_run_goes_on_from_another_and_says_what_it_took(source, monkeypatch, tmp_path):
    folder, store, run_id = source
    monkeypatch.chdir(folder)
    given = TINY | {"tracking_uri": store, "weights": f"runs:/{run_id}", "freeze": "head_only"}
    run.train(resolve(given), show_progress=False)
    record = _newest(store)
    assert record.info.status == "FINISHED"
    assert record.data.params["weights"] == f"runs:/{run_id}"
    assert record.data.params["freeze"] == "head_only"
    assert record.data.tags["weights"] == f"97 tensors from runs:/{run_id}; head loaded"
    client = MlflowClient(store)
    path = client.download_artifacts(record.info.run_id, "config.json", str(tmp_path))
    found = json.loads(Path(path).read_text())
    assert found["resolved"]["image_size"] == 16
    assert found["resolved"]["weights"]["from"] == f"runs:/{run_id}"
    assert found["resolved"]["frozen_parameters"] > 0
    assert not pretrained.FETCHED


def test_the_dry_run_says_what_would_be_loaded(source, monkeypatch):
    folder, store, run_id = source
    monkeypatch.chdir(folder)
    text = dry_run.describe(resolve(TINY | {"tracking_uri": store, "weights": f"runs:/{run_id}"}))
    assert f"weights         97 tensors from runs:/{run_id}; head loaded" in text


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_a_run_that_did_not_finish_is_refused_before_a_new_one_starts(
    source, monkeypatch, capsys, status
):
    folder, store, _ = source
    monkeypatch.chdir(folder)
    client = MlflowClient(store)
    made = client.create_run("0")
    if status != "RUNNING":
        client.set_terminated(made.info.run_id, status)
    before = _count(store)
    args = [f"--{name}={value}" for name, value in TINY.items()]
    with pytest.raises(SystemExit):
        cli.main(["train", *args, f"--tracking_uri={store}", f"--weights=runs:/{made.info.run_id}"])
    error = capsys.readouterr().err
    assert f"has not finished: its status is {status}" in error
    assert error.count("\n") == 1
    assert _count(store) == before


def test_a_finished_run_without_model_and_an_unknown_run_are_told_apart(source, monkeypatch):
    folder, store, _ = source
    monkeypatch.chdir(folder)
    client = MlflowClient(store)
    made = client.create_run("0")
    client.set_terminated(made.info.run_id, "FINISHED")
    with (
        pytest.raises(ValueError, match=r"has no checkpoint checkpoints/best.pt"),
        fetch.local_weights(f"runs:/{made.info.run_id}", store),
    ):
        pass
    with (
        pytest.raises(ValueError, match="unknown run 'abc'"),
        fetch.local_weights("runs:/abc", store),
    ):
        pass
    assert not pretrained.FETCHED


def test_another_model_is_named_by_its_run(source, monkeypatch):
    folder, store, run_id = source
    monkeypatch.chdir(folder)
    given = TINY | {"tracking_uri": store, "weights": f"runs:/{run_id}", "model": "resnet32"}
    with pytest.raises(ValueError, match=f"runs:/{run_id} holds resnet20, not model=resnet32"):
        dry_run.describe(resolve(given))


def test_a_range_test_by_command_writes_its_figure_and_no_run(
    source, monkeypatch, capsys, tmp_path
):
    folder, store, _ = source
    monkeypatch.chdir(folder)
    before = _count(store)
    cli.main(
        ["find_lr", "--dataset=digits", "--model=resnet20", "--image_size=8", "--batch_size=8",
         f"--figure={tmp_path / 'curve.png'}"]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert said.startswith("suggested lr: 0.0")
    assert (tmp_path / "curve.png").read_bytes()[1:4] == b"PNG"
    assert _count(store) == before


def _count(store):
    client = mlflow.MlflowClient(store)
    return len(client.search_runs([e.experiment_id for e in client.search_experiments()]))
