from pathlib import Path

import pytest
from mlflow.utils.name_utils import _generate_random_name

from imbalance_study.config.resolve import resolve
from imbalance_study.tracking import run_names


def test_the_name_of_a_run_holds_the_options_in_which_runs_differ():
    given = {"dataset": "digits", "model": "resnet20", "loss": "focal:gamma=1", "seed": "3"}
    assert run_names.run_name(resolve(given).config) == "focal:gamma=1 resnet20 digits seed 3"
    given |= {"sampler": "class_balanced"}
    name = run_names.run_name(resolve(given).config)
    assert name == "focal:gamma=1 class_balanced resnet20 digits seed 3"
    assert run_names.run_name(resolve(given | {"run_name": "mine"}).config) == "mine"


def test_files_of_ones_own_are_named_by_their_folder():
    given = {"dataset": "imagefolder", "data_dir": "/somewhere/x-rays"}
    assert run_names.data_name(resolve(given).config) == "imagefolder x-rays"
    here = resolve(given | {"data_dir": "."}).config
    assert run_names.data_name(here) == f"imagefolder {Path.cwd().name}"
    assert run_names.data_name(resolve({"dataset": "digits"}).config) == "digits"


def test_the_name_of_a_model_has_no_sign_that_mlflow_refuses():
    given = {"dataset": "digits", "model": "resnet20", "loss": "focal:gamma=0.5", "seed": "2"}
    name = run_names.model_name(resolve(given).config)
    assert name == "digits_focal-gamma=0-5_resnet20_s2"
    assert not set(name) & set("/:.%\"'")


def test_names_that_mlflow_makes_up_are_known():
    for _ in range(500):
        assert run_names.is_made_up(_generate_random_name())


@pytest.mark.parametrize(
    "name", ["", "mine", "big-run-12", "resnet-bee-1", "bold-bee", "bold-bee-x", "bold-bee-1 again"]
)
def test_names_that_people_give_are_kept(name):
    assert not run_names.is_made_up(name)
