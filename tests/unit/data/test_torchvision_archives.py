import hashlib
import pickle
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from made_archives import LABELS, PIXELS, tiny_cifar, tiny_flowers102
from scipy.io import savemat

from imbalance_study.data.torchvision_archives import (
    cifar_archive,
    cifar_checksums,
    cifar_source,
    fetch_flowers102,
    find_flowers102,
    flowers102_files,
    list_flowers102,
    read_cifar,
)
from imbalance_study.download import md5_of


@pytest.mark.parametrize("place", ["cifar-py", "cifar.tar.gz"])
def test_batches_are_read_from_folder_and_archive(tmp_path: Path, place: str) -> None:
    content = read_cifar(tmp_path / place, tiny_cifar(tmp_path))
    assert (content.train == PIXELS[:3]).all()
    assert (content.test == PIXELS[3:]).all()
    assert content.labels == LABELS
    assert content.class_names == ["cat", "dog"]


def test_torchvisions_own_names_and_checksums_are_used() -> None:
    ten, hundred = cifar_source(10), cifar_source(100)
    assert cifar_archive(ten).url.endswith("/cifar-10-python.tar.gz")
    assert len(cifar_archive(ten).md5) == len(cifar_archive(hundred).md5) == 32
    assert len(cifar_checksums(ten)) == 7
    assert list(cifar_checksums(hundred)) == ["train", "test", "meta"]
    own = cifar_archive(cifar_source(100, "http://x/"))
    assert own.url == "http://x/cifar-100-python.tar.gz"
    flowers = flowers102_files("http://x/")
    assert [remote.url for remote in flowers[:3]] == [
        "http://x/102flowers.tgz",
        "http://x/imagelabels.mat",
        "http://x/setid.mat",
    ]
    assert len(flowers.class_names) == 102
    assert flowers102_files().images.url.endswith("/flowers/102/102flowers.tgz")


@pytest.mark.parametrize("place", ["cifar-py/test_batch", "cifar-py/batches.meta", "cifar.tar.gz"])
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


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return print, ("run by a pickle",)


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_file_with_another_checksum_is_not_unpickled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = tiny_cifar(tmp_path)
    (tmp_path / "cifar-py" / name).write_bytes(pickle.dumps(Evil(), 2))
    with pytest.raises(ValueError, match=f"{name} is damaged or incomplete"):
        read_cifar(tmp_path / "cifar-py", source)
    assert "run by a pickle" not in capsys.readouterr().out


def test_an_archive_that_cannot_be_unpacked_is_named_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_files_only: Callable[[int], AbstractContextManager[None]],
) -> None:
    source = tiny_cifar(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    message = r"cifar\.tar\.gz cannot be unpacked in .*scratch"
    with small_files_only(3000), pytest.raises(OSError, match=message):
        read_cifar(tmp_path / "cifar.tar.gz", source)
    assert not list((tmp_path / "scratch").iterdir())


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
    with pytest.raises(OSError, match=r"102flowers\.tgz cannot be unpacked in .*: Compressed file"):
        find_flowers102(tmp_path, cut)
    assert not list(tmp_path.glob("*jpg*"))
    assert not list(tmp_path.glob(".unpacking*"))


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "flowers-102"
    files = tiny_flowers102(folder, outside=True)
    with pytest.raises(OSError, match=r"102flowers\.tgz cannot be unpacked"):
        find_flowers102(tmp_path, files)
    assert not (folder / "jpg").exists()
    assert not list(tmp_path.rglob("evil.jpg"))


def test_changed_labels_are_refused(tmp_path: Path) -> None:
    files = tiny_flowers102(tmp_path)
    savemat(tmp_path / "imagelabels.mat", {"labels": [[2, 1, 2, 2, 1, 2]]})
    place = find_flowers102(tmp_path, files)
    assert place is not None
    with pytest.raises(ValueError, match=r"imagelabels\.mat is damaged"):
        list_flowers102(place, files)
    assert hashlib.md5(b"").hexdigest() not in (remote.md5 for remote in files[:3])
