from collections.abc import Callable
from pathlib import Path

import pytest

from imbalance_study.data.class_folders import class_folders
from imbalance_study.data.folder_layout import Leaf, find
from imbalance_study.data.image_folder import scan_folder

MakeFolder = Callable[..., Path]


def texts(listing):
    return [one.text for one in listing.findings]


def test_a_leaf_has_a_folder_a_part_and_a_class(image_folder: MakeFolder) -> None:
    root = image_folder({"set/Train/a": 1, "set/Train/b": 1, "set/Test/a": 1})
    layout = find(scan_folder(root))
    assert layout.leaves == [
        Leaf("set/Train/a", 0, "a"), Leaf("set/Train/b", 0, "b"), Leaf("set/Test/a", 2, "a"),
    ]  # fmt: skip
    assert layout.words == "Train is the training part, Test is the test part, by name"


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


@pytest.mark.parametrize(
    "names", [["HAM_images_part_1", "HAM_images_part_2"], ["images", "masks"], ["batch1", "batch2"]]
)
def test_portions_of_a_set_are_no_classes(image_folder: MakeFolder, names: list[str]) -> None:
    with pytest.raises(ValueError, match=f"{', '.join(names)}, which do not look like classes"):
        find(scan_folder(image_folder(dict.fromkeys(names, 1))))
    assert find(scan_folder(image_folder({names[0]: 1, "rust": 1}, "others"))).leaves


@pytest.mark.parametrize(
    "names", [["cat_train", "cat_test", "dog_train"], ["cat/cat_train", "cat/cat_test", "dog/x"]]
)
def test_names_of_a_class_and_a_part_are_refused(
    image_folder: MakeFolder, names: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"cat_test, cat_train.* look like a class and a part"):
        find(scan_folder(image_folder(dict.fromkeys(names, 1))))


def test_parts_without_classes_beside_a_table_are_pointed_to_it(image_folder: MakeFolder) -> None:
    root = image_folder({"train": 1, "test": 1})
    (root / "labels.csv").write_text("id,label\n")
    with pytest.raises(ValueError, match=r"dataset=csv reads labels\.csv beside them"):
        find(scan_folder(root))


def test_an_image_beside_the_only_folder_does_not_hide_the_classes(
    image_folder: MakeFolder,
) -> None:
    root = image_folder({"set/Train/a": 1, "set/Train/b": 1, "set/Test/a": 1})
    (root / "preview.png").write_bytes(b"")
    assert [leaf.part for leaf in find(scan_folder(root)).leaves] == [0, 0, 2]


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
