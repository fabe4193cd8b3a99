import pytest

from imbalance_study.studies.report import document
from imbalance_study.studies.report.document import Items, Paragraph, Report, Section


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12344, "0.1234"),
        (0.00001234, "1.2e-05"),
        (0.0, "0.0000"),
        (12.345, "12.35"),
        (1234567, "1,234,567"),
        (10138250.0, "10,138,250"),
        (float("inf"), "inf"),
        (float("nan"), ""),
        (None, ""),
        (True, "yes"),
        (False, ""),
        ("x", "x"),
        ("bell \x07", "bell \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_cell_has_four_digits_and_a_missing_value_is_empty(value, text):
    assert document.cell(value) == text


def test_a_table_leaves_out_empty_columns_and_keeps_them_in_its_file():
    (table,) = document.table("t", "T.", {"a": [1, 2], "b": [None, float("nan")]})
    assert list(table.columns) == ["a"]
    assert list(table.full) == ["a", "b"]
    assert document.table("t", "T.", {"a": []}) == []


def test_a_table_shows_the_columns_that_are_asked_for_in_their_order():
    columns = {"a": [1], "macro_f1": [0.5], "c": ["x"]}
    (table,) = document.table("t", "T.", columns, only=["c", "macro_f1", "missing"])
    assert table.head == ["c", "macro F1"]
    assert table.body == [["x", "0.5000"]]
    assert table.numeric == [False, True]


def test_names_of_classes_stay_as_they_are():
    (table,) = document.table("t", "T.", {"train_count": [3], "sea_lion": [1]}, raw=True)
    assert table.head == ["training images", "sea_lion"]


def test_a_long_table_is_cut_and_its_note_names_the_file():
    (table,) = document.table("long", "Recall.", {"recall": [n / 100 for n in range(100)]})
    assert len(table.body) == document.ROWS
    assert table.note == "Recall. 30 of 100 rows; all are in tables/long.csv."


def test_blocks_of_a_kind_are_found_in_their_order():
    first, last = Paragraph("first"), Paragraph("last")
    report = Report("r", [Section("a", [first, Items(["x"])]), Section("b", [last])])
    assert report.all(Paragraph) == [first, last]
