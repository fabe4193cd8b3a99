"""What a report is made of, whatever file it becomes: paragraphs, tables and figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Rows of a table that a page shows; the rest stands in the CSV file beside it.
ROWS = 30


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Plain text; a remark is set apart."""

    text: str
    remark: bool = False


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of sentences."""

    texts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Code:
    """A command, to be copied as it is."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of equal length, of numbers or text."""

    name: str  # of its CSV file
    caption: str
    columns: Mapping[str, Sequence[Any]]
    full: Mapping[str, Sequence[Any]]  # with the columns that are not shown
    limit: int = ROWS
    raw: bool = False  # the columns are names, to be shown as they are

    @property
    def rows(self) -> int:
        """How many there are, shown or not."""
        return len(next(iter(self.columns.values()), ()))

    @property
    def head(self) -> list[str]:
        """The names of the columns, as one reads them."""
        return [_WORDS.get(name, name) if self.raw else words(name) for name in self.columns]

    @property
    def body(self) -> list[list[str]]:
        """The cells of the rows that are shown."""
        shown = list(self.columns.values())
        return [
            [cell(column[row]) for column in shown] for row in range(min(self.rows, self.limit))
        ]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, to be aligned on the right."""
        return [all(_is_number(value) for value in column) for column in self.columns.values()]

    @property
    def note(self) -> str:
        """The caption, and what is not shown."""
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
    """A heading and what stands below it."""

    title: str
    blocks: list[Block] = dataclasses.field(default_factory=list)
    level: int = 2


@dataclasses.dataclass
class Report:
    """A whole report."""

    title: str
    sections: list[Section]

    def all(self, kind: type) -> list[Any]:
        """Its blocks of a kind, in their order."""
        return [block for one in self.sections for block in one.blocks if isinstance(block, kind)]


def table(
    name: str,
    caption: str,
    columns: Mapping[str, Sequence[Any]],
    *,
    only: Iterable[str] = (),
    raw: bool = False,
) -> list[Block]:
    """A table as a list of blocks: none where it has no row.

    Args:
        name: Of its CSV file.
        caption: What it shows.
        columns: Name to values.
        only: Columns to show, those that are there; all when empty. Empty ones are left out.
        raw: The names of the columns are shown as they are.
    """
    chosen = {key: columns[key] for key in only if key in columns} if only else dict(columns)
    filled = {key: values for key, values in chosen.items() if any(map(cell, values))}
    return [Table(name, caption, filled, columns, raw=raw)] if filled else []


def cell(value: Any) -> str:
    """A value as a reader wants it: four digits behind the point, nothing for a missing one."""
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
    """The text without the control characters that no XML may hold."""
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
    "times_baseline_seconds": "x baseline's time",
    "macs": "MACs",
}


def words(name: str) -> str:
    """The name of a column as one reads it."""
    return _WORDS.get(name, clean(name).replace("_", " "))
