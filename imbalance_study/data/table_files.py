"""Files that the cells of a table name: as they stand, or found by their names in the folder."""

from __future__ import annotations

import functools
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from imbalance_study.data.image_folder import Entry, is_image, within
from imbalance_study.data.report import Finding, listed


class Found(NamedTuple):
    """The file of a cell."""

    entry: Entry
    missing: bool = False
    by_name: bool = False  # found in another folder, or with another ending


class Files:
    """Finds the files of cells below a folder.

    A cell that names no file as it stands is searched by its name: without the folders before it,
    with any ending of an image, whatever the case. Where other cells have the same name, its folder
    must be of the same name too.

    Args:
        root: The real path of the folder.
        cells: All cells of the table.
    """

    def __init__(self, root: str, cells: Iterable[str] = ()) -> None:
        self._root = root
        self._cells = Counter(_pieces(cell)[-1:] for cell in cells)
        self._real = functools.cache(os.path.realpath)

    def find(self, cell: str) -> Found:
        """Return the file that a cell names.

        Raises:
            ValueError: It is a folder, it leads out of the root, or the name is there twice.
        """
        for text in dict.fromkeys((cell, cell.replace("\\", "/"))):
            entry = self._as_it_stands(text)
            if entry is not None:
                return Found(entry)
        pieces = _pieces(cell)
        name = self._by_name(pieces) if pieces else None
        if name is None:
            return Found(Entry(cell, 0, 0), missing=True)
        entry = self._as_it_stands(name)
        return Found(entry or Entry(name, 0, 0), missing=entry is None, by_name=True)

    def _as_it_stands(self, cell: str) -> Entry | None:
        folder, file = os.path.split(os.path.join(self._root, cell))
        try:
            real = os.path.join(self._real(folder), file)
            status = os.lstat(real)
            if stat.S_ISLNK(status.st_mode):
                real = os.path.realpath(real)
                status = os.stat(real)
        except OSError:
            return None
        if not within(real, self._root):
            raise ValueError(f"{cell!r} leads out of {self._root}")
        if stat.S_ISDIR(status.st_mode):
            raise ValueError(f"{cell!r} is a folder")
        name = real[len(self._root.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
        return Entry(name, status.st_size, status.st_mtime_ns)

    def _by_name(self, pieces: tuple[str, ...]) -> str | None:
        names, stems = self._index
        name = _plain(pieces[-1])
        found = names.get(name) or stems.get(name) or stems.get(os.path.splitext(name)[0]) or []
        above = [piece.lower() for piece in pieces[:-1]]
        ranks = [_common_tail(above, one.lower().split("/")[:-1]) for one in found]
        elsewhere = above and max(ranks, default=0) == 0  # in a folder of another name
        if elsewhere and (len(found) > 1 or self._cells[pieces[-1:]] > 1):
            return None
        found = [one for one, rank in zip(found, ranks, strict=True) if rank == max(ranks)]
        if len(found) > 1:
            raise ValueError(f"{pieces[-1]!r} is in two places: {listed(found, 2)}")
        return found[0] if found else None

    @functools.cached_property
    def _index(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return the images below the root by their names, and by these without the endings."""
        names: dict[str, list[str]] = {}
        stems: dict[str, list[str]] = {}
        for folder, below, files in os.walk(self._root):
            below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
            inner = os.path.relpath(folder, self._root).replace(os.sep, "/")
            for file in files:
                if is_image(file) and not file.startswith("."):
                    path = file if inner == "." else f"{inner}/{file}"
                    names.setdefault(_plain(file), []).append(path)
                    stems.setdefault(os.path.splitext(_plain(file))[0], []).append(path)
        return names, stems


def _plain(name: str) -> str:
    """Return a name in small letters; one accent has two forms, and file systems differ in it."""
    return unicodedata.normalize("NFC", name).lower()


def _pieces(cell: str) -> tuple[str, ...]:
    """Return the folders and the name in a cell, with slashes of either kind."""
    pieces = cell.replace("\\", "/").split("/")
    return tuple(piece for piece in pieces if piece not in ("", "."))


def _common_tail(one: list[str], other: list[str]) -> int:
    """Count the folders at the end that two paths have in common."""
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count


def report(root: str, found: Iterable[Found]) -> list[Finding]:
    """Say which files were found by name, and which images beside them no row names."""
    files = list(found)
    folders = Counter(_folder(one.entry.name) for one in files if not one.missing)
    searched = Counter(_folder(one.entry.name) for one in files if one.by_name)
    findings = []
    if searched:
        shown = listed([f"{folder or '.'} {count:,}" for folder, count in searched.items()])
        text = f"{searched.total():,} of {len(files):,} files were found by their names, in {shown}"
        findings.append(Finding("layout", text, searched.total()))
    named = {one.entry.name for one in files}
    beside: Counter[str] = Counter()
    for folder in folders:
        for file in os.listdir(os.path.join(root, folder)):
            name = f"{folder}/{file}" if folder else file
            if is_image(file) and not file.startswith(".") and name not in named:
                beside[folder] += 1
    if beside:
        shown = listed([f"{folder or '.'} {count:,}" for folder, count in beside.items()])
        text = f"{beside.total():,} images that no row names, in {shown}"
        findings.append(Finding("not used", text, beside.total()))
    return findings


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
