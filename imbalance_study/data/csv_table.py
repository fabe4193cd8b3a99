"""Tables of labelled images, as csv files: one, or one for each part.

`csv_reading` reads the text, `csv_columns` finds the columns, `table_files` the files.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imbalance_study.data import csv_columns, csv_reading, labels, table_files
from imbalance_study.data.csv_columns import Columns, Table
from imbalance_study.data.folder_layout import fold_words
from imbalance_study.data.image_folder import Listing
from imbalance_study.data.part_names import PART_WORDS, PARTS, fold_of, part_of
from imbalance_study.data.report import Finding, listed

_NAMED = 5  # missing files in a message


class Row(NamedTuple):
    """One image of a table."""

    place: str  # of the row, for messages: path and line
    path: str
    label: str
    part: int  # position in PARTS
    group: str


def list_table(
    data_dir: Path,
    *,
    columns: str = "auto",
    on_bad_image: str = "error",
    test_fold: int | None = None,
) -> Listing:
    """Read a table, or those of a folder; paths are relative to its folder, and stay in it.

    Classes are the labels in alphabetical order, or by value where all are whole numbers. Images of
    one group are of one part.

    Args:
        data_dir: The table, or its folder.
        columns: See `csv_columns.parse`.
        on_bad_image: "skip" leaves files out that do not exist.
        test_fold: Number of the fold that is the test part; by default the lowest.

    Raises:
        ValueError: Naming table and line: a missing column or value, a row with too many fields, a
            file that lies elsewhere or has two labels, an unknown part, a group in two parts, a
            label that holds several, fewer than two classes, a class without a training image.
    """
    chosen = csv_columns.parse(columns)
    sources, findings = csv_reading.sources(data_dir, chosen)
    rows: list[Row] = []
    for source in sources:
        table = csv_reading.read(source.path)
        found = csv_columns.find(table, chosen)
        findings.append(Finding("layout", found.words))
        rows += _rows(table, found, source.part, test_fold, findings)
    path = sources[0].path if len(sources) == 1 else data_dir
    labels.refuse_several([(row.place, row.label) for row in rows])
    rows, files = _files(path, sources[0].path.parent, rows, on_bad_image, findings)
    rows = _parts_of_folders(rows, files, findings)
    return _listing(path, sources[0].path.parent, rows, files, findings)


def _listing(
    path: Path,
    root: Path,
    rows: Sequence[Row],
    files: Sequence[table_files.Found],
    findings: list[Finding],
) -> Listing:
    counts = Counter(row.label for row in rows)
    names = _ordered(set(counts))
    if len(names) < 2:
        raise ValueError(f"{path} must have at least two labels, found: {listed(names) or 'none'}")
    findings += labels.near_equal(names, counts)
    number = {name: label for label, name in enumerate(names)}
    targets = np.array([number[row.label] for row in rows], np.int64)
    parts = np.array([row.part for row in rows], np.int8)
    for label, name in enumerate(names):
        if not (parts[targets == label] == 0).any():
            raise ValueError(f"{path}: label {name!r} has no image of the training part")
    groups = _groups(rows)
    order = sorted(range(len(rows)), key=lambda position: files[position].entry.name)
    return Listing(
        root,
        path,
        [files[position].entry for position in order],
        targets[order],
        parts[order],
        tuple(names),
        groups[order] if len(groups) else groups,
        tuple(findings),
    )


def _rows(
    table: Table,
    columns: Columns,
    part: int | None,
    test_fold: int | None,
    findings: list[Finding],
) -> list[Row]:
    parts = _parts(table, columns, part, test_fold, findings)
    rows, alone = [], 0
    for (line, cells), of in zip(table.rows, parts, strict=True):
        place = f"{table.path}, line {line}"
        if not cells[columns.path]:
            raise ValueError(f"{place}: column {table.header[columns.path]!r} is empty")
        group = "" if columns.group is None else cells[columns.group]
        if columns.group is not None and labels.is_empty(group):
            if "group" in columns.given:
                raise ValueError(f"{place}: column {table.header[columns.group]!r} is empty")
            alone += 1
            group = f"\0{place}"  # a group of its own
        rows.append(
            Row(place, cells[columns.path], _label(table, columns, place, cells), of, group)
        )
    findings += labels.near_groups({row.group for row in rows})
    if alone and columns.group is not None:
        text = f"{alone:,} rows have no {table.header[columns.group]}: each is a group of its own"
        findings.append(Finding("layout", text, alone))
    return rows


def _label(table: Table, columns: Columns, place: str, cells: list[str]) -> str:
    if len(columns.labels) == 1:
        at = columns.labels[0]
        labels.refuse_empty(cells[at], f"{place}: column {table.header[at]!r}")
        return cells[at]
    ones = [table.header[at] for at in columns.labels if cells[at].lower() in csv_columns.ONE]
    if len(ones) == 1:
        return ones[0]
    names = listed([table.header[at] for at in columns.labels])
    if not ones:
        raise ValueError(f"{place}: none of the columns {names} is 1, so the image has no label")
    raise ValueError(f"{place}: {listed(ones)} are 1. {labels.SINGLE}")


def _parts(
    table: Table,
    columns: Columns,
    part: int | None,
    test_fold: int | None,
    findings: list[Finding],
) -> list[int]:
    """Return the part of each row: by its column, else by the name of the table."""
    if columns.split is None:
        if part is not None:
            findings.append(Finding("layout", f"{table.path.name} is the {PART_WORDS[part]} part"))
        _refuse_no_folds(table, test_fold)
        return [part or 0] * len(table.rows)
    cells = [cells[columns.split] for _, cells in table.rows]
    folds = {cell: _fold(cell) for cell in cells}
    if all(fold is not None for fold in folds.values()) and cells:
        return _folds(table, [folds[cell] or 0 for cell in cells], test_fold, findings)
    _refuse_no_folds(table, test_fold)
    found = []
    for (line, _), cell in zip(table.rows, cells, strict=True):
        part = part_of(cell)
        if part is None:
            named = f"{table.path}, line {line}: column {table.header[columns.split]!r}"
            rule = f"must be one of {', '.join(PARTS)}, got {cell!r}" if cell else "is empty"
            raise ValueError(f"{named} {rule}")
        found.append(part)
    return found


def _fold(cell: str) -> int | None:
    return int(cell) if cell.isdecimal() else fold_of(cell)


def _folds(
    table: Table, folds: list[int], test_fold: int | None, findings: list[Finding]
) -> list[int]:
    known = sorted(set(folds))
    test = known[0] if test_fold is None else test_fold
    if test not in known or len(known) < 2:
        raise ValueError(
            f"test_fold must be one of {', '.join(map(str, known))}, the folds in {table.path}, "
            f"of which there must be two or more; got {test}"
        )
    findings.append(Finding("layout", fold_words(test, len(known))))
    return [2 if fold == test else 0 for fold in folds]


def _refuse_no_folds(table: Table, test_fold: int | None) -> None:
    if test_fold is not None:
        raise ValueError(f"test_fold={test_fold} has no effect: {table.path} has no folds")


def _files(
    path: Path, folder: Path, rows: list[Row], on_bad_image: str, findings: list[Finding]
) -> tuple[list[Row], list[table_files.Found]]:
    """Find the file of each row; rows that repeat one are dropped.

    Raises:
        ValueError: Files that do not exist, unless they may be skipped; a file of two labels.
    """
    files = table_files.Files(os.path.realpath(folder), [row.path for row in rows])
    first: dict[str, Row] = {}
    kept, found, missing, again = [], [], [], 0
    for row in rows:
        try:
            file = files.find(row.path)
        except ValueError as error:
            raise ValueError(f"{row.place}: {error}") from error
        other = first.setdefault(file.entry.name, row)
        if other is not row:
            if other[2:] != row[2:]:
                raise ValueError(
                    f"{row.place}: {row.path!r} came before, in {_seen_from(row, other)}, with "
                    f"another label, part or group. {labels.SINGLE}"
                )
            again += 1
            continue
        if file.missing:
            missing.append(row)
        kept.append(row)
        found.append(file)
    if missing and (on_bad_image != "skip" or len(missing) == len(kept)):
        raise _not_there(path, folder, missing, len(kept))
    if again:
        text = f"{again:,} rows that repeat the image and the label of another are read once"
        findings.append(Finding("layout", text, again))
    findings += table_files.report(os.path.realpath(folder), found)
    return kept, found


def _seen_from(row: Row, other: Row) -> str:
    """Return the place of another row, without the table where it is the same."""
    table, _, line = other.place.rpartition(", ")
    return line if row.place.startswith(f"{table}, ") else other.place


def _not_there(path: Path, folder: Path, missing: list[Row], count: int) -> ValueError:
    named = [f"{row.path!r} ({row.place.rpartition(', ')[2]})" for row in missing]
    way = "; on_bad_image=skip leaves them out" if len(missing) < count else ""
    return ValueError(
        f"{path}: {len(missing):,} of {count:,} files are not in {folder}, under any folder or "
        f"ending of an image: {listed(named, _NAMED)}{way}"
    )


def _parts_of_folders(
    rows: list[Row], files: list[table_files.Found], findings: list[Finding]
) -> list[Row]:
    """Take the parts from folders like train and test, where the table has none."""
    if any(row.part for row in rows):
        return rows
    parts = []
    for file in files:
        found = [
            part for name in file.entry.name.split("/")[:-1] if (part := part_of(name)) is not None
        ]
        parts.append(found[0] if found else None)
    if None in parts or len(set(parts)) < 2 or 0 not in parts:
        return rows
    findings.append(Finding("layout", "the parts are those of the folders of the files"))
    return [row._replace(part=part or 0) for row, part in zip(rows, parts, strict=True)]


def _ordered(names: set[str]) -> list[str]:
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)


def _groups(rows: Sequence[Row]) -> np.ndarray:
    if not any(row.group for row in rows):
        return np.empty(0, np.int64)
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.group, row)
        if other.part != row.part:
            raise ValueError(
                f"{row.place}: group {row.group!r} is in part {PARTS[row.part]} here and "
                f"{PARTS[other.part]} in {_seen_from(row, other)}; csv_columns=group:none "
                "reads no groups"
            )
    number = {name: position for position, name in enumerate(sorted(first))}
    return np.array([number[row.group] for row in rows], np.int64)
