"""The model of a run: built, given its weights, put on its device."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from imbalance_study.config import choices as registry
from imbalance_study.config.choice import with_trait
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.models import freezing, heads, pretrained, transfer, zoo
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.cpu.convolutions import replace_convolutions


class Built(NamedTuple):
    """A model that is ready to train."""

    model: Classifier
    weights: dict[str, Any] | None  # see `pretrained.describe`; None where none were loaded


def build_model(inputs: RunInputs) -> Classifier:
    """Build the model with its head on the device; see `build`."""
    return build(inputs).model


def build(inputs: RunInputs) -> Built:
    """Build the model with its head on the device, and record which weights were loaded.

    Weights are drawn from the seed of the run, then the given ones are loaded over them.

    Raises:
        ValueError: The weights are of another model, or `freeze` keeps a weight that they lack.
    """
    config, choices, data = inputs.config, inputs.choices, inputs.data
    torch.manual_seed(inputs.seeds("weights"))
    model = zoo.create(
        config.model,
        data.num_classes,
        image_size=data.image_size,
        stem=_stem(inputs),
        head=choices.head,
    )
    if choices.loss.name in with_trait(registry.LOSSES, "sigmoid"):
        heads.set_prior_bias(model.get_classifier(), data.num_classes)
    if not choices.reconstruct:
        model.decoder = None
    record = None
    if inputs.weights is not None:
        loaded = pretrained.put_into(model, inputs.weights, data.image_set.class_names)
        record = pretrained.describe(inputs.weights, loaded, config.normalisation)
        _check_frozen(inputs, model, loaded)
    device_setup = inputs.device_setup
    if device_setup.device.type == "cpu":
        replace_convolutions(model)
    placed = model.to(device_setup.device).to(memory_format=device_setup.memory_format)
    return Built(placed, record)


def _stem(inputs: RunInputs) -> Any:
    if inputs.config.stem == "auto" and inputs.weights is not None:
        return inputs.weights.stem
    return inputs.config.stem


def _check_frozen(inputs: RunInputs, model: Classifier, loaded: transfer.Loaded) -> None:
    freeze = inputs.choices.freeze
    if freeze is None:
        return
    with freezing.trial(model, freeze.function(0.0, len(freezing.blocks_of(model)))):
        kept = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    new = [name for name in loaded.new if name in kept]
    if new:
        config = inputs.config
        raise ValueError(
            f"freeze={config.freeze} would freeze {new[0].removeprefix('backbone.')}, which "
            f"the weights do not hold (stem={model.stem}, head={config.head}); take the stem and "
            "head of the weights, or freeze=none"
        )
