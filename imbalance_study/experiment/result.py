"""Results of a run, and the records on the way to them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.experiment.analyses.subject import Analysis
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.loop import EpochResult, Fit, Procedure
from imbalance_study.training.predict import Predictions


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A finished experiment."""

    config: Config
    metrics: dict[str, float]  # final ones, named with their split
    history: list[EpochResult]
    facts: dict[str, Any]
    tables: dict[str, dict[str, list[Any]]]  # name -> columns
    figures: dict[str, Any]  # name -> matplotlib Figure
    model: Classifier  # with the weights of the kept epoch, in evaluation mode
    fit: Fit
    test: Predictions | None  # None where the test set was left unseen
    data: Data
    machine: DeviceSetup
    procedure: Procedure  # of the last stage
    checkpoints: dict[str, Path]  # "best", "last", and "stage1" where there were two
    analysis: Analysis  # its metrics, tables and figures are among those above


class Parts(NamedTuple):
    """The batches of each part; validation may be missing, and the test part left out."""

    train: Batches
    val: Batches | None
    test: Batches | None


class Prepared(NamedTuple):
    """What a training was given."""

    config: Config  # with the batch size that was found
    data: Data
    where: DeviceSetup
    parts: Parts
    facts: dict[str, Any]


class Trained(NamedTuple):
    """A finished stage."""

    model: Classifier
    procedure: Procedure
    fitted: Fit  # with the epochs of the stage before
