from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY

from imbalance_study.config import choices, resolve
from imbalance_study.experiment import run as experiment
from imbalance_study.inference import load as trained
from imbalance_study.models import checkpoint
from imbalance_study.tracking import fetch

CASES = {name: {"loss": name} for name in choices.LOSSES} | {
    "ldam with another scale": {"loss": "ldam:s=10"},
    "crt": {"stage2": "crt:epochs=1"},
    "crt after cosines": {"loss": "ldam", "stage2": "crt:epochs=1"},
    "lws": {"stage2": "lws:epochs=1"},
    "las": {"stage2": "las:epochs=1"},
    "crt after sigmoids": {"loss": "sigmoid_focal", "stage2": "crt:epochs=1"},
}


# One of each kind of probabilities and of heads; .ci/run has them all.
QUICK = {"cross_entropy", "ldam with another scale", "sigmoid_focal", "crt after cosines", "las"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in CASES],
)
def test_the_model_from_a_checkpoint_takes_raw_images_and_gives_the_probabilities_of_the_run(
    case, tmp_path
):
    found = resolve.resolve(TINY | {"image_size": "8"} | CASES[case]).config
    result = experiment.run(found, output_dir=tmp_path, show_progress=False, draw=False)
    model = trained.from_checkpoint(tmp_path / "best.pt").raw()
    rows = result.data.split.test[:20]
    images = torch.from_numpy(np.asarray(result.data.image_set.images[rows]))
    with torch.inference_mode():
        probs = model(images)
    logits = torch.from_numpy(result.test.logits[:20])
    torch.testing.assert_close(probs, result.procedure.probabilities(logits), atol=1e-4, rtol=0)
    torch.testing.assert_close(probs.sum(1), torch.ones(20))
    if case == "sigmoid_focal":
        sigmoids = logits.sigmoid()
        wanted = sigmoids / sigmoids.sum(1, keepdim=True)
        torch.testing.assert_close(probs, wanted, atol=1e-4, rtol=0)
    if case == "ldam with another scale":
        torch.testing.assert_close(probs, (10 * logits).softmax(1), atol=1e-4, rtol=0)


def test_the_rebuilt_model_gives_the_probabilities_of_the_run(tiny_run, tmp_path):
    result = tiny_run.result
    ready = trained.from_checkpoint(
        fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    )
    rows = result.data.split.test[:8]
    images = torch.from_numpy(np.ascontiguousarray(result.data.image_set.images[rows]))
    with torch.inference_mode():
        logits = ready.model(ready.normalise(images.permute(0, 3, 1, 2)))
    wanted = result.procedure.probabilities(torch.from_numpy(result.test.logits[:8]))
    torch.testing.assert_close(ready.probabilities(logits), wanted, atol=1e-4, rtol=1e-4)
    assert list(ready.class_names) == list(result.data.image_set.class_names)


def test_weights_of_another_model_are_refused_by_the_first_parameter(tmp_path):
    from torchvision.models import resnet18

    torch.save(resnet18(num_classes=3).state_dict(), tmp_path / "plain.pt")
    with pytest.raises(ValueError, match="does not hold the weights of this model: backbone"):
        trained.from_weights("mobilenet_v2", str(tmp_path / "plain.pt"))


def test_imagenet_weights_without_network_say_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"cannot be downloaded from https.*copy that file to /"):
        trained.from_weights("resnet18", "imagenet")
    with pytest.raises(ValueError, match="no ImageNet weights of model='resnet32'"):
        trained.from_weights("resnet32", "imagenet")


def test_imagenet_weights_that_are_there_are_used_with_their_own_preprocessing(
    tmp_path, monkeypatch
):
    """The file that torchvision would have downloaded, under the name that it looks for."""
    from torchvision.models import ResNet18_Weights, resnet18

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = resnet18().eval()
    torch.save(network.state_dict(), folder / Path(ResNet18_Weights.DEFAULT.url).name)
    ready = trained.from_weights("resnet18", "imagenet")
    assert len(ready.class_names) == 1000
    assert "tabby" in ready.class_names
    images = torch.randint(0, 255, (2, 3, 224, 224), dtype=torch.uint8)
    inputs = ready.normalise(images)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    wanted = (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(inputs, wanted)
    with torch.inference_mode():
        torch.testing.assert_close(ready.model(inputs), network(inputs))


def test_a_run_of_a_newer_version_with_another_option_is_still_read(tiny_run, tmp_path):
    path = fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    content = checkpoint.load(path)
    content["config"]["a_option_of_tomorrow"] = 3
    checkpoint.save(path, content)
    assert trained.from_checkpoint(path).image_size == 16


def test_a_function_that_a_run_names_is_not_imported_without_a_word(tiny_run, tmp_path):
    path = fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    content = checkpoint.load(path)
    content["config"]["model"] = "package_of_somebody.module:build"
    checkpoint.save(path, content)
    with pytest.raises(
        ValueError, match=r"runs:/abc names the function package_of.* own_code=true"
    ):
        trained.from_checkpoint(path, name="runs:/abc")
    with pytest.raises(ValueError, match="a file does not decide which code is run"):
        trained.from_checkpoint(path)
