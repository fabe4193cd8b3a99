"""Blocks of a report, independent of the file format: paragraphs, tables and figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Rows of a table that a page shows; the CSV file beside it has all.
ROWS = 30


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Plain text; a remark is indented, what is strong stands in bold."""

    text: str
    remark: bool = False
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of sentences."""

    texts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Code:
    """A command line."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of equal length, of numbers or text."""

    name: str  # of its CSV file
    caption: str
    columns: Mapping[str, Sequence[Any]]
    full: Mapping[str, Sequence[Any]]  # with the columns that are not shown
    limit: int = ROWS
    raw: bool = False  # shows the names of the columns unchanged

    @property
    def rows(self) -> int:
        """The number of rows, shown or not."""
        return len(next(iter(self.columns.values()), ()))

    @property
    def head(self) -> list[str]:
        """The names of the columns in words."""
        return [_WORDS.get(name, name) if self.raw else words(name) for name in self.columns]

    @property
    def body(self) -> list[list[str]]:
        """The cells of the shown rows."""
        shown = list(self.columns.values())
        return [
            [cell(column[row]) for column in shown] for row in range(min(self.rows, self.limit))
        ]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, which are aligned on the right."""
        return [all(_is_number(value) for value in column) for column in self.columns.values()]

    @property
    def note(self) -> str:
        """The caption, with a note on rows that are not shown."""
        if self.rows <= self.limit:
            return self.caption
        return (
            f"{self.caption} {self.limit} of {self.rows} rows; all are in tables/{self.name}.csv."
        )


@dataclasses.dataclass(frozen=True)
class Figure:
    """A PNG."""

    name: str  # of its file
    caption: str
    content: bytes


Block = Paragraph | Items | Code | Table | Figure


@dataclasses.dataclass
class Section:
    """A heading with the blocks below it."""

    title: str
    blocks: list[Block] = dataclasses.field(default_factory=list)
    level: int = 2


@dataclasses.dataclass
class Report:
    """A whole report."""

    title: str
    sections: list[Section]
    # Data of the interactive page, one for each data set; see `comparison.interactive.part`.
    parts: Sequence[Mapping[str, Any]] = ()

    def all(self, kind: type) -> list[Any]:
        """List the blocks of a kind, in order."""
        return [block for one in self.sections for block in one.blocks if isinstance(block, kind)]


def table(
    name: str,
    caption: str,
    columns: Mapping[str, Sequence[Any]],
    *,
    only: Iterable[str] = (),
    raw: bool = False,
) -> list[Block]:
    """Make a table as a list of blocks, empty where the table has no row.

    Args:
        name: Name of its CSV file.
        caption: Its caption.
        columns: Name to values.
        only: Names of the columns to show, as far as they exist; all when empty. Columns without
            a value are left out.
        raw: Show the names of the columns unchanged.
    """
    chosen = {key: columns[key] for key in only if key in columns} if only else dict(columns)
    filled = {key: values for key, values in chosen.items() if any(map(cell, values))}
    return [Table(name, caption, filled, columns, raw=raw)] if filled else []


def cell(value: Any) -> str:
    """Write a value: four digits behind the point, nothing for a missing one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if not _is_number(value):
        return clean(str(value))
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    if float(value).is_integer() and (not isinstance(value, float) or abs(value) >= 1000):
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.2f}"
    return f"{value:.2g}" if 0 < abs(value) < 0.001 else f"{value:.4f}"


def _is_number(value: Any) -> bool:
    return hasattr(value, "__float__") and not isinstance(value, bool | str)


def clean(text: str) -> str:
    """Replace the control characters that XML forbids."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


_WORDS = {
    "sd": "sd",
    "low_95": "95 % from",
    "high_95": "to",
    "difference": "to baseline",
    "difference_low_95": "95 % from",
    "difference_high_95": "to",
    "bootstrap_low_95": "95 % from",
    "bootstrap_high_95": "to",
    "mcnemar_p": "McNemar p",
    "p_holm": "p (Holm)",
    "ece": "ECE",
    "macro_f1": "macro F1",
    "train_count": "training images",
    "test_count": "test images",
    "f1": "F1",
    "latency_ms_b1": "latency, ms",
    "latency_ms_b128": "latency of 128, ms",
    "size_mb": "size, MB",
    "peak_memory_mb": "peak memory, MB",
    "train_seconds": "training, s",
    "train_seconds_sd": "sd",
    "peak_memory_mb_sd": "sd",
    "train_kwh": "training, kWh",
    "train_kwh_sd": "sd",
    "train_price": "price of it",
    "times_baseline_seconds": "x baseline's time",
    "time_verdict": "time",
    "shown_from": "shown from",
    "macs": "MACs",
}


def words(name: str) -> str:
    """Write the name of a column in words."""
    return _WORDS.get(name, clean(name).replace("_", " "))
