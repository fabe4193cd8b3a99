"""From a Config to what the parts need: functions, device, data, model.

With `stages`, `corrections` and `experiment` the only module that reads a Config below the command
line.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch

from imbalance_study.config import spec
from imbalance_study.config.schema import Config
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.experiment.setup.seeding import seeds
from imbalance_study.models import freezing, heads, pretrained, transfer, zoo
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import losses
from imbalance_study.training.cpu.convolutions import replace_convolutions


class Built(NamedTuple):
    """A model ready to train."""

    model: Classifier
    weights: dict[str, Any]  # what was loaded into it, and what not; empty where nothing was


def build_model(config: Config, data: Data, where: DeviceSetup) -> Classifier:
    """The model with its head, on the device; see `build`."""
    return build(config, data, where).model


def build(config: Config, data: Data, where: DeviceSetup) -> Built:
    """The model with its head, on the device.

    Weights are drawn from `config.seed`, then those that are given are loaded over them. What is
    frozen throughout needs no gradient from here on.

    Raises:
        ValueError: The weights are of another model, or what `freeze` keeps is not among them.
    """
    loss = spec.parse(config.loss).name
    torch.manual_seed(seeds(config.seed)("weights"))
    source, stem = data.source, config.stem
    if stem == "auto" and source is not None:
        stem = source.stem  # type: ignore[assignment]
    model = zoo.create(
        config.model, data.num_classes, image_size=data.image_size, stem=stem, head=head_of(config)
    )
    if loss in losses.SIGMOID_LOSSES:
        heads.set_prior_bias(model.get_classifier(), data.num_classes)
    record: dict[str, Any] = {}
    if config.autoencoder == "off":
        model.decoder = None
    if source is not None:
        loaded = pretrained.put_into(model, source, data.image_set.class_names)
        record = pretrained.describe(source, loaded)
        _check_frozen(config, model, loaded)
    if where.device.type == "cpu":
        replace_convolutions(model)
    layout = torch.channels_last if where.channels_last else torch.contiguous_format
    return Built(model.to(where.device).to(memory_format=layout), record)


def head_of(config: Config) -> str:
    """The spec string of the head, decided by the loss where it is auto."""
    if config.head != "auto":
        return config.head
    return "cosine" if spec.parse(config.loss).name in losses.COSINE_LOSSES else "last"


def _check_frozen(config: Config, model: Classifier, loaded: transfer.Loaded) -> None:
    if config.freeze == "none":
        return
    freeze = spec.bind(freezing.FREEZES, config.freeze, "freeze")
    with freezing.trial(model, freeze(0.0, len(freezing.blocks_of(model)))):
        kept = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    new = [name for name in loaded.new if name in kept]
    if new:
        raise ValueError(
            f"freeze={config.freeze} would freeze {new[0].removeprefix('backbone.')}, which "
            f"the weights do not hold (stem={model.stem}, head={config.head}); take the stem and "
            "head of the weights, or freeze=none"
        )


def as_dict(config: Config) -> dict[str, Any]:
    """All options, for checkpoints; where the run is recorded may hold a password."""
    return dataclasses.asdict(config) | {"tracking_uri": "auto"}
