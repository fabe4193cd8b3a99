"""Inputs of a run: configuration, functions, device, images and weights, before a model is built.

Trials of batch size and precision, the dry run and the plan of a comparison need no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from imbalance_study.config.schema import Config
from imbalance_study.experiment.setup import seeding
from imbalance_study.experiment.setup.components import Choices, bind
from imbalance_study.experiment.setup.data import Data, DataCache, load_data
from imbalance_study.experiment.setup.device import DeviceSetup, resolve_device
from imbalance_study.models import pretrained


@dataclasses.dataclass(frozen=True)
class RunInputs:
    """A configuration, and everything that it names, loaded and parsed once."""

    config: Config
    choices: Choices  # the functions of the spec strings
    device_setup: DeviceSetup
    data: Data
    weights: pretrained.Source | None  # to start from

    @property
    def seeds(self) -> Callable[[str], int]:
        """Purpose to seed, from the seed of the run."""
        return seeding.seeds(self.config.seed)


@dataclasses.dataclass(frozen=True)
class LocalFiles:
    """Files and images that the caller of one or many runs has brought to this machine."""

    weights: Mapping[str, Path] = dataclasses.field(default_factory=dict)  # runs:/ID -> checkpoint
    data_cache: DataCache | None = None  # shared by the runs of a comparison or a study


def load_inputs(
    config: Config,
    local: LocalFiles | None = None,
    *,
    device_setup: DeviceSetup | None = None,
) -> RunInputs:
    """Bind the functions, resolve the device, find the weights and load the images.

    Args:
        config: As `resolve.make` or `resolve.resolve` give it.
        local: Downloaded weights, and images in memory.
        device_setup: Where to compute, instead of the device that the configuration asks for.

    Raises:
        ValueError: See `components.bind`, `resolve_device`, `pretrained.find` and `load_data`.
    """
    local = LocalFiles() if local is None else local
    choices = bind(config)
    if device_setup is None:
        device_setup = resolve_device(config)
    weights_file = local.weights.get(config.weights)
    weights = pretrained.find(config.weights, config.model, weights_file, config.weights_classes)
    data = load_data(config, choices, weights, local.data_cache)
    return RunInputs(config, choices, device_setup, data, weights)
