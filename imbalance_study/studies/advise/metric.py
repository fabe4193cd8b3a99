"""The metric that decides: of recalls, of F1, or a cost of confusions."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbalance_study.config import fields, spec
from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.metrics import Floats, Ints

SHARES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "worst_recall": "worst recall",
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """A score of confusion matrices, larger is better."""

    name: str
    words: str
    costs: Floats | None = None  # (C, C) of true class and predicted class; None: a share

    @property
    def point(self) -> float:
        """Difference that counts as little: one point of a share, a hundredth of the worst cost."""
        return 0.01 if self.costs is None else 0.01 * float(self.costs.max())

    def score(self, confusion: Ints | Floats) -> Any:
        """Return the score of confusion matrices (..., C, C): an array (...); a cost is negative.

        A mean over classes leaves out those without an image.
        """
        counts = np.asarray(confusion, np.float64)
        if self.costs is not None:
            return -(counts * self.costs).sum((-1, -2)) / np.maximum(counts.sum((-1, -2)), 1)
        scores = metrics.class_scores(counts)
        if self.name == "worst_recall":
            return np.nanmin(scores.recall, -1)
        return np.nanmean(scores.f1 if self.name == "macro_f1" else scores.recall, -1)

    def value(self, score: float) -> str:
        """Write a score: 71.2 %, or a cost of 0.42."""
        return f"{100 * score:.1f} %" if self.costs is None else f"{-score:.3g}"

    def change(self, difference: float) -> str:
        """Write a difference of scores: +2.3 points, or a cost less by 0.1."""
        if self.costs is None:
            return f"{signed(100 * difference)} points"
        return f"{-difference:+.3g}"

    def range(self, low: float, high: float) -> str:
        """Write an interval of differences, without its unit."""
        if self.costs is None:
            return f"{signed(100 * low)} to {signed(100 * high)}"
        return f"{-high:+.3g} to {-low:+.3g}"


def signed(value: float) -> str:
    """Write a number with its sign and one digit; zero has a plus."""
    return f"{round(value, 1) + 0.0:+.1f}"


def percent(share: float, digits: int = 0) -> str:
    """Write a share: 12 %."""
    return f"{100 * share:.{digits}f} %"


def make(text: str, class_names: Sequence[str]) -> Metric:
    """Make the metric that a spec string names.

    Raises:
        ValueError: An unknown metric, or a file of costs that does not fit the classes.
    """
    parsed = spec.parse(text)
    if parsed.name == "cost" and set(parsed.options) == {"file"}:
        costs = _costs(Path(parsed.options["file"]).expanduser(), class_names)
        return Metric("cost", "cost of an image", costs)
    if parsed.name not in SHARES or parsed.options:
        known = [*SHARES, "cost:file=PATH"]
        raise ValueError(fields.unknown(text, known, "metric"))
    return Metric(parsed.name, SHARES[parsed.name])


def _costs(path: Path, class_names: Sequence[str]) -> Floats:
    """Read a matrix of costs: a header of predicted classes, and a row for each true class."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is empty or no text"
        raise ValueError(f"the costs in {path} cannot be read: {reason}") from None
    columns = [name.strip() for name in head[1:]]
    given = {row[0].strip(): row[1:] for row in rows}
    if sorted(columns) != sorted(class_names) or sorted(given) != sorted(class_names):
        raise ValueError(
            f"the costs in {path} need a column and a row for each class "
            f"({', '.join(class_names)}), got columns {', '.join(columns) or 'none'} and rows "
            f"{', '.join(given) or 'none'}"
        )
    try:
        table = [
            [float(given[true][columns.index(one)]) for one in class_names] for true in class_names
        ]
    except (ValueError, IndexError):
        raise ValueError(
            f"the costs in {path} must be numbers, one for each pair of classes"
        ) from None
    costs = np.array(table)
    if (
        not np.isfinite(costs).all()
        or costs.min() < 0
        or not costs.max() > 0
        or np.diag(costs).any()
    ):
        raise ValueError(
            f"the costs in {path} must be at least 0, some above 0, and "
            "0 where the prediction is right"
        )
    return costs
