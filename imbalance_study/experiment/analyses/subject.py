"""What the analyses look at, a finished training, and what they hand back."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.bootstrap import Interval
from imbalance_study.experiment.setup import seeding
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.loop import Fit, Procedure
from imbalance_study.training.predict import Predictions


@dataclasses.dataclass(frozen=True)
class Subject:
    """A finished training with its test predictions, and how to look at it."""

    model: Classifier  # with the weights of the kept epoch, in evaluation mode
    data: Data
    machine: DeviceSetup
    procedure: Procedure
    fitted: Fit
    test: Predictions  # with features
    seed: int = 0  # of bootstrap, projections and most samples
    data_seed: int = 0  # of what is to be the same for all runs on the same images
    gradcam_layers: str = "auto"
    colormap: str = "inferno"
    wanted: frozenset[str] = frozenset()  # names in ANALYSES

    @functools.cached_property
    def probs(self) -> npt.NDArray[np.floating[Any]]:
        """Class probabilities of the test images (N, C), as the loss means them."""
        found = self.procedure.probabilities(torch.from_numpy(self.test.logits)).numpy()
        return np.asarray(found)

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
        """Indices into the image set of test images, which `positions` count."""
        return np.asarray(self.data.split.test[positions])

    def images(self, positions: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
        """Raw test images (K, H, W, 3)."""
        return np.asarray(self.data.image_set.images[self.rows(positions)])

    def files(self, positions: npt.NDArray[np.integer[Any]]) -> list[str]:
        """File names of test images (K,)."""
        return [self.data.image_set.files[row] for row in self.rows(positions)]

    def generator(self, purpose: str, *, by_data: bool = False) -> np.random.Generator:
        """Source of draws, the same for the same seed (of the run, or of its data) and purpose."""
        seed = self.data_seed if by_data else self.seed
        return np.random.default_rng(seeding.seeds(seed)(f"analyses/{purpose}"))


@dataclasses.dataclass
class Analysis:
    """What came out. Names are those of the artifacts, without ending."""

    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)  # of test metrics
    tables: dict[str, dict[str, list[Any]]] = dataclasses.field(default_factory=dict)  # columns
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)  # matplotlib Figures
    overlays: dict[str, npt.NDArray[np.uint8]] = dataclasses.field(default_factory=dict)
    frames: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)  # long columns
    notes: list[str] = dataclasses.field(default_factory=list)  # what could not be done, and why
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)  # that each analysis took

    def add(self, other: Analysis) -> None:
        """Take in what another one found."""
        self.metrics |= {name: value for name, value in other.metrics.items() if np.isfinite(value)}
        for name in ("intervals", "tables", "figures", "overlays", "frames", "seconds"):
            getattr(self, name).update(getattr(other, name))
        self.notes += other.notes
