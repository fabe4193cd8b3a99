import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imbalance_study.data.class_folders import class_folders
from imbalance_study.data.image_folder import scan_folder, scan_zip

MakeFolder = Callable[..., Path]


def texts(listing):
    return [one.text for one in listing.findings]


def test_class_folders_are_read_in_alphabetical_order(image_folder: MakeFolder) -> None:
    listing = class_folders(scan_folder(image_folder({"dog": 2, "cat": 1, "Ape": 1})))
    assert listing.class_names == ("Ape", "cat", "dog")
    assert [entry.name for entry in listing.entries] == [
        "Ape/0.png", "cat/0.png", "dog/0.png", "dog/1.png",
    ]  # fmt: skip
    assert listing.labels.tolist() == [0, 1, 2, 2]
    assert listing.parts.tolist() == [0, 0, 0, 0]


def test_hidden_and_other_files_are_passed_over_and_deep_ones_found(
    image_folder: MakeFolder,
) -> None:
    root = image_folder({"a": 1, "a/x/y": 1, "b": 1, ".c": 1, "__MACOSX": 1})
    for name in ("notes.txt", ".DS_Store", "a/flickr.py", "a/.hidden.png", "stray.jpg"):
        (root / name).write_text("no image")
    (root / "a" / "LOUD.JPG").write_bytes(b"")
    listing = class_folders(scan_folder(root))
    assert listing.class_names == ("a", "b")
    names = [entry.name for entry in listing.entries]
    assert names == ["a/0.png", "a/LOUD.JPG", "a/x/y/0.png", "b/0.png"]


def test_odd_class_and_file_names_are_kept(image_folder: MakeFolder) -> None:
    names = ["a b", 'l\'été "2"', "<b>c&amp;", "日本"]
    listing = class_folders(scan_folder(image_folder(dict.fromkeys(names, 1))))
    assert sorted(listing.class_names) == sorted(names)


def test_images_outside_of_class_folders_are_counted(image_folder: MakeFolder) -> None:
    counts = {"train/a": 1, "train/b": 1, "Testing/deep": 0, "test1": 4, "val/a": 1, "extra/x/y": 2}
    root = image_folder(counts)
    (root / "Testing/deep").rmdir()
    (root / "stray.jpg").write_bytes(b"")
    layout, left = class_folders(scan_folder(root)).findings
    assert layout.text.endswith("by name; Testing, test1 have no class folders")
    assert left.number == 7
    assert left.text == (
        f"2 images in extra, 1 image in {root}, 4 images in test1, outside of class folders"
    )


def test_files_of_other_endings_are_counted_by_ending_and_class(image_folder: MakeFolder) -> None:
    root = image_folder({"a": 1, "b": 1})
    for name in ("a/1.txt", "b/1.xyz", "b/2.XYZ", "b/deep.xyz", "b/none", "README.md"):
        (root / name).write_bytes(b"")
    found = class_folders(scan_folder(root)).findings[-1]
    assert (found.kind, found.number) == ("not used", 5)
    assert found.text == (
        "5 files of other endings in class folders: .xyz 3 (b 3), .txt 1 (a 1), no ending 1 (b 1)"
    )


def test_classes_of_another_case_are_those_of_the_training_part(image_folder: MakeFolder) -> None:
    counts = {"train/NORMAL": 1, "train/PNEUMONIA": 1, "test/normal": 1}
    listing = class_folders(scan_folder(image_folder(counts)))
    assert listing.labels.tolist() == [0, 1, 0]
    assert "normal is taken as NORMAL" in texts(listing)


def test_class_folders_that_look_alike_are_named(image_folder: MakeFolder) -> None:
    listing = class_folders(scan_folder(image_folder({"Rust": 1, "rust ": 1, "scab": 1})))
    assert "'Rust', 'rust ' are different classes, and look alike" in texts(listing)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 2, "plane": 1}, "holds train among class folders .plane.: if it is a class"),
        ({"Testing": 2, "cat": 1, "dog": 1}, "holds Testing among class folders .cat, dog."),
        ({"bus": 1, "car": 1, "train/steam": 1, "train/diesel": 1}, "holds train beside bus, car"),
        ({"fold_0": 1, "fold_1": 1}, "holds fold_0, fold_1, which hold no class folders"),
        ({"fold_0/a": 1, "fold_1/a": 1, "fold_0/b": 1, "x": 1}, "holds folds beside x"),
        (
            {f"v{n}/{part}/{name}": 1 for n in "12" for part in ("train", "test") for name in "ab"},
            "holds v1, v2, each with parts of folders: set data_dir to one",
        ),
        ({"fold_0/train/a": 1, "fold_1/train/a": 1}, "each with parts of its own: set data_dir"),
        ({"a/train": 1, "a/test": 1, "b": 1}, "train, test beside images in b|test, train beside"),
        ({"a/train": 1, "a/old": 1, "b/train": 1}, "hold train beside folders old"),
        ({"a/train": 1, "b/test": 1}, "b holds test but no train folder"),
        (
            {f"{kind}/{name}": 1 for kind in ("colour", "grey") for name in ("rust", "scab")},
            "colour, grey hold nothing but the same folders, rust, scab",
        ),
        (
            {"train/a": 1, "train/b": 1, "test/a": 1, "Testing/a": 1},
            "two test folders: Testing, te",
        ),
        ({"a": 1}, "at least two class folders of images, found: a"),
        ({"train/a": 1, "test/a": 1}, "at least two class folders of images, found: a"),
        ({"a": 1, "b": 0}, "class folder .*images/b holds no image"),
        ({"train/a": 1, "train/b": 1, "test/a": 0}, "class folder .*images/test/a holds no image"),
        ({"train/a": 1, "train/b": 1, "test/c": 1}, "class 'c' of test is not in train.*a, b"),
        ({"test/a": 1, "val/b": 1}, "holds test, val but no train folder"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "valid/a": 1}, "two validation folders"),
    ],
)
def test_a_wrong_layout_is_named(
    image_folder: MakeFolder, counts: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        class_folders(scan_folder(image_folder(counts)))


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path} must hold at least two .* found: none"):
        class_folders(scan_folder(tmp_path))


def test_class_folders_of_a_zip_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/b/1.png", b"12")
        archive.writestr("top/a/x/2.png", b"1")
        archive.writestr("__MACOSX/top/a/._2.png", b"1")
        archive.writestr("top/a/._2.png", b"1")
        archive.mkdir("top/c")
    tree = scan_zip(path)
    with pytest.raises(ValueError, match=r"class folder .*a\.zip/top/c holds no image"):
        class_folders(tree, "top")
    assert class_folders(tree, "top", ["a", "b"]).labels.tolist() == [0, 1]


def test_a_zip_file_beside_nothing_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"")
    with pytest.raises(ValueError, match=f"data_dir={tmp_path}/archive.zip reads that file"):
        class_folders(scan_folder(tmp_path))
