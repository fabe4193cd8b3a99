"""Csv files as text: the tables of a folder that name images, their separators and fields."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from imbalance_study.data import csv_columns
from imbalance_study.data.csv_columns import Table
from imbalance_study.data.part_names import part_of
from imbalance_study.data.report import Finding, listed

_ENDINGS = (".csv", ".tsv")
_SAMPLE = 100  # rows that show which columns hold 0 and 1
_LONGEST_CELL = 1 << 24


class Source(NamedTuple):
    """A table, and the part that its file name says."""

    path: Path
    part: int | None = None


def sources(data_dir: Path, chosen: dict[str, str]) -> tuple[list[Source], list[Finding]]:
    """Return the table that `data_dir` is, or those in it that name images and labels.

    Of several tables, those count whose names are of parts (``train.csv``, ``Testing_set.csv``),
    else the only one with columns of files and labels.

    Raises:
        ValueError: There is none, or it is not clear which one is meant.
    """
    if data_dir.is_file():
        return [Source(data_dir)], []
    tables = sorted(
        path
        for path in data_dir.iterdir()
        if path.suffix.lower() in _ENDINGS and not path.name.startswith(".")
    )
    if len(tables) == 1:
        return [Source(tables[0])], []
    fitting = [path for path in tables if _fits(path, chosen)]
    of_part: dict[int, list[Path]] = {}
    for path in fitting:
        part = part_of(path.stem)
        if part is not None:
            of_part.setdefault(part, []).append(path)
    if 0 in of_part and all(len(paths) == 1 for paths in of_part.values()):
        used = [Source(paths[0], part) for part, paths in sorted(of_part.items())]
    elif len(fitting) == 1:
        used = [Source(fitting[0])]
    else:
        names = listed([path.name for path in tables], 20) or "none"
        raise ValueError(
            "dataset=csv needs data_dir to be a csv file, or a folder with exactly one that names "
            f"images and labels, or one for each part; csv files in {data_dir}: {names}"
        )
    others = [path.name for path in tables if path not in [source.path for source in used]]
    return used, [Finding("not used", f"tables {listed(others)}")] if others else []


def _fits(path: Path, chosen: dict[str, str]) -> bool:
    """Return whether the first rows of a table show columns of files and labels."""
    try:
        csv_columns.find(read(path, _SAMPLE), chosen)
    except ValueError:
        return False
    return True


def read(path: Path, most: int | None = None) -> Table:
    """Read a table, or its first rows, with commas, semicolons or tabs between the cells.

    Raises:
        ValueError: It is no table in UTF-8, or a row has more or fewer fields than the header.
    """
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            separator = _separator(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            header = [cell.strip() for cell in next(reader, [])]
            rows = (
                (reader.line_num, [cell.strip() for cell in cells])
                for cells in reader
                if any(map(str.strip, cells))
            )
            kept = itertools.islice(_checked(path, header, rows, separator), most)
            return Table(path, header, list(kept))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    except csv.Error as error:
        raise ValueError(f"{path} is no csv file: {error}") from error


def _separator(header: str) -> str:
    try:
        return csv.Sniffer().sniff(header, delimiters=",;\t").delimiter
    except csv.Error:  # one column
        return ","


def _checked(
    path: Path, header: list[str], rows: Iterable[tuple[int, list[str]]], separator: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows; refuse one that has more or fewer fields than the header."""
    for line, cells in rows:
        if len(cells) > len(header) and not any(cells[len(header) :]):
            cells = cells[: len(header)]
        if len(cells) != len(header):
            many = len(cells) > len(header)
            hint = f"; a value with {separator!r} in it needs quotes" if many else ""
            fields = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
            raise ValueError(f"{path}: line {line} has {fields}, the header {len(header)}{hint}")
        yield line, cells
