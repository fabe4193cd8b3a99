import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imbalance_study.data.class_folders import class_folders
from imbalance_study.data.decode import Decoding
from imbalance_study.data.decoding_choice import Wanted
from imbalance_study.data.image_folder import scan_folder
from imbalance_study.data.image_set import ImageSet, ReadSettings, decoded

MakeFolder = Callable[..., Path]
AUTO = Wanted()


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., ImageSet]:
    def read(root: Path, on_bad_image: str = "error", wanted: Wanted = AUTO) -> ImageSet:
        how = ReadSettings(6, on_bad_image, tmp_path / "cache", 1, "", wanted=wanted)
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


def _deep_folder(root: Path, **parts: int) -> Path:
    """Write a folder of 16-bit images, all of one value, given for each part."""
    for part, value in parts.items():
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            pixels = np.full((8, 8), value, np.uint16)
            pixels[0] = 0
            Image.fromarray(pixels).save(root / part / name / "0.png")
    return root


def test_images_of_sixteen_bits_are_scaled_by_the_range_of_the_training_part(
    tmp_path: Path, read: Callable[..., ImageSet]
) -> None:
    root = _deep_folder(tmp_path / "deep", train=1000, test=500)
    found = read(root)
    assert found.decoding == Decoding("crop", (0, 1000))
    by_file = dict(zip(found.files, found.images[:, 5, 5, 0].tolist(), strict=True))
    assert by_file == {
        f"{p}/{c}/0.png": v for p, v in (("train", 255), ("test", 127)) for c in "ab"
    }
    (finding,) = [one for one in found.findings if one.kind == "pixels"]
    assert "4 of 4 images hold whole numbers of more than 8 bits: 0 to 1000" in finding.text
    again = read(root)  # from the cache
    assert (again.decoding, again.findings) == (found.decoding, found.findings)
    assert np.array_equal(again.images, found.images)


def test_another_training_part_of_the_same_files_leads_to_another_range(
    tmp_path: Path, read: Callable[..., ImageSet]
) -> None:
    root = _deep_folder(tmp_path / "deep", train=1000, test=500)
    how = ReadSettings(6, "error", tmp_path / "cache", 1, "")
    listing = class_folders(scan_folder(root))
    first = decoded("set", listing, how)
    swapped = decoded("set", dataclasses.replace(listing, parts=2 - listing.parts), how)
    assert first.decoding.whole == (0, 1000)
    assert swapped.decoding.whole == (0, 500)
    assert swapped.images.max() == first.images.max() == 255


def test_a_given_range_is_used_and_kept_apart_in_the_cache(
    tmp_path: Path, read: Callable[..., ImageSet]
) -> None:
    root = _deep_folder(tmp_path / "deep", train=1000)
    assert read(root).images[0, 5, 5, 0] == 255
    assert read(root, wanted=Wanted(pixel_range="0/4000")).images[0, 5, 5, 0] == 63


def test_wide_images_are_padded_and_square_ones_are_as_before(
    tmp_path: Path, read: Callable[..., ImageSet]
) -> None:
    for name, colour in (("a", 200), ("b", 100)):
        (tmp_path / "wide" / name).mkdir(parents=True)
        Image.new("RGB", (60, 20), (colour,) * 3).save(tmp_path / "wide" / name / "0.png")
    found = read(tmp_path / "wide")
    assert found.decoding.fit == "pad"
    assert found.images[0, :, 0, 0].tolist() == [0, 0, 200, 200, 0, 0]
    cropped = read(tmp_path / "wide", wanted=Wanted("crop"))
    assert (cropped.images[0] == 200).all()
    assert any("fit=pad (auto)" in one.text for one in found.findings)
