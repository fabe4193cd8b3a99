"""Preparing a study: validation, storage, worker arguments, and its signature."""

import json
import re

import pytest
import torch

from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.models import checkpoint
from imbalance_study.studies.search import job
from imbalance_study.studies.search.settings import StudySettings

DIGITS = {"dataset": "digits", "model": "resnet20", "image_size": "8", "epochs": "1"}


@pytest.fixture
def prepare(tmp_path, make_store, monkeypatch):
    """A function that prepares a study on digits."""
    monkeypatch.chdir(tmp_path)
    store = {"tracking_uri": make_store(tmp_path)}

    def made(given=(), local=None, **settings):
        return job.prepare_job(
            StudySettings(search="loss", **settings), DIGITS | store | dict(given), local
        )

    return made


def stored(ready):
    """The signature of a study, as a storage gives it back."""
    return json.loads(json.dumps(ready.signature))


def test_the_defaults_are_balanced_validation_a_made_name_and_a_file_beside_the_store(
    prepare, tmp_path
):
    ready = prepare()
    assert ready.base.config.validation == "balanced:per_class=50"
    assert ready.plan.name == "loss-digits-resnet20"
    assert ready.storage == str(tmp_path / "studies.journal")


def test_a_given_validation_is_kept_and_none_is_refused(prepare):
    given = {"validation": "stratified:fraction=0.2"}
    assert prepare(given).base.config.validation == "stratified:fraction=0.2"
    with pytest.raises(ValueError, match="needs validation images, got validation=none"):
        prepare({"validation": "none"})


def test_a_cost_as_second_objective_needs_several_models(prepare):
    with pytest.raises(ValueError, match="needs several models"):
        prepare(objective="val/accuracy|macs")
    assert (
        len(prepare({"model": "resnet20|custom_cnn"}, objective="val/accuracy|macs").plan.goals)
        == 2
    )


def test_a_worker_gets_the_same_command_line_for_one_process(prepare):
    words = prepare(study="s", trials=7, parallel=3).worker_arguments
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given["--study"] == "s"
    assert given["--trials"] == "7"
    assert given["--parallel"] == "1"
    assert given["--dataset"] == "digits"


def test_a_study_is_the_same_wherever_it_is_recorded(prepare):
    job.check_same(stored(prepare()), prepare({"experiment": "another", "device": "cpu"}))


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        ({"epochs": "2"}, {}, "another options (epochs: there 1, here 2)"),
        ({}, {"objective": "val/macro_f1"}, "another objective"),
        ({"data_seed": "1"}, {}, "another data"),
        ({"loss": "focal"}, {}, "another search space"),
    ],
)
def test_another_study_of_the_same_name_is_refused(prepare, given, settings, message):
    existing = stored(prepare(study="s"))
    with pytest.raises(ValueError, match=re.escape(message)):
        job.check_same(existing, prepare(given, study="s", **settings))


def test_a_signature_of_an_older_version_is_understood(prepare):
    ready = prepare()
    old = {"knobs" if name == "options" else name: v for name, v in stored(ready).items()}
    job.check_same(old, ready)


def test_trials_start_from_weights_that_were_downloaded_once(prepare, tmp_path):
    facts = {"image_size": 12, "mean": [0.5] * 3, "std": [0.25] * 3, "class_names": ["a"]}
    content = {"model": {"x": torch.zeros(1)}, "config": {"model": "resnet20", "stem": "auto"}}
    checkpoint.save(tmp_path / "best.pt", content | {"facts": facts})
    local = LocalFiles({"runs:/abc": tmp_path / "best.pt"}, DataCache())
    ready = prepare({"weights": "runs:/abc"}, local)
    assert ready.local is local
    with pytest.raises(ValueError, match="whose checkpoint must be downloaded first"):
        prepare({"weights": "runs:/abc"})
