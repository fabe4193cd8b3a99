import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_archives import LABELS, PIXELS, tiny_cifar, tiny_flowers102
from scipy.io import savemat

from imbalance_study.data.torchvision_archives import (
    cifar_files,
    fetch_flowers102,
    find_flowers102,
    flowers102_files,
    list_flowers102,
    read_cifar,
    restricted_load,
)
from imbalance_study.download import md5_of


@pytest.mark.parametrize("place", ["cifar-py", "cifar.tar.gz"])
def test_batches_are_read_from_folder_and_archive(tmp_path: Path, place: str) -> None:
    content = read_cifar(tmp_path / place, tiny_cifar(tmp_path))
    assert (np.concatenate(content.batches) == PIXELS).all()
    assert content.labels == LABELS
    assert content.num_train == 3
    assert content.class_names == ["cat", "dog"]


def test_torchvisions_own_names_and_checksums_are_used() -> None:
    ten, hundred = cifar_files(10), cifar_files(100)
    assert ten.archive.url.endswith("/cifar-10-python.tar.gz")
    assert len(ten.archive.md5) == len(hundred.archive.md5) == 32
    assert len(ten.train) == 5
    assert list(hundred.train) == ["train"]
    assert (ten.labels, hundred.labels) == ("labels", "fine_labels")
    assert cifar_files(100, "http://x/").archive.url == "http://x/cifar-100-python.tar.gz"
    flowers = flowers102_files("http://x/")
    assert [remote.url for remote in flowers[:3]] == [
        "http://x/102flowers.tgz",
        "http://x/imagelabels.mat",
        "http://x/setid.mat",
    ]
    assert len(flowers.class_names) == 102
    assert flowers102_files().images.url.endswith("/flowers/102/102flowers.tgz")


@pytest.mark.parametrize("place", ["cifar-py/test_batch", "cifar.tar.gz"])
def test_a_changed_file_is_refused(tmp_path: Path, place: str) -> None:
    files = tiny_cifar(tmp_path)
    (tmp_path / place).write_bytes((tmp_path / place).read_bytes() + b"x")
    with pytest.raises(ValueError, match=f"{place} is damaged or incomplete"):
        read_cifar(tmp_path / place.split("/")[0], files)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    files = tiny_cifar(tmp_path)
    (tmp_path / "cifar-py" / "test_batch").unlink()
    with pytest.raises(ValueError, match="cifar-py holds no test_batch"):
        read_cifar(tmp_path / "cifar-py", files)
    more = files._replace(test={"test_batch": "", "test_batch_2": ""})
    with pytest.raises(ValueError, match="holds no cifar-py/test_batch_2"):
        read_cifar(tmp_path / "cifar.tar.gz", more)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": np.zeros((2, 3000), np.uint8)}, "no images of 32x32"),
        ({"data": np.zeros((2, 3072))}, "no images of 32x32"),
        ({"data": None}, "data_batch_1 holds no 'data'"),
        ({"labels": [0, 2]}, "labels outside 0..1"),
    ],
)
def test_batches_with_other_contents_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    files = tiny_cifar(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        read_cifar(tmp_path / "cifar-py", files)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_plain_values_and_arrays_pass_the_restricted_loader(protocol: int) -> None:
    value = {"a": [1, "x", b"\xff"], "b": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    loaded = restricted_load(io.BytesIO(pickle.dumps(value, protocol)))
    assert loaded["a"][:2] == [1, "x"]
    assert (loaded["b"] == value["b"]).all()


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return print, ("run by a pickle",)


def test_a_pickle_that_calls_something_is_refused_and_not_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for value in (Evil(), {"data": Evil()}, Path("x")):
        with pytest.raises(ValueError, match="no place in a file of images"):
            restricted_load(io.BytesIO(pickle.dumps(value, 2)))
    with pytest.raises(ValueError, match="not a pickle"):
        restricted_load(io.BytesIO(b"\x80\x02garbage"))
    assert capsys.readouterr().out == ""


def test_flowers102_is_downloaded_unpacked_and_listed(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = served
    files = tiny_flowers102(folder, url)
    data = tmp_path / "data"
    assert find_flowers102(data, files) is None
    place = fetch_flowers102(data, files)
    assert place == data / "flowers-102"
    assert len(list((place / "jpg").iterdir())) == 6
    assert not list(tmp_path.glob("*.jpg"))
    assert sorted(path.name for path in place.iterdir()) == [
        "102flowers.tgz", "imagelabels.mat", "jpg", "setid.mat",
    ]  # fmt: skip
    listing = list_flowers102(place, files)
    assert [entry.name[-5:-4] for entry in listing.entries] == ["5", "3", "1", "2", "4", "6"]
    assert listing.labels.tolist() == [0, 1, 0, 0, 1, 1]
    assert listing.parts.tolist() == [0, 0, 1, 2, 2, 2]
    assert listing.class_names == ("rose", "lotus")
    (folder / "102flowers.tgz").unlink()
    assert find_flowers102(data, files) == place
    assert find_flowers102(place, files) == place


def test_files_that_were_copied_by_hand_are_unpacked_where_they_lie(tmp_path: Path) -> None:
    files = tiny_flowers102(tmp_path)
    assert find_flowers102(tmp_path, files) == tmp_path
    (tmp_path / "jpg" / "image_00004.jpg").unlink()
    with pytest.raises(ValueError, match=r"image_00004\.jpg: No such file"):
        list_flowers102(tmp_path, files)


def test_a_broken_archive_leaves_no_half_unpacked_images(tmp_path: Path) -> None:
    files = tiny_flowers102(tmp_path)
    archive = tmp_path / "102flowers.tgz"
    archive.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        find_flowers102(tmp_path, files)
    cut = files._replace(images=files.images._replace(md5=md5_of(archive)))
    with pytest.raises((OSError, EOFError, tarfile.TarError)):
        find_flowers102(tmp_path, cut)
    assert not list(tmp_path.glob("*jpg*"))


def test_changed_labels_are_refused(tmp_path: Path) -> None:
    files = tiny_flowers102(tmp_path)
    savemat(tmp_path / "imagelabels.mat", {"labels": [[2, 1, 2, 2, 1, 2]]})
    place = find_flowers102(tmp_path, files)
    assert place is not None
    with pytest.raises(ValueError, match=r"imagelabels\.mat is damaged"):
        list_flowers102(place, files)
    assert hashlib.md5(b"").hexdigest() not in (remote.md5 for remote in files[:3])
