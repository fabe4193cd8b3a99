from collections.abc import Callable
from pathlib import Path

import pytest

from imbalance_study.data.csv_table import find_table, list_table

MakeFolder = Callable[..., Path]


@pytest.fixture
def folder(image_folder: MakeFolder) -> Path:
    return image_folder({"a": 3, "b": 3})


def table(folder: Path, text: str) -> Path:
    path = folder / "images.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_and_labels_are_read_in_the_order_of_the_paths(folder: Path) -> None:
    text = 'path,label,ignored\n./b/0.png,"x, y",1\na/0.png,été,2\na/1.png,été,3\n'
    listing = list_table(table(folder, text))
    assert [entry.name for entry in listing.entries] == ["a/0.png", "a/1.png", "b/0.png"]
    assert listing.class_names == ("x, y", "été")
    assert listing.labels.tolist() == [1, 1, 0]
    assert listing.parts.tolist() == [0, 0, 0]
    assert len(listing.groups) == 0
    assert listing.entries[0].size == (folder / "a" / "0.png").stat().st_size


def test_a_mark_at_the_start_as_spreadsheets_write_it_is_no_part_of_the_name(folder: Path) -> None:
    path = table(folder, "\ufeffpath,label\na/0.png,x\nb/0.png,y\n")
    assert list_table(path).class_names == ("x", "y")


def test_numbers_as_labels_are_ordered_by_value(folder: Path) -> None:
    path = table(folder, "path,label\na/0.png,10\na/1.png,9\nb/0.png,1\n")
    assert list_table(path).class_names == ("1", "9", "10")


def test_split_and_group_are_read_whatever_the_order_of_the_rows(folder: Path) -> None:
    rows = [
        "a/0.png,x,train,ann", "a/1.png,x,test,bob", "a/2.png,x,Validation,zoe",
        "b/0.png,y,train,ann", "b/1.png,y,valid,zoe",
    ]  # fmt: skip
    for ordered in (rows, rows[::-1]):
        listing = list_table(table(folder, "\n".join(["path,label,split,group", *ordered])))
        assert listing.parts.tolist() == [0, 2, 1, 0, 1]
        assert listing.groups.tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na/0.png,x\n", "no column 'path'; its columns: file, label"),
        ("path;label\na/0.png;x\n", "no column 'path'; its columns: path;label"),
        ("", "no column 'path'; its columns: none"),
        ("path,label\n", "at least two labels in column label, found: none"),
        ("path,label\na/0.png,x\n", "at least two labels in column label, found: x"),
        ("path,label\na/0.png,x\n\na/1.png, \n", "line 4: column 'label' is empty"),
        ("path,label\na/0.png,x\na/1.png\n", "line 3: column 'label' is empty"),
        ("path,label\na/0.png,x\nc/9.png,y\n", "line 3: column 'path': 'c/9.png': No such file"),
        ("path,label\na/0.png,x\n../x.png,y\n", "line 3: column 'path': .*leads out of"),
        ("path,label\na/0.png,x\n/etc/passwd,y\n", "line 3: column 'path': .*leads out of"),
        ("path,label\na/0.png,x\nout.png,y\n", "line 3: column 'path': .*leads out of"),
        ("path,label\na/0.png,x\na,y\n", "line 3: column 'path': 'a' is a folder"),
        ("path,label\na/0.png,x\na/..,y\n", "line 3: column 'path': 'a/..' is a folder"),
        ("path,label\na/0.png,x\n./a//0.png,y\n", "line 3: column 'path': .*before, in line 2"),
        ("path,label\na/0.png,x\na/twin.png,y\n", "line 3: column 'path': .*before, in line 2"),
        (
            "path,label,split\na/0.png,x,train\na/1.png,y,later\n",
            "line 3: column 'split' must be one of train, val, test, got 'later'",
        ),
        ("path,label,split\na/0.png,x,train\na/1.png,y,\n", "line 3: column 'split' is empty"),
        ("path,label,group\na/0.png,x,1\na/1.png,y,\n", "line 3: column 'group' is empty"),
        (
            "path,label,split\na/0.png,x,train\na/1.png,x,train\nb/0.png,y,test\n",
            "label 'y' has no image whose split is train",
        ),
        (
            "path,label,split,group\na/0.png,x,train,g\nb/0.png,y,train,h\nb/1.png,y,test,g\n",
            "line 4: column 'group': 'g' is in split test here and train in line 2",
        ),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(folder: Path, text: str, message: str) -> None:
    (folder.parent / "x.png").write_bytes(b"")
    (folder / "out.png").symlink_to(folder.parent / "x.png")
    (folder / "a" / "twin.png").symlink_to("0.png")
    with pytest.raises(ValueError, match=rf"images\.csv.*{message}"):
        list_table(table(folder, text))


def test_text_in_another_encoding_is_refused(folder: Path) -> None:
    path = folder / "images.csv"
    path.write_bytes("path,label\na/0.png,été\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"images\.csv is not UTF-8"):
        list_table(path)


def test_a_null_character_in_a_path_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"null byte|NUL"):
        list_table(table(folder, "path,label\na/0.png,x\na\0b.png,y\n"))


def test_the_only_csv_file_of_a_folder_is_found(folder: Path) -> None:
    with pytest.raises(ValueError, match=f"csv files in {folder}: none"):
        find_table(folder)
    path = table(folder, "")
    assert find_table(folder) == path
    assert find_table(path) == path
    (folder / "other.csv").write_text("")
    with pytest.raises(ValueError, match=r"exactly one; .*: images\.csv, other\.csv"):
        find_table(folder)
