"""Results of a run, and the records on the way to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from imbalance_study.config.schema import Config
from imbalance_study.data.report import DataReport
from imbalance_study.experiment.analyses.context import AnalysisResult
from imbalance_study.experiment.setup.build import RunSetup
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.features import FeatureParts
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.predict import Predictions
from imbalance_study.training.procedure import EpochResult, Fit, Procedure


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStart(EpochResult):
    """Start of a run, before its first epoch: facts and report of the data.

    `draw` draws the figures of the data: call it when no training waits for them.
    """

    facts: RunFacts
    report: DataReport
    draw: Callable[[], dict[str, Any]] = dict  # name -> Figure


class TrainedStage(NamedTuple):
    """A finished stage of a training."""

    model: Classifier
    procedure: Procedure
    fit: Fit  # with the epochs of the stage before
    features: FeatureParts | None = None  # of its frozen backbone, where its head trained on them
    spent: Mapping[str, float] | None = None  # metrics of energy and memory, as far as known


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A finished training, scored on validation alone."""

    setup: RunSetup
    stage: TrainedStage  # the last; its model has the weights of the kept epoch, in eval mode
    scores: AnalysisResult  # of the kept epoch, and the costs of the training

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics, named with their split."""
        return self.scores.metrics

    @property
    def config(self) -> Config:
        """Configuration, with a number as batch size."""
        return self.setup.config

    @property
    def data(self) -> Data:
        """Images and their parts."""
        return self.setup.data

    @property
    def facts(self) -> RunFacts:
        """Facts about data, model and machine."""
        return self.setup.facts

    @property
    def model(self) -> Classifier:
        """Model with the weights of the kept epoch, in evaluation mode."""
        return self.stage.model

    @property
    def procedure(self) -> Procedure:
        """Procedure of the last stage."""
        return self.stage.procedure

    @property
    def fit(self) -> Fit:
        """Finished training of all stages."""
        return self.stage.fit

    @property
    def history(self) -> list[EpochResult]:
        """Epochs of all stages."""
        return self.stage.fit.history


@dataclasses.dataclass(frozen=True)
class RunResult(TrainingResult):
    """A finished experiment, evaluated on the test set.

    Its `scores` are those of the test set as well, with corrections and curves.
    """

    test: Predictions  # of the kept epoch
    analysis: AnalysisResult  # of all analyses that were asked for
    checkpoints: dict[str, Path]  # "best", "last", and "stage1" where there were two

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics of scores and analyses, named with their split."""
        return self.scores.metrics | self.analysis.metrics

    @property
    def tables(self) -> dict[str, dict[str, list[Any]]]:
        """Tables of analyses and scores: name to columns."""
        return self.analysis.tables | self.scores.tables

    @property
    def figures(self) -> dict[str, Any]:
        """Figures of scores and analyses: name to matplotlib Figure."""
        return self.scores.figures | self.analysis.figures
