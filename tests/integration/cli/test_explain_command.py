import os
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image

from imbalance_study import cli
from imbalance_study.config.resolve import resolve
from imbalance_study.inference import explain as explaining
from imbalance_study.inference import load as trained
from imbalance_study.models import checkpoint
from imbalance_study.tracking import fetch, run

TINY = {
    "dataset": "digits",
    "model": "resnet20",
    "epochs": "1",
    "steps_per_epoch": "4",
    "analyses": "none",
    "system_metrics": "false",
    "loss": "ldam",
}


@pytest.fixture(autouse=True)
def _own_store(monkeypatch):
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run, its id, its store and a folder of photographs."""
    folder = tmp_path_factory.mktemp("store")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    before = os.getcwd()
    os.chdir(folder)
    try:
        result = run.train(resolve(TINY | {"tracking_uri": store}))
    finally:
        os.chdir(before)
    client = mlflow.MlflowClient(store)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (record,) = client.search_runs(ids)
    images = folder / "photographs"
    images.mkdir()
    generator = np.random.default_rng(0)
    for name, size in (("a.png", (40, 60, 3)), ("b.jpg", (32, 32, 3)), ("c c.png", (20, 20))):
        Image.fromarray(generator.integers(0, 255, size).astype(np.uint8)).save(images / name)
    return result, record.info.run_id, store, images


def _run(capsys, *args):
    status = 0
    try:
        cli.main(["explain", *map(str, args)])
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr()


def test_a_run_is_explained_on_a_folder_of_photographs(finished, tmp_path, capsys):
    _, run_id, store, images = finished
    args = ("--run", run_id, "--tracking_uri", store, "--images", images)
    status, output = _run(capsys, *args, "--class", "three", "--out", tmp_path)
    assert status == 1
    assert "unknown class 'three'; known: 0, 1, 2" in output.err
    status, output = _run(capsys, *args, "--class", "3", "--out", tmp_path)
    assert status == 0, output.err
    lines = output.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["a.png", "b.jpg", "c c.png"]
    assert lines[3] == f"Written to {tmp_path}"
    names = {path.name for path in tmp_path.iterdir()}
    assert {"gradcam.png", "occlusion.png", "deletion.png", "overlays"} < names
    assert any(name.startswith("feature_maps_") for name in names)
    overlays = sorted(path.name for path in (tmp_path / "overlays").iterdir())
    assert "002_b_occlusion_3.png" in overlays
    assert "003_c-c_gradcam_3.png" in overlays
    shape = np.asarray(Image.open(tmp_path / "overlays" / overlays[0])).shape
    assert shape == (128, 128, 3)


def test_several_images_can_follow_and_limit_says_what_it_left_out(finished, tmp_path, capsys):
    _, run_id, store, images = finished
    status, output = _run(
        capsys,
        *("--run", run_id, "--tracking_uri", store, "--methods", "occlusion", "--limit", 1),
        *("--out", tmp_path, "--images", images / "b.jpg", images / "a.png"),
    )
    assert status == 0, output.err
    lines = output.out.splitlines()
    assert lines[0].startswith("b.jpg: ")
    assert lines[1].startswith("1 more images were left out")
    assert {path.name for path in tmp_path.iterdir()} == {"occlusion.png", "overlays"}


def test_the_rebuilt_model_gives_the_probabilities_of_the_run(finished, tmp_path):
    result, run_id, store, _ = finished
    ready = trained.from_checkpoint(fetch.checkpoint_of(run_id, tmp_path, store))
    rows = result.data.split.test[:8]
    images = torch.from_numpy(np.ascontiguousarray(result.data.image_set.images[rows]))
    with torch.inference_mode():
        logits = ready.model(ready.normalise(images.permute(0, 3, 1, 2)))
    wanted = result.procedure.probabilities(torch.from_numpy(result.test.logits[:8]))
    torch.testing.assert_close(ready.probabilities(logits), wanted, atol=1e-4, rtol=1e-4)
    assert list(ready.class_names) == list(result.data.image_set.class_names)


def test_a_checkpoint_and_a_state_dict_are_weights_too(finished, tmp_path, capsys):
    _, run_id, store, images = finished
    best = fetch.checkpoint_of(run_id, tmp_path, store)
    common = ("--images", images / "a.png", "--methods", "gradcam", "--out", tmp_path / "out")
    status, _ = _run(capsys, "--weights", best, *common)
    assert status == 0
    status, output = _run(capsys, "--weights", best, "--model", "resnet18", *common)
    assert status == 1
    assert "holds resnet20, not model=resnet18" in output.err
    from torchvision.models import resnet18

    plain = resnet18(num_classes=3)
    torch.save(plain.state_dict(), tmp_path / "plain.pt")
    ready = trained.from_weights("resnet18", str(tmp_path / "plain.pt"))
    assert ready.image_size == 224
    image = torch.randint(0, 255, (1, 3, 224, 224), dtype=torch.uint8)
    inputs = ready.normalise(image)
    with torch.inference_mode():
        torch.testing.assert_close(ready.model(inputs), plain.eval()(inputs))
    status, output = _run(capsys, "--weights", tmp_path / "plain.pt", *common)
    assert "say which model they are of with model=NAME" in output.err


def test_weights_of_another_model_are_refused_by_the_first_parameter(tmp_path):
    from torchvision.models import resnet18

    torch.save(resnet18(num_classes=3).state_dict(), tmp_path / "plain.pt")
    with pytest.raises(ValueError, match="does not hold the weights of this model: backbone"):
        trained.from_weights("mobilenet_v2", str(tmp_path / "plain.pt"))


def test_imagenet_weights_without_network_say_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"cannot be downloaded from https.*bring the file here"):
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


def test_an_unknown_run_and_a_run_without_checkpoint_are_told_apart(finished, tmp_path):
    _, _, store, _ = finished
    with pytest.raises(ValueError, match=r"unknown run 'abc' in sqlite"):
        fetch.checkpoint_of("abc", tmp_path, store)
    own = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(ValueError, match="there is no store"):
        fetch.checkpoint_of("abc", tmp_path, own)
    assert not (tmp_path / "mlflow.db").exists()
    client = mlflow.MlflowClient(own)
    place = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    made = client.create_run(place)
    with pytest.raises(ValueError, match=r"no checkpoint checkpoints/best.pt: .* RUNNING"):
        fetch.checkpoint_of(made.info.run_id, tmp_path, own)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "images must name an image or a folder"),
        (("--images", "x.png"), "give either run=ID, or weights="),
        (("--images", "x.png", "--run", "1", "--weights", "imagenet"), "give either run=ID, or"),
        (("--images", "no/such.png", "--weights", "w"), "there is no image or folder no/such.png"),
        (("--images", ".", "--weights", "w"), "there are no images in ."),
        (("--methods", "lime", "--images", "."), "unknown methods 'lime'; known: gradcam"),
        (("--colormap", "rainbow"), "colormap must be"),
    ],
)
def test_a_mistake_is_one_line(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, output = _run(capsys, *args)
    assert status == 1
    assert message in output.err
    assert output.err.count("\n") == 1


def test_a_file_that_is_no_image_is_named(finished, tmp_path, capsys):
    _, run_id, store, images = finished
    bad = tmp_path / "notes.png"
    bad.write_text("no picture")
    shutil.copy(images / "a.png", tmp_path)
    status, output = _run(capsys, "--run", run_id, "--tracking_uri", store, "--images", tmp_path)
    assert status == 1
    assert "notes.png cannot be read as an image" in output.err


def test_a_run_of_a_newer_version_with_another_option_is_still_read(finished, tmp_path):
    _, run_id, store, _ = finished
    path = fetch.checkpoint_of(run_id, tmp_path, store)
    content = checkpoint.load(path)
    content["config"]["a_option_of_tomorrow"] = 3
    checkpoint.save(path, content)
    assert trained.from_checkpoint(path).image_size == 32


def test_folders_are_searched_in_depth_and_nothing_comes_twice(tmp_path):
    for name in ("b/2.JPG", "b/deep/1.png", "a.webp", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = explaining.find([str(tmp_path / "b"), str(tmp_path), str(tmp_path / "a.webp")])
    assert [path.name for path in found] == ["2.JPG", "1.png", "a.webp"]
