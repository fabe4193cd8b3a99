import os

import numpy as np
import pytest
import torch

from imbalance_study.inference import load as trained
from imbalance_study.inference import onnx_export
from imbalance_study.models import zoo

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def ready():
    """An untrained model whose logits are spread enough to tell classes apart."""
    torch.manual_seed(0)
    model = zoo.create("small_nets:conv:width=4096", 6, image_size=16).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(5)
    names = ["rose", "tulip, red", *"abcd"]
    return trained.LoadedModel(model, trained._softmax, (0.4, 0.5, 0.6), (0.2,) * 3, names, 16)


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 255, (70, 4, 4, 3))
    return np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2).astype(np.uint8)


def test_onnx_gives_the_probabilities_of_torch_at_any_batch_size(ready, images, tmp_path):
    path = tmp_path / "new" / "m.onnx"
    found = onnx_export.export(ready, path, images)
    assert found.difference < 1e-4
    assert found.agreement == 1
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        wanted = ready.raw()(torch.from_numpy(images)).numpy()
    for count in (1, 3, 70):
        probs = session.run(["probabilities"], {"images": images[:count]})[0]
        np.testing.assert_allclose(probs, wanted[:count], atol=1e-4)
    meta = session.get_modelmeta().custom_metadata_map
    assert meta["class_names"].split("\n") == ["rose", "tulip, red", *"abcd"]
    assert os.listdir(path.parent) == ["m.onnx"]


@pytest.mark.slow
def test_int8_is_smaller_and_agrees_or_is_refused(ready, images, tmp_path):
    path = tmp_path / "m.onnx"
    found = onnx_export.export(ready, path, images, format="int8", min_agreement=0.5)
    assert found.bytes[1] < 0.4 * found.bytes[0]
    assert path.stat().st_size == found.bytes[1]
    assert 0 < found.difference < 1
    path.unlink()
    with pytest.raises(ValueError, match=r"same class .* of 70 images.*nothing is written"):
        onnx_export.export(ready, path, images, format="int8", min_agreement=1.01)
    assert os.listdir(tmp_path) == []


def test_an_onnx_model_that_differs_is_refused(ready, images, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"differs from the model by up to .*nothing is written"):
        onnx_export.export(ready, tmp_path / "m.onnx", images)
    assert os.listdir(tmp_path) == []


def test_missing_packages_are_named_with_the_way_to_have_them(ready, images, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(ValueError, match=r"needs no_such_package; .*imbalance-study\[export\]"):
        onnx_export.export(ready, tmp_path / "m.onnx", images)
