from collections.abc import Callable
from pathlib import Path

import pytest

from imbalance_study.data.table_files import Files, report

MakeFolder = Callable[..., Path]


@pytest.fixture
def folder(image_folder: MakeFolder) -> Path:
    return image_folder({"a": 3, "b": 3})


@pytest.mark.parametrize(
    "cell",
    ["a\\0.png", ".\\a\\0.png", "/kaggle/input/set/a/0.png", "C:\\data\\a\\0.png", "a/0", "a/0.PNG",
     "A/0.png", "old/a/0.jpg"],
)  # fmt: skip
def test_a_file_is_found_by_its_name(folder: Path, cell: str) -> None:
    found = Files(str(folder), [cell, "b/1.png"]).find(cell)
    assert (found.entry.name, found.missing) == ("a/0.png", False)
    assert found.entry.size == (folder / "a" / "0.png").stat().st_size


def test_files_found_by_name_are_counted_and_so_are_images_that_no_row_names(folder: Path) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "one.jpg").write_bytes(b"")
    files = Files(str(folder))
    first, second = report(str(folder), map(files.find, ("one", "a/0.png")))
    assert first.text == "1 of 2 files were found by their names, in c 1"
    assert second.text == "2 images that no row names, in a 2"


def test_a_name_in_two_places_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'0.png' is in two places: a/0.png, b/0.png"):
        Files(str(folder)).find("0.png")


def test_a_name_that_other_cells_have_too_is_not_looked_for_in_other_folders(folder: Path) -> None:
    (folder / "b" / "2.png").unlink()
    cells = ["b/2.png", "a/2.png"]
    assert Files(str(folder), cells).find("b/2.png").missing
    assert not Files(str(folder), cells[:1]).find("b/2.png").missing


@pytest.mark.parametrize("cell", ["", ".", "gone.png", "gone/1.png", "a/0.png/x"])
def test_a_file_that_is_nowhere_is_missing(folder: Path, cell: str) -> None:
    if cell in ("", "."):
        with pytest.raises(ValueError, match="is a folder"):
            Files(str(folder)).find(cell)
    else:
        assert Files(str(folder)).find(cell).missing


def test_hidden_files_are_no_images(folder: Path) -> None:
    (folder / "._new.png").write_bytes(b"")
    assert Files(str(folder)).find("._new").missing


def test_both_forms_of_an_accent_are_one_name(folder: Path) -> None:
    (folder / "caf\u00e9.png").write_bytes(b"")
    assert Files(str(folder)).find("cafe\u0301").entry.name == "caf\u00e9.png"
