import numpy as np
import pytest
import torch
from PIL import Image

from imbalance_study.inference import load
from imbalance_study.inference.explain import Options, explain, read_images
from imbalance_study.models import zoo


@pytest.fixture(scope="module")
def loaded():
    """An untrained model of three classes for images of 32 px."""
    torch.manual_seed(0)
    model = zoo.create("resnet20", 3, image_size=32).eval()
    softmax = load._softmax
    return load.LoadedModel(model, softmax, (0.5,) * 3, (0.2,) * 3, ["cat", "Dog", "a/b"], 32)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two images of different sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for name, size in (("a.png", (40, 60, 3)), ("b.png", (32, 32, 3))):
        Image.fromarray(generator.integers(0, 255, size).astype(np.uint8)).save(folder / name)
    return [folder / "a.png", folder / "b.png"]


def test_images_are_read_at_the_size_of_the_model(photographs, tmp_path):
    images = read_images(photographs, 16)
    assert images.shape == (2, 16, 16, 3)
    assert images.dtype == np.uint8
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    with pytest.raises(ValueError, match=r"bad.png cannot be read as an image"):
        read_images([bad], 16)


def test_each_method_writes_its_figure_and_overlays_for_the_class_asked_for(
    loaded, photographs, tmp_path
):
    options = Options("dog", ("gradcam", "occlusion"), layers="auto")
    lines = explain(loaded, photographs, tmp_path, options)
    assert [line.partition(":")[0] for line in lines] == ["a.png", "b.png"]
    assert all(line.count("%") == 3 for line in lines)
    assert {path.name for path in tmp_path.glob("*.png")} == {"gradcam.png", "occlusion.png"}
    overlays = {path.name for path in (tmp_path / "overlays").iterdir()}
    assert {"001_a_occlusion_Dog.png", "002_b_occlusion_Dog.png"} <= overlays
    assert {"001_a_gradcam_Dog.png", "002_b_gradcam_Dog.png"} <= overlays


def test_without_a_class_the_predicted_one_is_explained(loaded, photographs, tmp_path):
    (line,) = explain(loaded, photographs[:1], tmp_path, Options(methods=("occlusion",)))
    predicted = line.removeprefix("a.png: ").split()[0].replace("/", "-")
    (overlay,) = (tmp_path / "overlays").iterdir()
    assert overlay.stem.startswith("001_a_occlusion_")
    assert overlay.stem.removeprefix("001_a_occlusion_") == predicted


def test_an_unknown_class_is_an_error_that_names_the_known_ones(loaded, photographs, tmp_path):
    with pytest.raises(ValueError, match="unknown class 'horse'; known: cat, Dog"):
        explain(loaded, photographs, tmp_path / "out", Options("horse"))
    assert not (tmp_path / "out").exists()
