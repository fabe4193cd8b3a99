import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.experiment.setup.device import CPU
from imbalance_study.experiment.setup.inputs import LocalFiles, load_inputs
from imbalance_study.models import checkpoint

SMALL = {"dataset": "digits", "model": "resnet20", "device": "cpu"}


@pytest.fixture
def stored(tmp_path):
    """The checkpoint of a run of 12 px, as far as it is read."""
    content = {
        "model": {"x": torch.zeros(1)},
        "config": {"model": "resnet20", "stem": "auto"},
        "facts": {
            "image_size": 12,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "class_names": ["a"],
        },
    }
    checkpoint.save(tmp_path / "best.pt", content)
    return tmp_path / "best.pt"


def test_everything_that_a_configuration_names_is_loaded():
    inputs = load_inputs(make(**SMALL, image_size=8, loss="focal", seed=4))
    assert inputs.choices.loss.name == "focal"
    assert inputs.device_setup.device.type == "cpu"
    assert inputs.data.image_size == 8
    assert inputs.weights is None
    assert inputs.seeds("order") == load_inputs(make(**SMALL, seed=4)).seeds("order")


def test_the_device_can_be_another_than_the_configuration_says():
    inputs = load_inputs(make(**SMALL, precision="bf16"), device_setup=CPU)
    assert inputs.device_setup is CPU


def test_downloaded_weights_decide_size_and_normalisation(stored):
    config = make(**SMALL, weights="runs:/abc")
    local = LocalFiles(weights={"runs:/abc": stored})
    inputs = load_inputs(config, local)
    assert inputs.weights.path == stored
    assert inputs.weights.origin == "runs:/abc"
    assert inputs.data.image_size == 12
    assert inputs.data.mean.tolist() == [0.5, 0.5, 0.5]


def test_weights_of_a_run_that_were_not_downloaded_are_refused():
    with pytest.raises(ValueError, match="weights=runs:/abc names a run, whose checkpoint must"):
        load_inputs(make(**SMALL, weights="runs:/abc"), LocalFiles({"runs:/other": "x.pt"}))


def test_runs_share_the_images_of_a_cache():
    local = LocalFiles(data_cache=DataCache())
    one, other = (load_inputs(make(**SMALL, seed=seed), local) for seed in (0, 1))
    assert one.data is other.data
