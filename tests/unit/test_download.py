import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from imbalance_study.download import Remote, check, download

CONTENT = b"pixels" * 50_000


def remote(url: str, content: bytes = CONTENT, name: str = "a.tgz") -> Remote:
    return Remote(name, f"{url}/{name}", hashlib.md5(content).hexdigest())


def test_a_file_arrives_whole_in_a_folder_that_did_not_exist(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = served
    (folder / "a.tgz").write_bytes(CONTENT)
    path = download(remote(url), tmp_path / "new" / "data")
    assert path == tmp_path / "new" / "data" / "a.tgz"
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["a.tgz"]


def test_a_wrong_checksum_keeps_nothing(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    (folder / "a.tgz").write_bytes(b"<html>please log in</html>")
    with pytest.raises(ValueError, match=r"a\.tgz gave a file with MD5 .* nothing was kept"):
        download(remote(url), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_missing_page_and_a_closed_door_are_connection_errors(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    _, url = served
    with pytest.raises(ConnectionError, match=r"a\.tgz: File not found"):
        download(remote(url), tmp_path)
    with pytest.raises(ConnectionError, match="refused"):
        download(remote("http://127.0.0.1:1"), tmp_path)


def test_a_connection_that_breaks_off_keeps_nothing(
    served: tuple[Path, str], tmp_path: Path
) -> None:
    _, url = served
    with pytest.raises(ConnectionError, match="broke off after 9 of 1000 bytes"):
        download(remote(url, name="broken"), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_disk_that_cannot_take_it_is_named(
    served: tuple[Path, str],
    tmp_path: Path,
    small_files_only: Callable[[int], AbstractContextManager[None]],
) -> None:
    folder, url = served
    (folder / "a.tgz").write_bytes(CONTENT)
    message = f"data_dir={tmp_path / 'data'}, but it cannot"
    with small_files_only(20_000), pytest.raises(OSError, match=message):
        download(remote(url), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_damaged_file_is_told_from_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(CONTENT)
    check(path, hashlib.md5(CONTENT).hexdigest())
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"a\.tgz is damaged or incomplete"):
        check(path, hashlib.md5(CONTENT).hexdigest())
