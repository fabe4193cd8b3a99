import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imbalance_study import Examples
from imbalance_study.config.resolve import make, resolve
from imbalance_study.data import datasets, plug_in
from imbalance_study.data.image_set import ReadSettings

ARRAYS = np.arange(6 * 12 * 12 * 3, dtype=np.uint32).reshape(6, 12, 12, 3).astype(np.uint8)
LABELS = [0, 0, 1, 1, 1, 0]


@pytest.fixture
def settings(tmp_path):
    return ReadSettings(0, "error", tmp_path / "cache", 1, "")


def _read(settings, found, folder=Path("data")):
    return plug_in.read("mine:load", lambda data_dir: found, folder, settings)


def _files(folder, count=6):
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (20, 16), (40 * number, 0, 0)).save(folder / f"{number}.png")
    return [f"{number}.png" for number in range(count)]


def test_arrays_keep_their_size_where_none_is_asked_for(settings, tmp_path):
    found = _read(settings, Examples(ARRAYS, LABELS))
    assert found.images is ARRAYS
    assert found.labels.tolist() == LABELS
    assert (found.name, found.class_names) == ("mine:load", ("0", "1"))
    assert found.train.tolist() == list(range(6))
    assert [len(part) for part in (found.val, found.test, found.groups)] == [0, 0, 0]
    assert len(set(found.files)) == 6
    assert not (tmp_path / "cache").exists()


def test_arrays_of_another_size_are_resized_once_into_the_cache(settings, monkeypatch):
    settings = dataclasses.replace(settings, image_size=8)
    found = _read(settings, Examples(ARRAYS, LABELS))
    assert found.images.shape == (6, 8, 8, 3)
    expected = np.stack([np.asarray(Image.fromarray(one).resize((8, 8))) for one in ARRAYS])
    assert abs(found.images.astype(int) - expected).max() <= 40
    monkeypatch.setattr(plug_in, "resize", None)
    again = _read(settings, Examples(ARRAYS.copy(), LABELS))
    assert np.array_equal(again.images, found.images)


def test_files_are_decoded_once_into_the_cache(settings, tmp_path, monkeypatch):
    names = _files(tmp_path / "data")
    absolute = [str(tmp_path / "data" / names[0]), *names[1:]]
    found = _read(settings, Examples(absolute, LABELS), tmp_path / "data")
    assert found.images.shape == (6, 224, 224, 3)
    assert found.images[:, 0, 0, 0].tolist() == [40 * number for number in range(6)]
    monkeypatch.setattr("imbalance_study.data.image_set.decode_files", None)
    assert _read(settings, Examples(absolute, LABELS), tmp_path / "data").images.shape[1] == 224


def test_an_unreadable_file_is_left_out_where_the_run_allows_it(settings, tmp_path):
    names = _files(tmp_path / "data")
    (tmp_path / "data" / "2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 6 images in .* cannot be read: 2\.png"):
        _read(settings, Examples(names, LABELS), tmp_path / "data")
    skipping = dataclasses.replace(settings, on_bad_image="skip")
    found = _read(skipping, Examples(names, LABELS), tmp_path / "data")
    assert (len(found.images), found.skipped) == (5, ("2.png",))


def test_names_split_and_groups_are_taken_over(settings):
    found = _read(
        settings,
        Examples(
            ARRAYS,
            ["cat", "dog", "cat", "dog", "dog", "cat"],
            split=["train", "train", "val", "validation", "test", "test"],
            groups=["b", "a", "c", "c", "d", "e"],
        ),
    )
    assert found.class_names == ("cat", "dog")
    assert found.labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert [part.tolist() for part in (found.train, found.val, found.test)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    assert found.groups.tolist() == [1, 0, 2, 2, 3, 4]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((ARRAYS, LABELS), "dataset mine:load must return imbalance_study.Examples, got tuple"),
        (Examples(ARRAYS[:0], []), "dataset mine:load: it holds no image"),
        (Examples(ARRAYS / 255, LABELS), "images must be uint8 .* got float64"),
        (Examples(ARRAYS[:, :4], LABELS), r"images must be uint8 \(N, H, H, 3\)"),
        (Examples([1, 2, 3, 4, 5, 6], LABELS), "images must be a uint8 array or paths, got int"),
        (Examples(["gone.png"] * 6, LABELS), "'gone.png': No such file or directory"),
        (Examples(ARRAYS, LABELS[:5]), r"labels must have one value for each of 6 images"),
        (Examples(ARRAYS, [0.5] * 6), "labels must be whole numbers or names, got float64"),
        (Examples(ARRAYS, [0] * 6), "at least 2 classes are needed, got 1"),
        (Examples(ARRAYS, LABELS, class_names="abc"), "class 'c' has no image of the training"),
        (Examples(ARRAYS, [0, 1, 2, 0, 1, 2], class_names="ab"), "labels must be in 0..1"),
        (Examples(ARRAYS, list("abcabc"), class_names="ab"), "the label 'c' is not among"),
        (Examples(ARRAYS, LABELS, split=["train"] * 5 + ["x"]), "split must hold train, val, test"),
        (Examples(ARRAYS, LABELS, split=["test", "test", *["train"] * 3, "val"]), "class '0' has"),
        (Examples(ARRAYS, LABELS, groups=[1]), "groups must have one value for each of 6 images"),
    ],
)
def test_what_does_not_fit_is_refused(settings, found, message):
    with pytest.raises(ValueError, match=message):
        _read(settings, found)


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A file of the current folder with a function of a data set."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.py").write_text(
        "import numpy as np\n"
        "from imbalance_study import Examples\n\n\n"
        "def load(data_dir, *, count: int = 40):\n"
        "    labels = np.arange(count) % 4 // 3\n"
        "    images = np.random.default_rng(0).integers(0, 99, (count, 16, 16, 3), np.uint8)\n"
        "    return Examples(images + 100 * labels.astype(np.uint8)[:, None, None, None], labels)\n"
    )
    yield "cells:load"
    sys.modules.pop("cells", None)


def test_a_data_set_of_ones_own_is_loaded_with_its_options(cells):
    assert datasets.load(cells).images.shape == (40, 16, 16, 3)
    assert datasets.load(f"{cells}:count=8").images.shape == (8, 16, 16, 3)
    assert datasets.load(cells, image_size=8).images.shape == (40, 8, 8, 3)
    with pytest.raises(ValueError, match="dataset cells:load has no option 'size'; it takes: cou"):
        datasets.load(f"{cells}:size=8")


def test_it_has_the_defaults_of_photographs(cells):
    config, origins = resolve({"dataset": f"{cells}:count=8"})
    assert (config.imbalance, config.augment, config.batch_size) == ("none", "crop+flip", 32)
    assert origins["imbalance"] == "data set"
    assert resolve({"dataset": "imagefolder"}).config.augment == config.augment


def test_a_run_trains_on_it(cells, tmp_path):
    from imbalance_study.experiment.run import run

    config = make(dataset=cells, model="resnet20", epochs=1, batch_size=8, analyses="none")
    result = run(config, output_dir=tmp_path, show_progress=False)
    assert result.data.num_classes == 2
    assert result.facts.fingerprint["dataset"] == "cells:load"
    assert 0 <= result.metrics["test/balanced_accuracy"] <= 1
