from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imbalance_study.data.class_folders import class_folders
from imbalance_study.data.image_folder import scan_folder
from imbalance_study.data.image_set import ImageSet, ReadSettings, decoded

MakeFolder = Callable[..., Path]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., ImageSet]:
    def read(root: Path, on_bad_image: str = "error") -> ImageSet:
        how = ReadSettings(6, on_bad_image, tmp_path / "cache", 1, "")
        return decoded("set", class_folders(scan_folder(root)), how)

    return read


def test_images_labels_and_files_belong_together(
    image_folder: MakeFolder, read: Callable[..., ImageSet]
) -> None:
    counts = {"train/a": 3, "train/b": 2, "val/b": 1, "test/a": 2}
    found = read(image_folder(counts))
    assert found.images.shape == (8, 6, 6, 3)
    assert found.labels.dtype == found.train.dtype == np.int64
    for index, (file, label) in enumerate(zip(found.files, found.labels, strict=True)):
        part, name, number = file.removesuffix(".png").split("/")
        assert found.class_names[label] == name
        assert index in getattr(found, part)
        folder = list(counts).index(f"{part}/{name}")
        assert (found.images[index] == (int(number), folder, 7)).all()
    assert (len(found.train), len(found.val), len(found.test)) == (5, 1, 2)
    assert found.skipped == ()


def test_unreadable_images_are_named_with_the_way_out(
    image_folder: MakeFolder, read: Callable[..., ImageSet]
) -> None:
    root = image_folder({"a": 5, "b": 5})
    (root / "a" / "1.png").write_text("text")
    (root / "b" / "4.png").write_bytes((root / "b" / "4.png").read_bytes()[:-30])
    (root / "b" / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"3 of 10 images in .* cannot be read: a/1\.png \(not an"):
        read(root)
    with pytest.raises(ValueError, match=r"b/0\.png \(empty file\).*on_bad_image=skip"):
        read(root)


def test_only_the_first_of_many_unreadable_images_are_named(
    image_folder: MakeFolder, read: Callable[..., ImageSet]
) -> None:
    root = image_folder({"a": 8, "b": 1})
    for number in range(1, 8):
        (root / "a" / f"{number}.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^7 of 9 .*a/5\.png.*; and 2 more; ") as caught:
        read(root)
    assert "a/6.png" not in str(caught.value)


def test_skipped_images_are_recorded_and_the_rest_stays_in_step(
    image_folder: MakeFolder, read: Callable[..., ImageSet]
) -> None:
    root = image_folder({"a": 3, "b": 2})
    (root / "a" / "1.png").write_text("text")
    for _ in range(2):  # decoded, and from the cache
        found = read(root, "skip")
        assert found.skipped == ("a/1.png",)
        assert found.findings[-1] == ("left out", "unreadable images: a 1", 1)
        assert found.files == ("a/0.png", "a/2.png", "b/0.png", "b/1.png")
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert found.images[:, 0, 0, 0].tolist() == [0, 2, 0, 1]
        assert found.train.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"1 of 5 images .* a/1\.png"):
        read(root)  # the cache does not hide it


def test_mending_a_file_is_noticed(image_folder: MakeFolder, read: Callable[..., ImageSet]) -> None:
    root = image_folder({"a": 2, "b": 1})
    good = (root / "a" / "1.png").read_bytes()
    (root / "a" / "1.png").write_text("text")
    assert len(read(root, "skip").files) == 2
    (root / "a" / "1.png").write_bytes(good)
    assert len(read(root).files) == 3


def test_a_class_that_loses_all_its_images_is_named(
    image_folder: MakeFolder, read: Callable[..., ImageSet]
) -> None:
    root = image_folder({"a": 2, "b": 1})
    (root / "b" / "0.png").write_text("text")
    with pytest.raises(ValueError, match="class 'b' has no readable training image"):
        read(root, "skip")


def test_nothing_but_unreadable_images_is_an_error_also_when_skipping(
    image_folder: MakeFolder, read: Callable[..., ImageSet]
) -> None:
    root = image_folder({"a": 1, "b": 1})
    for name in ("a", "b"):
        (root / name / "0.png").write_text("text")
    with pytest.raises(ValueError, match=r"2 of 2 images .*none is left"):
        read(root, "skip")
