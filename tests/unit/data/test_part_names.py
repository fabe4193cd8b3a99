import pytest

from imbalance_study.data.part_names import fold_of, is_part_alone, part_in, part_of

NAMES = {
    0: "train Train TRAIN training Training train_images train-images trainset train2017"
    " images_train TrainImages Training_set trainval seg_train train_data",
    1: "val Val valid validation VALIDATION dev val_images val2017 validation-set valset",
    2: "test Test testing Testing TEST test_images testset images_test seg_test holdout",
}


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part, names in NAMES.items() for name in names.split()]
)
def test_a_part_has_many_names(part: int, name: str) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize(
    "name", ["cat", "trainer", "contest", "steam train", "images", "", "0", "set", "train_test"]
)
def test_other_names_are_no_parts(name: str) -> None:
    assert part_of(name) is None


def test_a_part_may_be_one_of_the_words_of_a_name() -> None:
    assert [part_in(name) for name in ("cat_train", "TestCat", "cat", "train_test")] == [
        0,
        2,
        None,
        None,
    ]


def test_words_of_another_meaning_may_be_classes() -> None:
    assert is_part_alone("Train")
    assert not is_part_alone("valid")
    assert not is_part_alone("cat")


@pytest.mark.parametrize(
    ("name", "fold"),
    [
        *[("fold_0", 0), ("Fold 3", 3), ("fold10", 10), ("cv2", 2), ("3_fold", 3)],
        *[("10", None), ("folder_1", None), ("part_1", None), ("scaffold_1", None)],
    ],
)
def test_folds_have_numbers(name: str, fold: int | None) -> None:
    assert fold_of(name) == fold
