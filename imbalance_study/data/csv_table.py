"""Csv files of labelled images: columns path and label, and optional columns split and group."""

from __future__ import annotations

import csv
import functools
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbalance_study.data.image_folder import Entry, Listing, within
from imbalance_study.data.part_names import PARTS, part_of


class Row(NamedTuple):
    """One image of the table."""

    line: int
    path: str
    label: str
    split: str
    group: str


def find_table(data_dir: Path) -> Path:
    """Return the csv file that `data_dir` is, or the only one in it.

    Raises:
        ValueError: There is none, or more than one.
    """
    if data_dir.is_file():
        return data_dir
    tables = sorted(path for path in data_dir.glob("*.csv") if not path.name.startswith("."))
    if len(tables) == 1:
        return tables[0]
    names = ", ".join(path.name for path in tables) or "none"
    raise ValueError(
        f"dataset=csv needs data_dir to be a csv file, or a folder with exactly one; "
        f"csv files in {data_dir}: {names}"
    )


def list_table(path: Path) -> Listing:
    """Read the table; paths in it are relative to its folder, and stay in it.

    Classes are the labels in alphabetical order, or by value where all are whole numbers. The split
    is train, val (or valid, validation) or test; images of one group are of one split.

    Raises:
        ValueError: Naming line and column: a missing column or value, a file that does not exist,
            lies elsewhere or is listed twice, an unknown split, a group in two splits, fewer than
            two classes, a class without a training image.
    """
    rows = _read(path)
    entries = _entries(path, rows)
    names = _ordered({row.label for row in rows})
    if len(names) < 2:
        listed = ", ".join(names) or "none"
        raise ValueError(f"{path} must have at least two labels in column label, found: {listed}")
    number = {name: label for label, name in enumerate(names)}
    labels = np.array([number[row.label] for row in rows], np.int64)
    parts = np.array([part_of(row.split) for row in rows], np.int8)
    for label, name in enumerate(names):
        if not (parts[labels == label] == 0).any():
            raise ValueError(f"{path}: label {name!r} has no image whose split is train")
    groups = _groups(path, rows)
    order = sorted(range(len(rows)), key=lambda position: entries[position].name)
    return Listing(
        path.parent,
        path,
        [entries[position] for position in order],
        labels[order],
        parts[order],
        tuple(names),
        groups[order] if len(groups) else groups,
    )


def _read(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns = reader.fieldnames or []
            for column in ("path", "label"):
                if column not in columns:
                    existing = ", ".join(columns) or "none"
                    raise ValueError(f"{path} has no column {column!r}; its columns: {existing}")
            return [_row(path, reader.line_num, record, columns) for record in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no csv file: {error}") from error


def _row(path: Path, line: int, record: dict[str, str], columns: Iterable[str]) -> Row:
    for column in ("path", "label", "split", "group"):
        if column in columns and not record[column].strip():
            raise ValueError(f"{path}, line {line}: column {column!r} is empty")
    split = record.get("split", "train").strip().lower()
    if part_of(split) is None:
        raise ValueError(
            f"{path}, line {line}: column 'split' must be one of {', '.join(PARTS)}, "
            f"got {record['split']!r}"
        )
    return Row(
        line,
        record["path"].strip(),
        record["label"].strip(),
        split,
        record.get("group", "").strip(),
    )


def _entries(path: Path, rows: list[Row]) -> list[Entry]:
    root = os.path.realpath(path.parent)
    real_folder = functools.cache(os.path.realpath)
    first: dict[str, int] = {}
    entries = []
    for row in rows:
        cell = f"{path}, line {row.line}: column 'path'"
        folder, file = os.path.split(os.path.join(path.parent, row.path))
        try:
            real = os.path.join(real_folder(folder), file)
            status = os.lstat(real)
            if stat.S_ISLNK(status.st_mode):
                real = os.path.realpath(real)
                status = os.stat(real)
            if not within(real, root):
                raise ValueError(f"{row.path!r} leads out of {root}")
        except OSError as error:
            raise ValueError(f"{cell}: {row.path!r}: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"{cell}: {error}") from error
        if stat.S_ISDIR(status.st_mode):
            raise ValueError(f"{cell}: {row.path!r} is a folder")
        if real in first:
            raise ValueError(f"{cell}: {row.path!r} came before, in line {first[real]}")
        first[real] = row.line
        name = real[len(root.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
        entries.append(Entry(name, status.st_size, status.st_mtime_ns))
    return entries


def _ordered(names: set[str]) -> list[str]:
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def _groups(path: Path, rows: list[Row]) -> np.ndarray:
    if not any(row.group for row in rows):
        return np.empty(0, np.int64)
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.group, row)
        if part_of(other.split) != part_of(row.split):
            raise ValueError(
                f"{path}, line {row.line}: column 'group': {row.group!r} is in split {row.split} "
                f"here and {other.split} in line {other.line}"
            )
    number = {name: position for position, name in enumerate(sorted(first))}
    return np.array([number[row.group] for row in rows], np.int64)
