"""Records of a comparison: a finished run as MLflow stores it, and the result over all runs."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Curve(NamedTuple):
    """A metric over the epochs."""

    steps: npt.NDArray[np.int64]  # (E,) finished epochs
    values: npt.NDArray[np.float64]  # (E,)


class StoredPredictions(NamedTuple):
    """Class probabilities of the test images, read from the run's Parquet file."""

    indices: npt.NDArray[np.int64]  # (N,) into the image set, ascending
    targets: npt.NDArray[np.int64]  # (N,)
    probs: npt.NDArray[np.floating[Any]]  # (N, C)


class StoredEmbedding(NamedTuple):
    """Two-dimensional coordinates of features, read from the run's Parquet file."""

    indices: npt.NDArray[np.int64]  # (K,) into the image set
    targets: npt.NDArray[np.int64]  # (K,)
    points: npt.NDArray[np.floating[Any]]  # (K, 2)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A finished run, read from MLflow."""

    run_id: str
    configuration: str  # its label in this comparison, as "loss=focal:gamma=1"
    seed: int
    metrics: dict[str, float]  # final ones: "test/macro_f1", "selected_val/...", "cost/...", ...
    curves: dict[str, Curve]
    class_names: tuple[str, ...]  # (C,)
    train_counts: npt.NDArray[np.int64]  # (C,) training images of each class
    fingerprint: str  # of data and split
    epochs: int  # trained
    images_seen: int
    steps: int
    test: StoredPredictions | None = None
    tsne: StoredEmbedding | None = None
    params: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of training
    threads: int = 0  # that computed it on a processor; 0: unknown, or a GPU computed it


@dataclasses.dataclass
class Comparison:
    """Result of a comparison. Names are those of the artifacts, without their ending."""

    tables: dict[str, dict[str, list[Any]]] = dataclasses.field(default_factory=dict)  # columns
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)  # matplotlib Figures
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    verdict: str = ""  # the answer in one sentence
    inference: str = ""  # what the networks cost at inference, once for equal ones
    findings: list[str] = dataclasses.field(default_factory=list)  # the most important one first
    marks: list[str] = dataclasses.field(default_factory=list)  # why some are not comparable
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)  # see docs/json.md
    page: str = ""  # the interactive page; empty where none was made
