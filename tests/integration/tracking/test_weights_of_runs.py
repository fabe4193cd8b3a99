"""Runs that start from the model of another run: ``weights=runs:/ID``."""

import json
import tempfile
from pathlib import Path

import pytest
from tiny import TINY, runs_of, words

from imbalance_study import cli
from imbalance_study.config.resolve import resolve
from imbalance_study.tracking import fetch, run

# The size of the images is that of the run that the weights come from.
GIVEN = {name: value for name, value in TINY.items() if name != "image_size"} | {"loss": "ldam"}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_run_goes_on_from_another_and_says_what_it_took(tiny_run, tmp_path):
    given = {"weights": tiny_run.address, "freeze": "head_only"}
    options = resolve(GIVEN | {"tracking_uri": tiny_run.store} | given)
    run.train(options, show_progress=False, brief=True)
    record = runs_of(tiny_run.store)[0]
    assert record.info.status == "FINISHED"
    assert record.data.params["weights"] == tiny_run.address
    assert record.data.params["freeze"] == "head_only"
    assert record.data.params["space"] == "features"
    assert record.data.params["augment"] == "none"
    assert record.data.tags["features"].startswith("computed and kept in ")
    assert record.data.tags["weights"] == f"96 tensors from {tiny_run.address}; head loaded"
    client = tiny_run.client
    path = client.download_artifacts(record.info.run_id, "config.json", str(tmp_path))
    found = json.loads(Path(path).read_text())
    assert found["resolved"]["image_size"] == 16
    assert found["resolved"]["weights"]["from"] == tiny_run.address
    assert found["resolved"]["frozen_parameters"] > 0
    assert not list(tmp_path.glob("imbalance_study_weights_*"))


def test_the_dry_run_says_what_would_be_loaded(tiny_run, capsys):
    given = {"tracking_uri": tiny_run.store, "weights": tiny_run.address, "dry_run": "true"}
    cli.main(["train", *words(GIVEN | given)])
    said = capsys.readouterr().out
    assert f"weights         96 tensors from {tiny_run.address}; head loaded" in said


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_a_run_that_did_not_finish_is_refused_before_a_new_one_starts(tiny_run, capsys, status):
    client = tiny_run.client
    made = client.create_run("0")
    if status != "RUNNING":
        client.set_terminated(made.info.run_id, status)
    before = len(runs_of(tiny_run.store))
    given = {"tracking_uri": tiny_run.store, "weights": f"runs:/{made.info.run_id}"}
    with pytest.raises(SystemExit):
        cli.main(["train", *words(TINY | given)])
    error = capsys.readouterr().err
    assert f"has not finished: its status is {status}" in error
    assert error.count("\n") == 1
    assert len(runs_of(tiny_run.store)) == before


def test_a_finished_run_without_model_and_an_unknown_run_are_told_apart(tiny_run, tmp_path):
    client = tiny_run.client
    made = client.create_run("0")
    client.set_terminated(made.info.run_id, "FINISHED")
    with (
        pytest.raises(ValueError, match=r"has no checkpoint checkpoints/best.pt"),
        fetch.local_weights([f"runs:/{made.info.run_id}"], tiny_run.store),
    ):
        pass
    with (
        pytest.raises(ValueError, match="unknown run 'abc'"),
        fetch.local_weights(["runs:/abc"], tiny_run.store),
    ):
        pass
    assert not list(tmp_path.glob("imbalance_study_weights_*"))


def test_weights_that_are_here_are_not_downloaded_again_and_all_are_removed_in_the_end(tiny_run):
    address = tiny_run.address
    with fetch.local_weights(["none", address, "imagenet"], tiny_run.store) as local:
        (path,) = local.weights.values()
        with fetch.local_weights([address], "sqlite:///no/such/store", local) as again:
            assert again.weights == {address: path}
        assert path.is_file()
    assert not path.exists()


def test_another_model_is_named_by_its_run(tiny_run, capsys):
    given = {"tracking_uri": tiny_run.store, "weights": tiny_run.address, "model": "resnet32"}
    with pytest.raises(SystemExit):
        cli.main(["train", *words(GIVEN | given | {"dry_run": "true"})])
    error = capsys.readouterr().err
    assert f"{tiny_run.address} holds resnet20, not model=resnet32" in error
