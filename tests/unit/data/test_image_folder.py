import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imbalance_study.data.image_folder import (
    find_images,
    readable,
    scan_folder,
    scan_zip,
    walk_files,
)

MakeFolder = Callable[..., Path]


def test_entries_tell_size_and_time(image_folder: MakeFolder) -> None:
    root = image_folder({"a": 1, "b": 1})
    status = (root / "a" / "0.png").stat()
    entry = scan_folder(root).entries[0]
    assert (entry.size, entry.stamp) == (status.st_size, status.st_mtime_ns)


def test_names_with_line_breaks_or_no_utf8_can_be_printed() -> None:
    assert readable(os.fsdecode(b"caf\xe9")).encode("utf-8") == "caf\ufffd".encode()
    assert readable("日本 a\u00a0b") == "日本 a\u00a0b"
    assert readable("a\nb\x1b[0m") == "a\ufffdb\ufffd[0m"


def test_links_inside_the_folder_are_followed(image_folder: MakeFolder) -> None:
    root = image_folder({"a": 1, "b": 1})
    (root / "a" / "again.png").symlink_to("../b/0.png")
    (root / "c").symlink_to("b")
    names = [entry.name for entry in scan_folder(root).entries]
    assert names == ["a/0.png", "a/again.png", "b/0.png", "c/0.png"]


@pytest.mark.parametrize("name", ["a/out.png", "c"])
def test_links_out_of_the_folder_are_refused_and_named(
    image_folder: MakeFolder, tmp_path: Path, name: str
) -> None:
    root = image_folder({"a": 1, "b": 1})
    outside = tmp_path / "images-too"  # begins like the folder's own name
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"")
    (root / name).symlink_to(outside / "secret.png" if "." in name else outside)
    with pytest.raises(ValueError, match=f"{root / name} leads out of the data folder"):
        scan_folder(root)


def test_a_data_folder_that_is_a_link_is_fine(image_folder: MakeFolder, tmp_path: Path) -> None:
    root = image_folder({"a": 1, "b": 1})
    (root / "a" / "again.png").symlink_to(root / "b" / "0.png")
    (tmp_path / "link").symlink_to(root)
    assert len(scan_folder(tmp_path / "link").entries) == 3


def test_links_in_a_circle_come_to_an_end(image_folder: MakeFolder) -> None:
    root = image_folder({"a": 1, "b": 1})
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to("../a")
    assert len(scan_folder(root).entries) == 2
    (root / "a" / "to_b").symlink_to("../b")
    (root / "b" / "to_a").symlink_to("../a")
    assert len(scan_folder(root).entries) < 20


def test_a_dangling_link_is_listed_to_be_named_as_unreadable(image_folder: MakeFolder) -> None:
    root = image_folder({"a": 1, "b": 1})
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    assert ("a/gone.png", 0, 0) in scan_folder(root).entries


def test_a_zip_file_is_listed_like_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/b/1.png", b"12")
        archive.writestr("top/a/x/2.png", b"1")
        archive.writestr("__MACOSX/top/a/2.png", b"1")
        archive.writestr("top/a/notes.txt", b"1")
        archive.mkdir("top/c")
    tree = scan_zip(path)
    assert [(entry.name, entry.size) for entry in tree.entries] == [
        ("top/a/x/2.png", 1),
        ("top/b/1.png", 2),
    ]
    assert tree.children("") == ["top"]
    assert tree.others == ["top/a/notes.txt"]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="no complete zip file"):
        scan_zip(path)


def test_images_of_files_and_folders_are_listed_in_depth_and_each_once(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/deep/1.png", "a.webp", "b/notes.txt", "b/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    found = find_images([str(tmp_path / "b"), str(tmp_path), str(tmp_path / "a.webp")])
    assert [path.name for path in found] == ["2.JPG", "1.png", "a.webp"]
    assert find_images([str(tmp_path / "b/notes.txt")]) == [tmp_path / "b" / "notes.txt"]


def test_files_of_any_ending_are_walked_through(tmp_path: Path) -> None:
    for name in ("b/2.heic", "a", "notes.txt", ".hidden.png", "__MACOSX/x.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in walk_files([str(tmp_path)])] == ["a", "2.heic", "notes.txt"]


def test_a_path_without_an_image_is_named_with_the_known_endings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"there are no images in {tmp_path}; known endings: .jpg"):
        find_images([str(tmp_path)])
    with pytest.raises(ValueError, match=r"there is no image or folder .*/missing"):
        next(walk_files([str(tmp_path / "missing")]))
