"""Runs with a model of timm, from Config to result, and what is made of them."""

import pytest
import torch

from imbalance_study.config.resolve import make, resolve
from imbalance_study.experiment import dry_run
from imbalance_study.experiment import run as experiment
from imbalance_study.inference import load as trained

pytestmark = pytest.mark.slow

SMALL = {
    "dataset": "digits",
    "model": "timm/test_vit",
    "epochs": 1,
    "steps_per_epoch": 3,
    "analyses": "gradcam",
}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights of timm for 1,000 classes, in torch's folder."""
    import timm
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        network = timm.create_model("test_vit")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    file = folder / "test_vit.r160_in1k.safetensors"
    save_file(network.state_dict(), file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return str(file)


def test_a_frozen_run_follows_timms_scale_and_is_loaded_again(weights, tmp_path):
    config = make(**SMALL, weights="imagenet", freeze="head_only", image_size=64)
    result = experiment.run(config, output_dir=tmp_path, show_progress=False)
    assert result.facts.mean == result.facts.std == [0.5, 0.5, 0.5]
    assert result.facts.weights["scale"] == "known"
    assert result.facts.weights["new"] == ["classifier.weight", "classifier.bias"]
    assert "gradcam_correct" in result.figures
    loaded = trained.from_checkpoint(tmp_path / "best.pt")
    images = torch.zeros(3, 64, 64, 3, dtype=torch.uint8)
    with torch.no_grad():
        assert loaded.raw()(images).shape == (3, 10)


def test_a_plain_file_is_said_to_be_of_an_assumed_scale_and_values_end_the_doubt(weights):
    options = SMALL | {"weights": weights}
    text = dry_run.describe(resolve(options))
    assert "160 px" in text
    assert "mean 0.5 and deviation 0.5 are assumed" in text
    given = options | {"normalisation": "values:mean=0.4,std=0.3", "image_size": 32}
    text = dry_run.describe(resolve(given))
    assert "32 px" in text
    assert "assumed" not in text


@pytest.mark.parametrize(
    "name",
    ["test_resnet", "test_convnext", "test_vit", "swin_tiny_patch4_window7_224"],
)
def test_the_served_form_takes_any_number_of_images(name):
    from torch.export import Dim, export

    from imbalance_study.models import serving, zoo

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = zoo.create(f"timm/{name}", 3, image_size=64)
    raw = serving.RawImageClassifier(
        model, lambda logits: logits.softmax(1), (0.5,) * 3, (0.5,) * 3
    )
    raw = raw.eval()
    images = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    program = export(raw, (images[:2],), dynamic_shapes=({0: Dim("N")},)).module()
    with torch.no_grad():
        for count in (1, 5):
            torch.testing.assert_close(program(images[:count]), raw(images[:count]))
