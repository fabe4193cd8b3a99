"""Cache of decoded images on disk: a memory map, and a manifest of its sources."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from imbalance_study import files

VERSION = 2
_DAY = 86_400.0


class Writer(Protocol):
    """A function that appends uint8 images (n, size, size, 3) to an entry of the cache."""

    def __call__(self, images: np.ndarray) -> None:
        """Append images."""

    def restart(self) -> None:
        """Forget the images so far."""


def cached(
    cache_dir: Path,
    made_of: dict[str, Any],
    size: int,
    count: int,
    build: Callable[[Writer], dict[str, Any]],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the images that `build` writes, from the cache when its sources are unchanged.

    An entry is a folder with images.npy and manifest.json. Its name is a digest of `made_of`, so a
    changed file leads to another entry, and the outdated one is removed. An entry is written under
    another name and renamed: no process sees half of one. Of several processes that need the same
    entry, one writes and the others wait for it; where no lock can be had, all write and
    the first wins.

    Args:
        cache_dir: Folder of all entries; created when needed.
        made_of: The sources of the images, for JSON: "root" (folder or archive) and "files"
            (names, sizes, times); image size and format version are added here.
        size: Side of the images in pixels.
        count: Images that `build` writes at most.
        build: Gets a function that appends uint8 images (n, size, size, 3), and returns notes that
            are kept with them, for JSON.

    Returns:
        The memory map, uint8 (N, size, size, 3), read only, and the notes.

    Raises:
        OSError: The folder cannot be written, or its disk is full; the message names it.
    """
    made_of = {"version": VERSION, "image_size": size, **made_of}
    family = _digest({**made_of, "files": None})
    entry = cache_dir / f"{family}-{_digest(made_of)}"
    stored = _open(entry)
    if stored is None:
        with named(cache_dir):
            cache_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # no lock file can be made: see above
                stack.enter_context(files.exclusive_lock(cache_dir / f".lock-{family}"))
            stored = _open(entry) or _make(entry, cache_dir, made_of, count, build)
    return stored


def _make(
    entry: Path,
    cache_dir: Path,
    made_of: dict[str, Any],
    count: int,
    build: Callable[[Writer], dict[str, Any]],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Write the entry, remove the outdated ones of the same root, and open it."""
    size = made_of["image_size"]
    with named(cache_dir):
        refuse_if_full(cache_dir, count * size * size * 3)
        _remove_abandoned(cache_dir)
        scratch = cache_dir / f".writing-{uuid.uuid4().hex}"
        scratch.mkdir()
    try:
        _write(scratch, cache_dir, made_of, size, count, build)
        with named(cache_dir):
            _move(scratch, entry)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for stale in cache_dir.glob(f"{entry.name.partition('-')[0]}-*"):
        if stale != entry:
            shutil.rmtree(stale, ignore_errors=True)
    stored = _open(entry)
    if stored is None:
        raise OSError(f"the cache in {cache_dir} cannot be read back after writing")
    return stored


def _digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _open(entry: Path) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return images and notes of a complete entry; None when it is missing or damaged."""
    try:
        manifest = json.loads((entry / "manifest.json").read_text("ascii"))
        images = np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False)
        if list(images.shape) == manifest["shape"]:
            return images, manifest["notes"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write(
    scratch: Path,
    cache_dir: Path,
    made_of: dict[str, Any],
    size: int,
    count: int,
    build: Callable[[Writer], dict[str, Any]],
) -> None:
    # Plain writes, not a writable memory map: on a full disk they raise, a map kills the process.
    with (scratch / "images.npy").open("wb") as file:
        writer = _ImagesFile(file, cache_dir, _header(count, size))
        notes = build(writer)
        written = writer.written
        with named(cache_dir):
            file.seek(0)
            file.write(_header(written, size, writer.room))
            file.flush()
    manifest = {**made_of, "shape": [written, size, size, 3], "notes": notes}
    with named(cache_dir):
        (scratch / "manifest.json").write_text(json.dumps(manifest), "ascii")


class _ImagesFile:
    """A file of images behind room for a header, which is written last."""

    def __init__(self, file: BinaryIO, cache_dir: Path, header: bytes) -> None:
        self._file, self._cache_dir, self._header = file, cache_dir, header
        self.restart()

    @property
    def room(self) -> int:
        """Bytes of the header."""
        return len(self._header)

    def restart(self) -> None:
        """Forget the images so far."""
        self.written = 0
        with named(self._cache_dir):
            self._file.seek(0)
            self._file.truncate()
            self._file.write(self._header)

    def __call__(self, images: np.ndarray) -> None:
        """Append images."""
        with named(self._cache_dir):
            self._file.write(np.ascontiguousarray(images, np.uint8).data)
        self.written += len(images)


def _header(count: int, size: int, length: int = 0) -> bytes:
    """Return the header of a .npy file, format 1.0, padded to at least `length` bytes."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {size}, {size}, 3), }}"
    length = length or (10 + len(text) + 1 + 63) // 64 * 64
    body = text.ljust(length - 10 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("ascii")


def _move(scratch: Path, entry: Path) -> None:
    for _ in range(2):
        try:
            os.replace(scratch, entry)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.EPERM):
                raise
            if _open(entry) is not None:
                return  # another process was faster
            shutil.rmtree(entry, ignore_errors=True)  # damaged
    raise OSError(f"{entry} cannot be replaced")


def _remove_abandoned(cache_dir: Path) -> None:
    """Remove half-written entries of processes that were killed a day ago or earlier."""
    for scratch in cache_dir.glob(".writing-*"):
        with contextlib.suppress(OSError):
            if scratch.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(scratch, ignore_errors=True)


def refuse_if_full(cache_dir: Path, needed: int) -> None:
    """Refuse to begin a file for which the disk has no room.

    Raises:
        OSError: With the bytes that are needed and free.
    """
    free = shutil.disk_usage(cache_dir).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")


@contextlib.contextmanager
def named(cache_dir: Path, what: str = "decoded images") -> Iterator[None]:
    """Turn an OSError inside into one that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = "its disk is full" if full else "it cannot be written"
        raise OSError(
            f"the {what} go to cache_dir={cache_dir}, but {problem} "
            f"({error.strerror or error}); choose another with cache_dir=FOLDER or the variable "
            "IMBALANCE_STUDY_CACHE"
        ) from error
