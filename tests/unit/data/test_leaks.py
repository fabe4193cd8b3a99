"""Copies that cross the parts of a run."""

import numpy as np
import pytest

from imbalance_study.data import leaks
from imbalance_study.data.duplicates import Copies
from imbalance_study.data.image_set import ImageSet, Split

FILES = tuple(f"{number}.png" for number in range(8))
# Training 0 to 3, validation 4 and 5, test 6 and 7.
PARTS = Split(np.arange(4), np.array([4, 5]), np.array([6, 7]))


def _set(pairs, equal=None, plain=(), own=True):
    pairs = np.array(pairs, np.int64).reshape(-1, 2)
    copies = Copies(
        pairs,
        np.ones(len(pairs), bool) if equal is None else np.array(equal),
        np.array(plain, np.int64),
    )
    none = np.empty(0, np.int64)
    parts = PARTS if own else Split(np.arange(8), none, none)
    labels = np.array([0, 0, 1, 1, 0, 1, 0, 1])
    images = np.zeros((8, 2, 2, 3), np.uint8)
    return ImageSet(
        "set", images, labels, ("rose", "tulip"), FILES, *parts, none, (), copies=copies
    )


def _texts(image_set, split=PARTS):
    return [one.text for one in leaks.findings(image_set, split)]


def test_test_images_that_are_training_images_are_counted_with_the_way_out():
    said = _texts(_set([(0, 6), (3, 7)]))
    assert said[0] == "2 pairs of equal images (first: 0.png = 6.png)"
    assert said[1] == (
        "in train and test: 2 of 2 test images are also training images, or nearly "
        "(first: 6.png = 0.png); on_leak=drop leaves these out"
    )


def test_label_conflicts_come_first_and_nothing_is_dropped():
    image_set = _set([(0, 1), (1, 2), (0, 3)], [True, True, False], own=False)
    said = _texts(image_set, Split(np.arange(8), np.empty(0, int), np.empty(0, int)))
    assert said == [
        "2 pairs of equal images, 1 of them with two labels (first: 1.png = 2.png)",
        "1 pair of nearly equal images, 1 of them with two labels (first: 0.png = 3.png)",
    ]
    columns = leaks.table(image_set, PARTS)
    assert columns["two_labels"] == [True, True, False]
    assert columns["kind"] == ["equal", "nearly equal", "equal"]
    assert (columns["file"][0], columns["label"][0], columns["part"][0]) == (
        *("1.png", "rose", "train"),
    )
    assert (columns["copy"][0], columns["copy_label"][0]) == ("2.png", "tulip")
    assert leaks.handle(image_set, "drop") is image_set  # the parts are not cut yet


def test_copies_across_parts_that_were_cut_name_the_option_that_keeps_them_together():
    (_, said) = _texts(_set([(0, 6)], own=False))
    assert said.endswith("group_copies=true keeps copies together")


def test_drop_leaves_copies_out_of_the_earlier_part():
    found = leaks.handle(_set([(0, 6), (1, 4), (5, 7), (2, 3)]), "drop")
    assert found.train.tolist() == [2, 3]
    assert found.val.tolist() == [4]
    assert found.test.tolist() == [6, 7]
    assert "3 images of train and val with a copy" in found.findings[-1].text


def test_error_names_the_copies_and_warn_leaves_them():
    image_set = _set([(0, 6), (2, 3)])
    with pytest.raises(ValueError, match=r"1 pairs .* on_leak=error: 0\.png = 6\.png"):
        leaks.handle(image_set, "error")
    assert leaks.handle(image_set, "warn") is image_set
    within = _set([(2, 3)])
    assert leaks.handle(within, "error") is within


def test_grouped_copies_share_a_group():
    groups = leaks.group(_set([(0, 6), (6, 2)])).groups
    assert groups[0] == groups[6] == groups[2]
    assert len(set(groups.tolist())) == 6


def test_images_of_one_value_are_counted_by_class_and_refused_where_all_are_alike():
    assert _texts(_set([], plain=[2, 3, 4])) == [
        "3 images have one value in all pixels: rose 1, tulip 2"
    ]
    leaks.refuse_plain(_set([], plain=[2, 3, 4]))
    alike = _set([], plain=range(8))
    with pytest.raises(ValueError, match="all 8 images have the value 0 in all pixels"):
        leaks.refuse_plain(alike)
    alike.images[3] = 90  # a colour of its own can be learnt
    leaks.refuse_plain(alike)
