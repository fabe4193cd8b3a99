"""Listings of images: a folder of class folders, a zip file of one, or any files and folders."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbalance_study.data.formats import ENDINGS
from imbalance_study.data.report import Finding

_SYSTEM = ("__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini")


class Entry(NamedTuple):
    """An image file, with values that show whether it has changed."""

    name: str  # relative to the root, with slashes
    size: int  # bytes
    stamp: int  # modification time in ns; the CRC in a zip file


@dataclass(frozen=True)
class Tree:
    """All image files and folders below a root; hidden ones are left out."""

    root: Path
    entries: list[Entry]
    folders: set[str]
    others: list[str] = field(default_factory=list)  # names of files of other endings

    def children(self, folder: str) -> list[str]:
        """Return the names of the folders directly in `folder` ("" is the root), sorted."""
        above = f"{folder}/" if folder else ""
        names = (name[len(above) :] for name in self.folders if name.startswith(above))
        return sorted(name for name in names if name and "/" not in name)

    def place(self, folder: str) -> str:
        """Return the path of a folder below the root, for messages."""
        return f"{self.root}/{folder}" if folder else str(self.root)


@dataclass(frozen=True)
class Listing:
    """Labelled image files, not yet decoded."""

    root: Path  # the folder, or the zip file
    origin: Path  # the root, or the csv file that lists the images
    entries: list[Entry]
    labels: np.ndarray  # (N,) int64
    parts: np.ndarray  # (N,) int8, positions in part_names.PARTS
    class_names: tuple[str, ...]  # (C,)
    groups: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # (N,) or (0,)
    findings: tuple[Finding, ...] = ()  # for the report


def is_image(name: str) -> bool:
    """Return whether the name's ending is that of an image."""
    return name.lower().endswith(ENDINGS)


def scan_folder(root: Path) -> Tree:
    """List the images below a folder with sizes and times; one system call for each image.

    Raises:
        ValueError: A symbolic link leads out of the folder; it is named.
    """
    tree = Tree(root, [], set())
    real_root = os.path.realpath(root)
    todo: list[tuple[str, str, frozenset[str]]] = [(str(root), "", frozenset())]
    while todo:
        path, prefix, linked = todo.pop()
        with os.scandir(path) as items:
            for item in items:
                name = prefix + item.name
                if _ignored(item.name):
                    continue
                came_by = linked
                if item.is_symlink() and (item.is_dir() or is_image(name)):
                    target = refuse_outside(item.path, real_root)
                    if target in linked or within(os.path.realpath(path), target):
                        continue  # a loop
                    came_by = linked | {target}
                if item.is_dir():
                    tree.folders.add(name)
                    todo.append((item.path, f"{name}/", came_by))
                elif is_image(name):
                    tree.entries.append(_entry(name, item))
                else:
                    tree.others.append(name)
    tree.entries.sort()
    return tree


def _entry(name: str, item: os.DirEntry[str]) -> Entry:
    try:
        stat = item.stat()
    except OSError:  # a dangling link: listed, so that decoding names it as a bad image
        return Entry(name, 0, 0)
    return Entry(name, stat.st_size, stat.st_mtime_ns)


def refuse_outside(path: str, real_root: str) -> str:
    """Return the real path of a file or folder, which must lie in `real_root`.

    Raises:
        ValueError: It lies outside; the path is named.
    """
    real = os.path.realpath(path)
    if not within(real, real_root):
        raise ValueError(f"{path} leads out of the data folder, to {real}: copy the files into it")
    return real


def within(path: str, folder: str) -> bool:
    """Return whether the real path lies in the real folder, or is it."""
    return (path + os.sep).startswith(folder.rstrip(os.sep) + os.sep)


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM


def scan_zip(path: Path) -> Tree:
    """List the images in a zip file; nothing is unpacked.

    Raises:
        ValueError: It is no zip file, or a damaged one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is no complete zip file: {error}") from error
    tree = Tree(path, [], set())
    for member in members:
        pieces = member.filename.rstrip("/").split("/")
        if any(_ignored(piece) for piece in pieces):
            continue
        depth = len(pieces) + member.is_dir()
        tree.folders.update("/".join(pieces[:end]) for end in range(1, depth))
        if not member.is_dir() and is_image(member.filename):
            tree.entries.append(Entry(member.filename, member.file_size, member.CRC))
        elif not member.is_dir():
            tree.others.append(member.filename)
    tree.entries.sort()
    return tree


def find_images(paths: Sequence[str]) -> list[Path]:
    """List image files: those named, and those in the folders named that end as images do, sorted.

    Raises:
        ValueError: A path does not exist, or there is no image.
    """
    named = {Path(path).expanduser() for path in paths}
    images = [file for file in walk_files(paths) if is_image(file.name) or file in named]
    if not images:
        raise ValueError(
            f"there are no images in {', '.join(paths)}; known endings: {' '.join(ENDINGS)}"
        )
    return images


def walk_files(paths: Sequence[str]) -> Iterator[Path]:
    """Yield files of any ending, each once: those named, and those in the folders named.

    Files of a folder are sorted by path; hidden files and links to folders are left out. Memory
    holds no more than the names in the folders on the way down.

    Raises:
        ValueError: A path does not exist, or a folder cannot be read.
    """
    named = [Path(path).expanduser() for path in paths]
    for path in named:
        if not path.exists():
            raise ValueError(f"there is no image or folder {path}")
    visited: set[Path] = set()
    for path in named:
        real = path.resolve()
        if not visited & {real, *real.parents}:
            yield from _walk(path, real, visited) if path.is_dir() else (path,)
            visited.add(real)


def _walk(folder: Path, real: Path, visited: set[Path]) -> Iterator[Path]:
    """Yield the files in a folder, without files and folders that were visited before."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"the folder {folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if _ignored(entry.name) or real / entry.name in visited:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, real / entry.name, visited)
        elif not entry.is_dir():
            yield folder / entry.name


# Bidirectional classes of the signs that turn the direction of a text.
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def readable(name: str) -> str:
    """Return the name with line breaks, other controls and bytes that are no UTF-8 replaced.

    Signs that turn the direction of a text count as controls.

    So it can be printed on one line and logged.
    """
    if name.isprintable():
        return name
    return "".join("\ufffd" if _is_control(sign) else sign for sign in name)


def _is_control(sign: str) -> bool:
    return (
        unicodedata.category(sign) in ("Cc", "Cs") or unicodedata.bidirectional(sign) in _DIRECTIONS
    )
