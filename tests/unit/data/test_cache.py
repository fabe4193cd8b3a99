import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imbalance_study.data.cache import Writer, cached
from imbalance_study.files import default_cache_dir

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)


def builder(images: np.ndarray, calls: list[int]) -> Callable[[Writer], dict[str, Any]]:
    def build(write: Writer) -> dict[str, Any]:
        calls.append(1)
        write(images[:2])
        write(images[2:])
        return {"note": "grün"}

    return build


def entries(folder: Path) -> list[Path]:
    """All that lies there but the locks."""
    return [path for path in folder.iterdir() if not path.name.startswith(".lock-")]


def made_of(stamp: int = 1, root: str = "here") -> dict[str, Any]:
    return {"root": root, "files": [["a.png", 10, stamp], ["\udcff.png", 10, stamp]]}


def test_images_are_built_once_and_mapped_read_only_afterwards(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(2):
        images, notes = cached(tmp_path, made_of(), 4, 5, builder(IMAGES, calls))
        assert isinstance(images, np.memmap)
        assert not images.flags.writeable
        assert (images == IMAGES).all()
        assert notes == {"note": "grün"}
    assert len(calls) == 1
    manifest = json.loads(next(tmp_path.glob("*/manifest.json")).read_text())
    assert manifest["files"][0] == ["a.png", 10, 1]
    assert manifest["image_size"] == 4


def test_fewer_images_than_announced_are_fine(tmp_path: Path) -> None:
    images, _ = cached(tmp_path, made_of(), 4, 12_345_678, builder(IMAGES, []))
    assert (images == IMAGES).all()


def test_a_changed_file_builds_anew_and_removes_what_became_useless(tmp_path: Path) -> None:
    calls: list[int] = []
    cached(tmp_path, made_of(1), 4, 5, builder(IMAGES, calls))
    cached(tmp_path, made_of(1, "elsewhere"), 4, 5, builder(IMAGES, calls))
    images, _ = cached(tmp_path, made_of(2), 4, 5, builder(IMAGES[::-1], calls))
    assert len(calls) == 3
    assert (images == IMAGES[::-1]).all()
    assert len(entries(tmp_path)) == 2
    cached(tmp_path, made_of(1, "elsewhere"), 4, 5, builder(IMAGES, calls))
    assert len(calls) == 3


@pytest.mark.parametrize("damage", ["cut", "no manifest", "another shape", "empty"])
def test_a_damaged_entry_is_replaced(tmp_path: Path, damage: str) -> None:
    cached(tmp_path, made_of(), 4, 5, builder(IMAGES, []))
    (entry,) = entries(tmp_path)
    if damage == "cut":
        os.truncate(entry / "images.npy", 200)
    elif damage == "no manifest":
        (entry / "manifest.json").unlink()
    elif damage == "another shape":
        np.save(entry / "images.npy", IMAGES[:3])
    else:
        (entry / "manifest.json").write_text("")
    images, _ = cached(tmp_path, made_of(), 4, 5, builder(IMAGES, []))
    assert (images == IMAGES).all()


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def build(write: Writer) -> dict[str, Any]:
        write(IMAGES)
        raise ValueError("a bad image")

    with pytest.raises(ValueError, match="a bad image"):
        cached(tmp_path, made_of(), 4, 5, build)
    assert not entries(tmp_path)


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    for name, age in (("old", 90_000), ("young", 3_600)):
        (tmp_path / f".writing-{name}").mkdir()
        os.utime(tmp_path / f".writing-{name}", (time.time() - age,) * 2)
    cached(tmp_path, made_of(), 4, 5, builder(IMAGES, []))
    assert [path.name for path in tmp_path.glob(".writing-*")] == [".writing-young"]


def use(folder: str, log: str) -> bytes:
    def slow_build(write: Writer) -> dict[str, Any]:
        with open(log, "a") as file:
            file.write("built\n")
        write(IMAGES)
        time.sleep(0.3)
        return {}

    images, _ = cached(Path(folder), made_of(), 4, 5, slow_build)
    return images.tobytes()


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_eight_processes_at_once_get_the_same_images(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, locks: bool
) -> None:
    log = tmp_path_factory.mktemp("log") / "builds"
    if not locks:  # folders where the lock files should be, so that none can be opened
        cached(tmp_path, made_of(), 4, 5, builder(IMAGES, []))
        shutil.rmtree(entries(tmp_path)[0])
        (lock,) = tmp_path.glob(".lock-*")
        lock.unlink()
        lock.mkdir()
    with ProcessPoolExecutor(8, mp_context=get_context("fork")) as pool:
        results = list(pool.map(use, [str(tmp_path)] * 8, [str(log)] * 8))
    assert set(results) == {IMAGES.tobytes()}
    builds = len(log.read_text().splitlines())
    assert builds == 1 if locks else builds > 1
    assert len(entries(tmp_path)) == 1


def test_a_disk_without_room_is_named_before_the_work_begins(tmp_path: Path) -> None:
    calls: list[int] = []
    with pytest.raises(OSError, match=f"cache_dir={tmp_path}, but its disk is full .*MB free"):
        cached(tmp_path, made_of(), 4, 10**15, builder(IMAGES, calls))
    assert not calls
    assert not entries(tmp_path)


def test_a_disk_that_fills_up_while_writing_is_named(
    tmp_path: Path, small_files_only: Callable[[int], AbstractContextManager[None]]
) -> None:
    many = np.zeros((1000, 4, 4, 3), np.uint8)
    message = f"cache_dir={tmp_path}, but it cannot be written"
    with small_files_only(20_000), pytest.raises(OSError, match=message):
        cached(tmp_path, made_of(), 4, 1000, builder(many, []))
    assert not entries(tmp_path)


def test_a_cache_dir_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file, but it cannot be written"):
        cached(tmp_path / "file", made_of(), 4, 5, builder(IMAGES, []))


def test_the_default_folder_is_the_variables_or_in_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMBALANCE_STUDY_CACHE", "/some/where")
    assert default_cache_dir() == Path("/some/where")
    monkeypatch.delenv("IMBALANCE_STUDY_CACHE")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_cache_dir() == Path("/home/someone/.cache/imbalance_study")
