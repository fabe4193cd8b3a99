"""The learning rate of a run, found by a range test."""

from __future__ import annotations

import copy
from typing import Any

import torch

from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import figures as drawing
from imbalance_study.experiment.setup import features as features_setup
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.data import Parts, batches_of
from imbalance_study.experiment.setup.inputs import LocalFiles, RunInputs, load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import lr_range_test


def range_test(inputs: RunInputs, model: Classifier, train: Batches) -> lr_range_test.RangeTest:
    """Run a range test on a copy of the model; the model and torch's generators stay as they are.

    Raises:
        ValueError: See `lr_range_test.range_test`.
    """

    def seeds(purpose: str) -> int:
        return inputs.seeds(f"lr_finder/{purpose}")

    on_features = inputs.config.space == "features"
    twin = copy.deepcopy(model.on_features() if on_features else model)
    procedure = procedures.first(inputs, twin, lr=1.0)  # the test sets the rate of every step
    if on_features:
        procedure = features_setup.on_features(procedure, inputs.config.feature_views)
    return lr_range_test.range_test(twin, train, procedure, seeds=seeds)


def find(config: Config, local: LocalFiles | None = None) -> lr_range_test.RangeTest:
    """Run a range test for a configuration, without training it.

    Raises:
        ValueError: Something in the configuration or the data is wrong; the message says what.
    """
    inputs = load_inputs(config, local)
    device = inputs.device_setup.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model = build_model(inputs)
        parts = Parts(batches_of(inputs.data, "train", config, device), None, None)
        features = features_setup.of(inputs, model, parts, local)
        return range_test(inputs, model, (features.parts if features else parts).train)


def figure(found: lr_range_test.RangeTest) -> Any:
    """Draw the curve and the suggestion."""
    return drawing.lr_range_test.range_test(
        found.lrs, found.losses, found.smoothed, found.suggestion
    )
