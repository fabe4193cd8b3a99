import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_archives import LABELS, PIXELS, tiny_cifar, tiny_flowers102

from imbalance_study.config import choices, spec
from imbalance_study.data.datasets import (
    default_image_size,
    load,
    read_cifar_archive,
    read_flowers102,
)
from imbalance_study.data.fingerprint import channel_statistics
from imbalance_study.data.image_set import ReadSettings

DATASETS = spec.functions(choices.DATASETS)

MakeFolder = Callable[..., Path]
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FLOWERS = ["daisy", "dandelion", "rose", "sunflower", "tulip"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMBALANCE_STUDY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def how(cache: Path) -> ReadSettings:
    return ReadSettings(32, "error", cache, 1, "")


def test_digits_are_scikit_learns_scaled_up(cache: Path) -> None:
    from sklearn.datasets import load_digits

    found, bunch = load("digits"), load_digits()
    assert found.images.shape == (1797, 32, 32, 3)
    assert (found.labels == bunch.target).all()
    assert found.class_names == tuple("0123456789")
    assert (found.images[..., 0] == found.images[..., 2]).all()
    blocks = found.images[..., 0].reshape(-1, 8, 4, 8, 4).mean((2, 4))
    correlation = np.corrcoef(blocks.ravel(), bunch.images.ravel())[0, 1]
    assert correlation > 0.98
    assert found.images.max() == 255
    assert (len(found.train), len(found.val), len(found.test)) == (1797, 0, 0)
    assert len(set(found.files)) == 1797
    assert not cache.exists()


def test_digits_come_at_any_size() -> None:
    assert load("digits", image_size=8).images.shape == (1797, 8, 8, 3)


def test_each_set_has_its_own_default_size() -> None:
    sizes = {name: default_image_size(name) for name in DATASETS}
    assert sizes == {
        "digits": 32, "cifar10": 32, "cifar100": 32, "flowers": 128,
        "flowers102": 224, "imagefolder": 224, "csv": 224,
    }  # fmt: skip


@pytest.mark.parametrize("inside", ["cifar10", "."])
def test_cifar10_is_read_from_a_folder_of_class_folders(
    image_folder: MakeFolder, tmp_path: Path, inside: str
) -> None:
    counts = {
        f"{part}/{name}": 2 - (part == "test") for part in ("train", "test") for name in CIFAR10
    }
    root = image_folder(counts, "cifar10")
    found = load("cifar10", root if inside == "." else tmp_path)
    assert found.images.shape == (30, 32, 32, 3)
    assert found.class_names == tuple(CIFAR10)
    assert (len(found.train), len(found.test)) == (20, 10)
    assert found.files[0] == "train/airplane/0.png"


def test_folders_of_other_classes_are_not_taken_for_cifar10(image_folder: MakeFolder) -> None:
    few = image_folder({"train/a": 1, "train/b": 1, "test/a": 1}, "few")
    with pytest.raises(
        ValueError, match=r"2 classes \(a, b\), which is not cifar10; dataset=image"
    ):
        load("cifar10", few)
    ten = image_folder({f"{part}/{i}": 1 for part in ("train", "test") for i in range(10)}, "ten")
    with pytest.raises(ValueError, match=r"10 classes \(0, 1, .*which is not cifar10"):
        load("cifar10", ten)


@pytest.mark.parametrize("keep", ["cifar-py", "cifar.tar.gz"])
def test_cifar_is_read_from_torchvisions_files(
    tmp_path: Path, how: ReadSettings, keep: str
) -> None:
    files = tiny_cifar(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / keep).rename(data / keep)
    for place in (data, data / keep, data):  # the third time from the cache
        found = read_cifar_archive("cifar10", place, files, how)
        assert (found.images == PIXELS).all()
        assert found.labels.tolist() == LABELS
        assert found.files == (*(f"train/0000{i}" for i in range(3)), "test/00000", "test/00001")
        assert (found.train.tolist(), found.test.tolist()) == ([0, 1, 2], [3, 4])
        assert found.class_names == ("cat", "dog")


def test_a_changed_archive_is_not_served_from_the_cache(tmp_path: Path, how: ReadSettings) -> None:
    files = tiny_cifar(tmp_path)
    shutil.rmtree(tmp_path / "cifar-py")
    read_cifar_archive("cifar10", tmp_path, files, how)
    with (tmp_path / "cifar.tar.gz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=r"cifar\.tar\.gz is damaged"):
        read_cifar_archive("cifar10", tmp_path, files, how)


def test_cifar_is_downloaded_once_when_absent(
    served: tuple[Path, str], tmp_path: Path, how: ReadSettings
) -> None:
    folder, url = served
    files = tiny_cifar(folder, url)
    found = read_cifar_archive("cifar10", tmp_path / "data", files, how)
    assert (found.images == PIXELS).all()
    (folder / "cifar.tar.gz").unlink()
    assert len(read_cifar_archive("cifar10", tmp_path / "data", files, how).files) == 5


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "flowers102"])
def test_no_data_and_no_network_tells_the_ways(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused") as caught:
        load(dataset, tmp_path, base_url="http://127.0.0.1:1")
    message = str(caught.value)
    assert "\n" not in message
    archive = {"cifar10": "cifar-10-python.tar.gz", "cifar100": "cifar-100-python.tar.gz"}
    for way in ("dataset=digits", archive.get(dataset, "102flowers.tgz, imagelabels.mat"), "copy"):
        assert way in message
    if dataset != "flowers102":
        assert f"data_dir=FOLDER, where FOLDER holds {dataset}/train/<class>/*" in message


def test_a_server_with_another_file_is_told_from_the_right_one(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = served
    (folder / "cifar-10-python.tar.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="gave a file with MD5"):
        load("cifar10", tmp_path, base_url=url)
    assert not list(tmp_path.glob("*.gz"))


@pytest.mark.parametrize("place", ["flowers", "flower_photos", "flowers-recognition/flowers"])
def test_flowers_is_found_under_its_usual_names(
    image_folder: MakeFolder, tmp_path: Path, place: str
) -> None:
    plural = [f"{name}s" if name in ("rose", "tulip") else name for name in FLOWERS]
    root = image_folder(dict.fromkeys(plural, 2), place)
    (root / "rose_notes").mkdir()
    (root / "daisy" / "flickr.py").write_text("")
    for data_dir in (tmp_path, root):
        found = load("flowers", data_dir)
        assert found.images.shape == (10, 128, 128, 3)
        assert found.class_names == tuple(plural)
        assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("name", ["archive.zip", "flowers.zip"])
def test_flowers_is_read_out_of_its_zip_file(
    image_folder: MakeFolder, tmp_path: Path, name: str
) -> None:
    root = image_folder(dict.fromkeys(FLOWERS, 2))
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for file in root.rglob("*.png"):
            archive.write(file, f"flowers/{file.relative_to(root)}")
            archive.write(file, f"flowers/flowers/{file.relative_to(root)}")  # as Kaggle once had
    shutil.rmtree(root)
    for data_dir in (tmp_path, tmp_path / name):
        found = load("flowers", data_dir)
        assert found.class_names == tuple(FLOWERS)
        assert found.files[-1] == "flowers/tulip/1.png"
        assert found.images[:, 64, 64, 0].tolist() == [0, 1] * 5


def test_absent_flowers_name_the_page_and_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Flowers Recognition.*flowers-recognition.*flowers/"):
        load("flowers", tmp_path)


def test_flowers102_keeps_its_own_split(tmp_path: Path, how: ReadSettings) -> None:
    files = tiny_flowers102(tmp_path)
    found = read_flowers102(tmp_path, files, how)
    assert found.labels.tolist() == [0, 1, 0, 0, 1, 1]
    assert [found.train.tolist(), found.val.tolist(), found.test.tolist()] == [
        [0, 1],
        [2],
        [3, 4, 5],
    ]
    reds = found.images[:, 16, 16, 0].astype(int)
    assert np.abs(reds - np.array([5, 3, 1, 2, 4, 6]) * 40).max() < 5


def test_an_image_folder_is_read_at_the_size_asked_for(image_folder: MakeFolder) -> None:
    found = load("imagefolder", image_folder({"a": 1, "b": 2}), image_size=20)
    assert found.images.shape == (3, 20, 20, 3)
    assert found.name == "imagefolder"


def test_a_csv_file_brings_split_and_groups(image_folder: MakeFolder, tmp_path: Path) -> None:
    root = image_folder({"x": 4})
    path = root / "list.csv"
    path.write_text("path,label,group\nx/3.png,b,g\nx/0.png,a,g\nx/1.png,a,h\nx/2.png,b,i\n")
    for place in (path, root):
        found = load("csv", place, image_size=6)
        assert found.class_names == ("a", "b")
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert found.groups.tolist() == [0, 1, 2, 0]
        assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_a_file_changed_in_place_is_noticed(image_folder: MakeFolder, on_bad_image: str) -> None:
    root = image_folder({"a": 1, "b": 1})
    size = (root / "a" / "0.png").stat().st_size
    load("imagefolder", root, image_size=6, on_bad_image=on_bad_image)
    shutil.copy(root / "b" / "0.png", root / "a" / "0.png")
    os.utime(root / "a" / "0.png", ns=(1, 1))
    assert (root / "a" / "0.png").stat().st_size == size
    found = load("imagefolder", root, image_size=6, on_bad_image=on_bad_image)
    assert (found.images[0] == found.images[1]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "mnist"}, "unknown dataset 'mnist'; known: digits, cifar10, .*, csv"),
        ({"data_dir": "/no/such/place"}, "data_dir '/no/such/place' does not exist"),
        ({"dataset": "imagefolder"}, "data_dir 'data' does not exist; dataset=imagefolder needs"),
        ({"dataset": "csv"}, "data_dir 'data' does not exist; dataset=csv needs a csv file"),
        ({"on_bad_image": "ignore"}, "on_bad_image must be one of error, skip, got 'ignore'"),
        ({"image_size": -1}, "image_size must be at least 1, or 0 for the default, got -1"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load(**{"dataset": "digits", **arguments})


def test_every_set_says_what_it_is() -> None:
    for function in DATASETS.values():
        assert len((function.__doc__ or "").splitlines()[0]) > 30


@pytest.fixture(scope="module")
def real_data() -> Path:
    folder = os.environ.get("IMBALANCE_STUDY_REAL_DATA")
    if not folder:
        pytest.skip("IMBALANCE_STUDY_REAL_DATA names no folder with cifar10/ and flowers/")
    return Path(folder)


@pytest.mark.realdata
def test_the_real_cifar10_has_the_known_counts_mean_and_deviation(real_data: Path) -> None:
    found = load("cifar10", real_data)
    assert np.bincount(found.labels[found.train]).tolist() == [5000] * 10
    assert np.bincount(found.labels[found.test]).tolist() == [1000] * 10
    mean, std = channel_statistics(found.images, found.train)
    # Of the original files; the copy here is recompressed. Often copied: 0.2023, a wrong deviation.
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.001)
    assert std == pytest.approx([0.2470, 0.2435, 0.2616], abs=0.003)


@pytest.mark.realdata
def test_the_real_flowers_have_the_known_counts(real_data: Path) -> None:
    found = load("flowers", real_data)
    assert np.bincount(found.labels).tolist() == [764, 1052, 784, 733, 984]
    assert found.images.shape == (4317, 128, 128, 3)
