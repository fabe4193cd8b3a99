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


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Train", "valid", "Testing"), ("train_images", "dev", "TEST"),
     ("x/seg_train/seg_train", "x/Validation", "x/seg_test")],
)  # fmt: skip
def test_parts_above_the_classes_are_the_split(
    image_folder: MakeFolder, train: str, val: str, test: str
) -> None:
    counts = {f"{test}/b": 1, f"{train}/a": 2, f"{train}/b": 1, f"{val}/a": 1}
    listing = class_folders(scan_folder(image_folder(counts)))
    assert listing.class_names == ("a", "b")
    assert [entry.name for entry in listing.entries] == [
        f"{train}/a/0.png", f"{train}/a/1.png", f"{train}/b/0.png", f"{val}/a/0.png",
        f"{test}/b/0.png",
    ]  # fmt: skip
    assert listing.parts.tolist() == [0, 0, 0, 1, 2]
    assert listing.labels.tolist() == [0, 0, 1, 0, 1]
    (text,) = texts(listing)
    for name, word in ((train, "training"), (val, "validation"), (test, "test")):
        assert f"{name.removeprefix('x/').partition('/')[0]} is the {word} part" in text


def test_parts_inside_the_classes_are_the_split(image_folder: MakeFolder) -> None:
    counts = {"a/Train": 2, "a/Test": 1, "b/Train": 1}
    listing = class_folders(scan_folder(image_folder(counts)))
    assert listing.class_names == ("a", "b")
    assert listing.parts.tolist() == [0, 0, 0, 2]
    assert listing.labels.tolist() == [0, 0, 1, 0]
    assert texts(listing) == [
        "Train is the training part, Test is the test part, inside each of the 2 class folders"
    ]


@pytest.mark.parametrize("fold", [None, 0, 2])
@pytest.mark.parametrize("form", ["fold_{}/{}", "{1}/Fold {0}"])
def test_one_fold_is_the_test_part(image_folder: MakeFolder, form: str, fold: int | None) -> None:
    counts = {form.format(number, name): 1 for number in range(3) for name in ("all", "hem")}
    listing = class_folders(scan_folder(image_folder(counts)), test_fold=fold)
    assert listing.class_names == ("all", "hem")
    assert sorted(listing.parts.tolist()) == [0, 0, 0, 0, 2, 2]
    assert all(
        f"old{' ' if 'F' in form else '_'}{fold or 0}" in e.name for e in listing.entries[4:]
    )
    assert f"fold {fold or 0} of 3 is the test part" in texts(listing)[0]


def test_folds_in_a_training_folder_beside_a_test_folder_are_the_training_part(
    image_folder: MakeFolder,
) -> None:
    counts = {"train/fold_0/a": 1, "train/fold_1/b": 2, "test/a": 1}
    listing = class_folders(scan_folder(image_folder(counts)))
    assert listing.class_names == ("a", "b")
    assert listing.parts.tolist() == [0, 0, 0, 2]


def test_folders_of_folders_are_gone_through(image_folder: MakeFolder) -> None:
    listing = class_folders(scan_folder(image_folder({"Plant/Plant/a": 1, "Plant/Plant/b": 1})))
    assert listing.class_names == ("a", "b")
    assert texts(listing)[0].endswith("images/Plant/Plant, without parts")


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


def test_words_like_valid_may_be_classes(image_folder: MakeFolder) -> None:
    listing = class_folders(scan_folder(image_folder({"valid": 1, "invalid": 1})))
    assert listing.class_names == ("invalid", "valid")


@pytest.mark.parametrize(
    ("fold", "message"), [(7, "test_fold must be one of 0, 1"), (1, "test_fold=1 has no effect")]
)
def test_a_fold_that_is_not_there_is_refused(
    image_folder: MakeFolder, fold: int, message: str
) -> None:
    names = ["fold_0/a", "fold_0/b", "fold_1/a"] if fold == 7 else ["a", "b"]
    with pytest.raises(ValueError, match=message):
        class_folders(scan_folder(image_folder(dict.fromkeys(names, 1))), test_fold=fold)


def test_a_zip_file_beside_nothing_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"")
    with pytest.raises(ValueError, match=f"data_dir={tmp_path}/archive.zip reads that file"):
        class_folders(scan_folder(tmp_path))
