"""Results of a run, and the records on the way to them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from imbalance_study.config.schema import Config
from imbalance_study.experiment.analyses.context import AnalysisResult
from imbalance_study.experiment.setup.build import RunSetup
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.predict import Predictions
from imbalance_study.training.procedure import EpochResult, Fit, Procedure


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStart(EpochResult):
    """The moment before the first epoch: what is found out and drawn before the training."""

    facts: RunFacts
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)  # name -> Figure


class TrainedStage(NamedTuple):
    """A finished stage of a training."""

    model: Classifier
    procedure: Procedure
    fit: Fit  # with the epochs of the stage before


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """A finished training, judged on validation alone."""

    setup: RunSetup
    stage: TrainedStage  # the last; its model has the weights of the kept epoch, in eval mode
    metrics: dict[str, float]  # final ones, named with their split

    @property
    def config(self) -> Config:
        """The configuration, with a number as batch size."""
        return self.setup.config

    @property
    def data(self) -> Data:
        """The images and their parts."""
        return self.setup.data

    @property
    def facts(self) -> RunFacts:
        """The facts about data, model and machine."""
        return self.setup.facts

    @property
    def model(self) -> Classifier:
        """The model with the weights of the kept epoch, in evaluation mode."""
        return self.stage.model

    @property
    def procedure(self) -> Procedure:
        """The procedure of the last stage."""
        return self.stage.procedure

    @property
    def fit(self) -> Fit:
        """The finished training of all stages."""
        return self.stage.fit

    @property
    def history(self) -> list[EpochResult]:
        """The epochs of all stages."""
        return self.stage.fit.history


@dataclasses.dataclass(frozen=True)
class RunResult(TrainingResult):
    """A finished experiment, evaluated on the test set."""

    test: Predictions  # of the kept epoch
    tables: dict[str, dict[str, list[Any]]]  # name -> columns
    figures: dict[str, Any]  # name -> matplotlib Figure
    checkpoints: dict[str, Path]  # "best", "last", and "stage1" where there were two
    analysis: AnalysisResult  # its metrics, tables and figures are among those above
