import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from imbalance_study import cli
from imbalance_study.inference import load as trained
from imbalance_study.tracking import fetch


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of three images."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for name, size in (("a.png", (40, 60, 3)), ("b.jpg", (32, 32, 3)), ("c c.png", (20, 20))):
        Image.fromarray(generator.integers(0, 255, size).astype(np.uint8)).save(folder / name)
    return folder


def _run(capsys, *args):
    status = 0
    try:
        cli.main(["explain", *map(str, args)])
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr()


def test_a_run_is_explained_on_a_folder_of_photographs(tiny_run, photographs, tmp_path, capsys):
    args = ("--run", tiny_run.run_id, "--tracking_uri", tiny_run.store, "--images", photographs)
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
    assert shape == (112, 112, 3)


def test_several_images_can_follow_and_limit_says_what_it_left_out(
    tiny_run, photographs, tmp_path, capsys
):
    status, output = _run(
        capsys,
        *(
            "--run",
            tiny_run.run_id,
            "--tracking_uri",
            tiny_run.store,
            "--methods",
            "occlusion",
            "--limit",
            1,
        ),
        *("--out", tmp_path, "--images", photographs / "b.jpg", photographs / "a.png"),
    )
    assert status == 0, output.err
    lines = output.out.splitlines()
    assert lines[0].startswith("b.jpg: ")
    assert lines[1].startswith("1 more images were left out")
    assert {path.name for path in tmp_path.iterdir()} == {"occlusion.png", "overlays"}


def test_a_checkpoint_and_a_state_dict_are_weights_too(tiny_run, photographs, tmp_path, capsys):
    best = fetch.download_checkpoint(tiny_run.run_id, tmp_path, tiny_run.store)
    common = ("--images", photographs / "a.png", "--methods", "gradcam", "--out", tmp_path / "out")
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


def test_a_file_that_is_no_image_is_named(tiny_run, photographs, tmp_path, capsys):
    bad = tmp_path / "notes.png"
    bad.write_text("no picture")
    shutil.copy(photographs / "a.png", tmp_path)
    status, output = _run(
        capsys, "--run", tiny_run.run_id, "--tracking_uri", tiny_run.store, "--images", tmp_path
    )
    assert status == 1
    assert "notes.png cannot be read as an image" in output.err
