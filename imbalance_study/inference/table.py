"""Predictions as a table on disk, written in row groups; the file appears when it is complete."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imbalance_study import files
from imbalance_study.files import csv_cell
from imbalance_study.inference.predict import TOP, FilePredictions

Columns = dict[str, list[Any]]
ROW_GROUP = 8_192


def columns_of(chunk: FilePredictions, class_names: Sequence[str], reject_below: float) -> Columns:
    """Make the rows of a chunk, one for each file.

    Returns:
        file, label (None where rejected or not read), probability (of the most probable class),
        rejected, label_1, probability_1, ... (from the most probable class on), and error (None
        where the file was read).
    """
    names = [str(name) for name in class_names]
    ranks = range(chunk.classes.shape[1])
    good = iter(range(len(chunk.images)))
    rows = [None if error else next(good) for error in chunk.errors]
    columns: Columns = {
        "file": list(chunk.files),
        "label": [],
        "probability": [],
        "rejected": [],
        **{f"{kind}_{rank + 1}": [] for rank in ranks for kind in ("label", "probability")},
        "error": [error or None for error in chunk.errors],
    }
    for row in rows:
        best = None if row is None else float(chunk.probs[row, 0])
        rejected = None if best is None else best < reject_below
        sure = row is not None and not rejected
        columns["label"].append(names[chunk.classes[row, 0]] if sure else None)
        columns["probability"].append(best)
        columns["rejected"].append(rejected)
        for rank in ranks:
            label = None if row is None else names[chunk.classes[row, rank]]
            prob = None if row is None else float(chunk.probs[row, rank])
            columns[f"label_{rank + 1}"].append(label)
            columns[f"probability_{rank + 1}"].append(prob)
    return columns


@contextlib.contextmanager
def table(
    path: Path, class_names: Sequence[str], facts: Mapping[str, Any]
) -> Iterator[Callable[[Columns], None]]:
    """Open a table for writing: the result appends columns; the file appears after the context.

    Args:
        path: The file; its ending chooses among ENDINGS.
        class_names: Of the model; their number decides how many columns there are.
        facts: Metadata of a Parquet file, under "imbalance_study" in its schema.

    Raises:
        ValueError: The ending is unknown.
        OSError: The file cannot be written.
    """
    writer = ENDINGS[ending(path)]
    with files.replacing(path) as partial, writer(partial, len(class_names), facts) as write:
        yield write


def ending(path: Path) -> str:
    """Return the ending of a table's name.

    Raises:
        ValueError: It is none of ENDINGS.
    """
    suffix = path.suffix.lower()
    if suffix not in ENDINGS:
        raise ValueError(f"out must end in {' or '.join(ENDINGS)}, got {str(path)!r}")
    return suffix


@contextlib.contextmanager
def _parquet(
    path: Path, num_classes: int, facts: Mapping[str, Any]
) -> Iterator[Callable[[Columns], None]]:
    import pyarrow as pa
    from pyarrow import parquet

    types = _types(num_classes)
    kinds = {str: pa.string(), float: pa.float32(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in types.items()])
    schema = schema.with_metadata({"imbalance_study": json.dumps(dict(facts))})
    buffered: Columns = {name: [] for name in schema.names}

    def flush() -> None:
        writer.write_table(pa.table(buffered, schema))
        for column in buffered.values():
            column.clear()

    def write(columns: Columns) -> None:
        for name, values in columns.items():
            buffered[name] += map(_text, values) if types[name] is str else values
        if len(buffered["file"]) >= ROW_GROUP:
            flush()

    with path.open("wb") as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        yield write
        if buffered["file"]:
            flush()


@contextlib.contextmanager
def _csv(
    path: Path, num_classes: int, facts: Mapping[str, Any]
) -> Iterator[Callable[[Columns], None]]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_types(num_classes))

        def write(columns: Columns) -> None:
            writer.writerows(zip(*(map(_cell, values) for values in columns.values()), strict=True))

        yield write


def _types(num_classes: int) -> dict[str, type]:
    """Return the type of each column, in order."""
    best = {
        f"{name}_{rank + 1}": kind
        for rank in range(min(TOP, num_classes))
        for name, kind in (("label", str), ("probability", float))
    }
    return {
        "file": str,
        "label": str,
        "probability": float,
        "rejected": bool,
        **best,
        "error": str,
    }


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else csv_cell(_text(value))


def _text(value: str | None) -> str | None:
    """Replace bytes of file names that are no text."""
    return value if value is None else value.encode("utf-8", "replace").decode("utf-8")


ENDINGS = {".parquet": _parquet, ".csv": _csv}
