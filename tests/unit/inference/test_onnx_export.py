import os

import numpy as np
import pytest
import torch
from PIL import Image

from imbalance_study import cli
from imbalance_study.inference import load as trained
from imbalance_study.inference import onnx_export
from imbalance_study.models import zoo

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def ready():
    """An untrained model whose logits are spread enough to tell classes apart."""
    torch.manual_seed(0)
    model = zoo.create("resnet20", 6, image_size=16).eval()
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


def test_the_command_tells_accuracy_on_the_test_images_of_the_run(tiny_run, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    words = ["--model", f"runs:/{tiny_run.run_id}", "--tracking_uri", tiny_run.store]
    cli.main(["export", *words, "--out", str(out)])
    lines = capsys.readouterr().out
    accuracy = tiny_run.result.metrics["test/accuracy"]
    assert f"accuracy on them: {accuracy:.2%} (torch: {accuracy:.2%})" in lines
    assert "the same class as torch: 100.00% of 539 images" in lines
    assert f"Written to {out}" in lines
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    cli.main(["export", *words, "--out", str(out), "--images", str(tmp_path / "a.png")])
    assert "100.00% of 1 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "model must name the model to export"),
        (("--model", "m.pt", "--out", "m.pt"), "out must end in .onnx, got 'm.pt'"),
        (("--model", "m.pt"), "model 'm.pt' does not exist"),
        (("--model", "m.pt", "--format", "int4"), "format must be one of onnx, int8, got 'int4'"),
    ],
)
def test_a_mistake_in_export_is_one_line(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["export", *args])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == []
