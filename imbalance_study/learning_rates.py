"""The learning rate of a Config that leaves it to a range test."""

from __future__ import annotations

import copy
from typing import Any

import torch

from imbalance_study import prepare, stages
from imbalance_study.config import Config
from imbalance_study.data.batches import Batches
from imbalance_study.evaluation import figures_lr
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import lr_finder


def range_test(
    config: Config,
    choices: prepare.Choices,
    data: prepare.Data,
    model: Classifier,
    where: prepare.Machine,
    train: Batches,
) -> lr_finder.RangeTest:
    """A range test on a copy of the model; nothing of what is given changes.

    Raises:
        ValueError: See `lr_finder.range_test`.
    """

    def seeds(purpose: str) -> int:
        return prepare.seeds(config.seed)(f"lr_finder/{purpose}")

    twin = copy.deepcopy(model)
    procedure = stages.first(config, choices, data, twin, where)
    return lr_finder.range_test(twin, train, procedure, seeds=seeds)


def find(config: Config) -> lr_finder.RangeTest:
    """A range test for a configuration, without training it.

    Raises:
        ValueError: Something in the configuration or the data is wrong; the message says what.
    """
    choices = prepare.bind(config)
    where = prepare.machine(config)
    data = prepare.load_data(config, choices)
    devices = [where.device] if where.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        model = prepare.build_model(config, data, where)
        train = prepare.part(data, "train", config, where.device)
        return range_test(config, choices, data, model, where, train)


def figure(found: lr_finder.RangeTest) -> Any:
    """The curve and the suggestion."""
    return figures_lr.range_test(found.lrs, found.losses, found.smoothed, found.suggestion)
