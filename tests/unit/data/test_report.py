import numpy as np

from imbalance_study.data.report import KINDS, Finding, make


def made(*findings):
    parts = {"train": np.arange(0, 60), "val": np.arange(60, 62), "test": np.arange(62, 90)}
    labels = np.repeat([0, 1, 2], [40, 18, 2])
    labels = np.concatenate([labels, [0, 1], np.repeat([0, 1], [25, 3])])
    return make(["healthy", "rust", "scab"], labels, parts, findings)


def test_the_images_of_each_class_and_part_stand_in_a_table():
    lines = made().lines()
    assert [line.split() for line in lines[:4]] == [
        ["class", "training", "validation", "test"],
        ["healthy", "40", "1", "25"],
        ["rust", "18", "1", "3"],
        ["scab", "2", "0", "0"],
    ]


def test_a_class_that_a_part_lacks_is_named_with_the_meaning_of_balanced_accuracy():
    texts = [one.text for one in made().findings]
    means = "its balanced accuracy is over 2 of 3 classes"
    assert f"no validation image of scab; {means}" in texts
    assert f"no test image of scab; {means}" in texts


def test_classes_with_few_test_images_are_named_with_their_number():
    assert made().findings[-1].text == "fewer than 20 test images: rust (3)"


def test_findings_stand_in_the_order_of_their_kinds_and_can_be_added_later():
    report = made(Finding("pixels", "3 images are of one colour", 3))
    report = report.with_findings([Finding("layout", "Training is the training part")])
    kinds = [one.kind for one in report.findings]
    assert kinds == sorted(kinds, key=KINDS.index)
    assert "layout          Training is the training part" in report.lines()
    assert "pixels          3 images are of one colour" in report.lines()


def test_the_columns_hold_a_row_for_each_class_of_a_part_and_each_finding():
    columns = made(Finding("copies", "2 of 28 test images are training images", 2)).columns()
    rows = list(zip(*columns.values(), strict=True))
    assert ("images", "test", "rust", 3, "") in rows
    assert ("copies", "", "", 2, "2 of 28 test images are training images") in rows
    assert len(rows) == 9 + 4


def test_of_many_classes_the_first_and_the_last_are_shown():
    names = [f"class {number}" for number in range(100)]
    report = make(names, np.arange(100).repeat(30), {"train": np.arange(3000)})
    lines = report.lines()
    assert len(lines) == 1 + 10 + 1 + 5
    assert lines[11] == "... 85 more classes"
    assert lines[-1].split() == ["class", "99", "30"]
