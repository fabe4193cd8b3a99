"""Input and result of an analysis: a finished training, and the findings about it."""

from __future__ import annotations

import dataclasses
import functools
import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study.config.schema import Config
from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.bootstrap import Interval
from imbalance_study.experiment.setup import seeding
from imbalance_study.experiment.setup.data import Data
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.predict import Predictions
from imbalance_study.training.procedure import Fit, Procedure


class HeatmapOptions(NamedTuple):
    """The layers that heat maps explain, and their colours."""

    layers: str = "auto"  # see `saliency.layers_of`
    colormap: str = "inferno"

    @classmethod
    def of(cls, config: Config) -> HeatmapOptions:
        """Return those of a configuration."""
        return cls(config.gradcam_layers, config.colormap)


@dataclasses.dataclass(frozen=True)
class EvaluationContext:
    """A finished training with its test predictions, as the analyses take it."""

    model: Classifier  # with the weights of the kept epoch, in evaluation mode
    data: Data
    device: torch.device
    procedure: Procedure  # of the last stage
    fit: Fit
    test: Predictions  # with features
    seed: int = 0  # of bootstrap, projections and most samples
    data_seed: int = 0  # of samples that all runs on the same images share
    heatmaps: HeatmapOptions = HeatmapOptions()
    wanted: frozenset[str] = frozenset()  # names of analyses
    umap_warm_up: threading.Thread | None = None  # to be joined before UMAP is used

    @functools.cached_property
    def probs(self) -> npt.NDArray[np.floating[Any]]:
        """Class probabilities of the test images (N, C), as the loss means them."""
        return np.asarray(self.procedure.probabilities(torch.from_numpy(self.test.logits)).numpy())

    @functools.cached_property
    def predictions(self) -> npt.NDArray[np.int64]:
        """Predicted classes of the test images (N,)."""
        return np.asarray(self.probs.argmax(1))

    @functools.cached_property
    def confusion(self) -> npt.NDArray[np.integer[Any]]:
        """Confusion matrix (C, C) of the test images, true classes in rows."""
        return metrics.confusion_matrix(self.test.targets, self.predictions, self.data.num_classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names (C,) in label order."""
        return self.data.image_set.class_names

    def rows(self, positions: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Return the indices into the image set of test images, given their positions (K,)."""
        return np.asarray(self.data.split.test[positions])

    def images(self, positions: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
        """Return raw test images (K, H, W, 3)."""
        return np.asarray(self.data.image_set.images[self.rows(positions)])

    def files(self, positions: npt.NDArray[np.integer[Any]]) -> list[str]:
        """Return the file names of test images (K,)."""
        return [self.data.image_set.files[row] for row in self.rows(positions)]

    def identity(self, positions: npt.NDArray[np.integer[Any]]) -> dict[str, Any]:
        """Return columns of test images: index, file, label, prediction, confidence."""
        return {
            "index": self.rows(positions),
            "file": self.files(positions),
            "label": self.test.targets[positions],
            "prediction": self.predictions[positions],
            "confidence": self.probs[positions].max(1).astype(np.float32),
        }

    def generator(self, purpose: str, *, by_data: bool = False) -> np.random.Generator:
        """Return a source of draws, the same for the same seed (of run or data) and purpose."""
        seed = self.data_seed if by_data else self.seed
        return np.random.default_rng(seeding.seeds(seed)(f"analyses/{purpose}"))


@dataclasses.dataclass
class AnalysisResult:
    """Metrics, tables, figures and notes of an analysis.

    Names are those of the artifacts, without ending.
    """

    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)  # of test metrics
    tables: dict[str, dict[str, list[Any]]] = dataclasses.field(default_factory=dict)  # columns
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)  # matplotlib Figures
    overlays: dict[str, npt.NDArray[np.uint8]] = dataclasses.field(default_factory=dict)
    frames: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)  # long columns
    notes: list[str] = dataclasses.field(default_factory=list)  # reasons for missing parts
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)  # of each analysis

    def add(self, other: AnalysisResult) -> None:
        """Add the findings of another analysis; metrics that are not finite are left out."""
        self.metrics |= {name: value for name, value in other.metrics.items() if np.isfinite(value)}
        for name in ("intervals", "tables", "figures", "overlays", "frames", "seconds"):
            getattr(self, name).update(getattr(other, name))
        self.notes += other.notes
