"""Report of the images of a run: what was found, what is in each part, what was left out.

Readers of data sets, and the checks after them, give findings. The report puts them together for
the dry run, the start of a training, the description of a run, and a table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from imbalance_study.evaluation.intervals import FEW_IMAGES

Kind = Literal[
    "layout",  # what was taken as parts, classes and columns, and why
    "not used",  # files and folders that were passed over
    "left out",  # images that cannot be read
    "labels",  # labels that look like one, or like several
    "copies",  # equal and nearly equal images
    "pixels",  # how pixels were scaled and images made square; images of one colour
    "parts",  # classes without images in a part, or with few
    "options",  # options that do nothing for these images
    "hint",  # options worth trying with these images
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_WORDS = {"train": "training", "val": "validation", "test": "test"}
_WHOLE, _FIRST, _LAST = 20, 10, 5  # classes that a table on the terminal shows
_NAMED = 5  # names in a finding, or lines of a kind
_WIDEST = 40  # letters of a class


class Finding(NamedTuple):
    """One fact about the images: a sentence on one line, without a full stop."""

    kind: Kind
    text: str
    number: int = 0  # images or files that it is about; 0 where it counts none


@dataclasses.dataclass(frozen=True)
class DataReport:
    """The images of each class in each part, and what was found out about them."""

    class_names: tuple[str, ...]  # (C,)
    counts: dict[str, tuple[int, ...]]  # part -> images of each class (C,)
    findings: tuple[Finding, ...] = ()
    copies: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)  # see `leaks.table`

    def with_findings(self, more: Iterable[Finding]) -> DataReport:
        """Return the report with more findings, in the order of KINDS."""
        findings = sorted([*self.findings, *more], key=lambda one: KINDS.index(one.kind))
        return dataclasses.replace(self, findings=tuple(findings))

    def lines(self) -> list[str]:
        """Write the images of each class and part as a table, and a line for each finding."""
        return [*self._table(), *(f"{one.kind:14}  {one.text}" for one in self.findings)]

    def columns(self) -> dict[str, list[Any]]:
        """Return the report as columns: kind, part, class, count, text."""
        columns: dict[str, list[Any]] = {
            name: [] for name in ("kind", "part", "class", "count", "text")
        }

        def add(*row: Any) -> None:
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)

        for part, counts in self.counts.items():
            for name, count in zip(self.class_names, counts, strict=True):
                add("images", part, name, count, "")
        for one in self.findings:
            add(one.kind, "", "", one.number, one.text)
        return columns

    def _table(self) -> list[str]:
        classes = len(self.class_names)
        if classes > _WHOLE:
            shown: list[int] = [*range(_FIRST), *range(classes - _LAST, classes)]
        else:
            shown = list(range(classes))
        names = [_short(self.class_names[row]) for row in shown]
        wide = max(14, *map(len, names))
        titles = [_WORDS[part] for part in self.counts]
        lines = [f"{'class':{wide}}  " + "  ".join(f"{title:>10}" for title in titles)]
        for row, name in zip(shown, names, strict=True):
            numbers = "  ".join(f"{counts[row]:>10,}" for counts in self.counts.values())
            lines.append(f"{name:{wide}}  {numbers}")
        if classes > len(shown):
            lines.insert(1 + _FIRST, f"... {classes - len(shown)} more classes")
        return lines


def make(
    class_names: Sequence[str],
    labels: np.ndarray,
    parts: dict[str, np.ndarray],
    findings: Iterable[Finding] = (),
) -> DataReport:
    """Count the images of each class and part, and name classes that have few or none.

    Args:
        class_names: (C,).
        labels: Of all images (N,).
        parts: Part to indices of its images.
        findings: Of the reader and of other checks.
    """
    counts = {
        part: np.bincount(labels[rows], minlength=len(class_names)) for part, rows in parts.items()
    }
    report = DataReport(
        tuple(class_names), {part: tuple(row.tolist()) for part, row in counts.items()}
    )
    return report.with_findings([*findings, *_thin(class_names, counts)])


def _thin(class_names: Sequence[str], counts: dict[str, np.ndarray]) -> list[Finding]:
    """Name the classes that validation or test lack, and those with few test images."""
    found = []
    for part in ("val", "test"):
        count = counts.get(part, np.zeros(0))
        if not count.sum():
            continue
        lacking = np.flatnonzero(count == 0).tolist()
        if lacking:
            names = listed([class_names[label] for label in lacking])
            means = f"its balanced accuracy is over {len(count) - len(lacking)} of {len(count)}"
            found.append(Finding("parts", f"no {_WORDS[part]} image of {names}; {means} classes"))
    test = counts.get("test", np.zeros(0))
    order = np.argsort(test, kind="stable").tolist()
    few = [label for label in order if 0 < test[label] < FEW_IMAGES]
    if few:
        names = listed([f"{class_names[label]} ({test[label]})" for label in few])
        found.append(Finding("parts", f"fewer than {FEW_IMAGES} test images: {names}"))
    return found


def listed(names: Sequence[str], most: int = _NAMED) -> str:
    """Join names, the first few of many."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def _short(name: str) -> str:
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"
