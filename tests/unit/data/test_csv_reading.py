from pathlib import Path

import pytest

from imbalance_study.data.csv_reading import Source, read, sources


def table(folder: Path, text: str) -> Path:
    path = folder / "images.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_are_found(tmp_path: Path, separator: str, end: str) -> None:
    rows = [("path", "label"), ("a/0.png", "x"), ("b/0.png", "y")]
    found = read(table(tmp_path, end.join(map(separator.join, rows))))
    assert (found.header, found.rows) == (
        ["path", "label"],
        [(2, ["a/0.png", "x"]), (3, ["b/0.png", "y"])],
    )


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.csv"
    path.write_bytes("path,label\na/0.png,été\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"images\.csv is not UTF-8"):
        read(path)


def test_a_label_with_an_unquoted_comma_is_refused_with_its_line(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\na/0.png,Potato\na/1.png,Tomato, early blight\n")
    with pytest.raises(ValueError, match="line 3 has 3 fields, the header 2; a value with ',' in"):
        read(path)


def test_empty_fields_at_the_end_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    found = read(table(tmp_path, "path,label\na/0.png,x,,\n\n,\nb/0.png,y\n"))
    assert found.rows == [(2, ["a/0.png", "x"]), (5, ["b/0.png", "y"])]


def test_cells_may_hold_separators_and_line_breaks_in_quotes(tmp_path: Path) -> None:
    found = read(table(tmp_path, 'path,label\na,"x, y"\nb,"one\ntwo"\n'))
    assert [cells for _, cells in found.rows] == [["a", "x, y"], ["b", "one\ntwo"]]


def test_the_table_of_files_and_labels_is_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"csv files in {tmp_path}: none"):
        sources(tmp_path, {})
    path = table(tmp_path, "")
    assert sources(tmp_path, {}) == ([Source(path)], [])
    assert sources(path, {}) == ([Source(path)], [])
    (tmp_path / "other.csv").write_text("image,dx\n1,x\n")
    (found,), left = sources(tmp_path, {})
    assert found == Source(tmp_path / "other.csv")
    assert [one.text for one in left] == ["tables images.csv"]
    (tmp_path / "third.tsv").write_text("image\tdx\n1\tx\n")
    with pytest.raises(ValueError, match=r"exactly one .*: images\.csv, other\.csv, third\.tsv"):
        sources(tmp_path, {})


def test_tables_are_parts_by_their_names(tmp_path: Path) -> None:
    for name in ("Train.csv", "valid_labels.csv", "sample.csv"):
        (tmp_path / name).write_text("image,dx\n1,x\n")
    found, left = sources(tmp_path, {})
    assert found == [Source(tmp_path / "Train.csv", 0), Source(tmp_path / "valid_labels.csv", 1)]
    assert [one.text for one in left] == ["tables sample.csv"]
