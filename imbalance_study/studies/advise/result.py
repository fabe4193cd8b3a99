"""The finished advice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from imbalance_study.studies.advise.next_step import NextStep


@dataclasses.dataclass(frozen=True)
class Advice:
    """An advice on one image set.

    The tables are DataFrames, scores larger is better (a cost is negative).
    """

    verdict: list[str]  # five sentences: data, remedy, certainty and cost, images, next
    baseline: str
    best: str  # the remedy of the largest mean
    choice: str  # the remedy to use: the best one where it probably beats the baseline
    proven: bool  # the best one beats the baseline (Holm-corrected p below 0.05)
    early: bool  # fewer than fifteen repeats: no probabilities
    repeats: int
    metric: str
    data: pd.DataFrame  # kind, part, class, count, text: the report of the images
    remedies: pd.DataFrame  # a row for each remedy, the best first
    left_out: dict[str, str]  # remedy that could not be tried -> reason
    classes: pd.DataFrame  # class, images, recall of baseline and of the choice
    images: pd.DataFrame  # gain from 20 and 100 more images of each class
    suspects: pd.DataFrame  # labels that look wrong, the most suspicious first
    rules: pd.DataFrame  # decisions after the training
    thresholds: pd.DataFrame  # of each class, for the choice
    rejection: pd.DataFrame
    sets: pd.DataFrame  # conformal sets by class
    next: NextStep
    seconds: dict[str, float]  # of each stage
    figures: dict[str, Any]  # matplotlib figures
    folder: Path | None = None  # of the pages
    run_id: str = ""  # in MLflow
    links: list[str] = dataclasses.field(default_factory=list)  # lines that lead to the run

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name, as they are written to files and to MLflow."""
        first = ("remedies", "classes", "images", "suspects")
        return {
            name: getattr(self, name)
            for name in (*first, "rules", "thresholds", "rejection", "sets")
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything but figures, for JSON."""
        plain = ("verdict", "baseline", "best", "choice", "proven", "early", "repeats", "metric")
        found: dict[str, Any] = {name: getattr(self, name) for name in plain}
        found |= {"left_out": self.left_out, "seconds": self.seconds, "run_id": self.run_id}
        found["folder"] = str(self.folder) if self.folder else ""
        found["next"] = self.next._asdict()
        for name, table in self.tables.items():
            found[name] = table.astype(object).where(table.notna(), None).to_dict("records")
        return found
