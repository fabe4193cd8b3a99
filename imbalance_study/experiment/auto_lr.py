"""The learning rate of a Config that leaves it to a range test."""

from __future__ import annotations

import copy
from typing import Any

import torch

from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.evaluation.figures import lr_range_test as lr_range_test_figures
from imbalance_study.experiment.setup import build, procedures, seeding
from imbalance_study.experiment.setup.components import Choices, bind
from imbalance_study.experiment.setup.data import Data, batches_of, load_data
from imbalance_study.experiment.setup.device import DeviceSetup, resolve_device
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import lr_range_test


def range_test(
    config: Config,
    choices: Choices,
    data: Data,
    model: Classifier,
    where: DeviceSetup,
    train: Batches,
) -> lr_range_test.RangeTest:
    """A range test on a copy of the model; nothing of what is given changes.

    Raises:
        ValueError: See `lr_finder.range_test`.
    """

    def seeds(purpose: str) -> int:
        return seeding.seeds(config.seed)(f"lr_finder/{purpose}")

    twin = copy.deepcopy(model)
    procedure = procedures.first(config, choices, data, twin, where)
    return lr_range_test.range_test(twin, train, procedure, seeds=seeds)


def find(config: Config) -> lr_range_test.RangeTest:
    """A range test for a configuration, without training it.

    Raises:
        ValueError: Something in the configuration or the data is wrong; the message says what.
    """
    choices = bind(config)
    where = resolve_device(config)
    data = load_data(config, choices)
    devices = [where.device] if where.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        model = build.build_model(config, data, where)
        train = batches_of(data, "train", config, where.device)
        return range_test(config, choices, data, model, where, train)


def figure(found: lr_range_test.RangeTest) -> Any:
    """The curve and the suggestion."""
    return lr_range_test_figures.range_test(
        found.lrs, found.losses, found.smoothed, found.suggestion
    )
