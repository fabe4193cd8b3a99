"""The functions that the spec strings of a configuration name, with their options bound."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imbalance_study.config import spec
from imbalance_study.config.schema import Config
from imbalance_study.data import (
    augment,
    auto_augment,
    longtail,
    mixing,
    samplers,
    smote,
)
from imbalance_study.models import freezing, heads
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import losses, optim, schedules, second_stage
from imbalance_study.training.loop import sampler_context

# Keyword-only parameters that the caller supplies: they are no options.
_LOOP = frozenset({"progress", "class_errors"})


_OPTIMIZER = frozenset({"lr", "weight_decay"})


class Choices(NamedTuple):
    """The functions that the spec strings of a Config name, with their options bound."""

    imbalance: Callable[..., Any]
    validation: Callable[..., Any]
    loss: Callable[..., Tensor]
    class_weights: Callable[..., Tensor]
    sampler: Callable[..., Tensor]
    mix: Callable[..., Any] | None
    augment: Callable[..., Tensor]
    tail_augment: Callable[..., Tensor] | None
    resample: Callable[..., Any] | None
    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Callable[..., float]
    early_stopping: Callable[..., bool] | None
    stage2: Callable[..., second_stage.Stage] | None
    freeze: freezing.Freeze | None = None
    reconstruct: float = 0.0  # weight of the decoder's squared error; 0: no decoder is trained
    separate: bool = False  # the autoencoder first, then the classifier on the frozen encoder


def bind(config: Config) -> Choices:
    """Bind every spec string; a typing mistake comes out here, before anything is loaded.

    Raises:
        ValueError: An unknown option or a value of the wrong type or range.
    """

    def optional(registry: spec.Registry, text: str, kind: str) -> Any:
        return None if text == "none" else spec.bind(registry, text, kind)

    loss = spec.bind(losses.LOSSES, config.loss, "loss")
    if config.label_smoothing > 0:
        if not spec.takes(loss, "label_smoothing"):
            raise ValueError(f"label_smoothing has no effect with loss={config.loss}")
        loss = functools.partial(loss, label_smoothing=config.label_smoothing)
    specs = spec.parse_chain(config.augment)
    choices = Choices(
        imbalance=spec.bind(longtail.IMBALANCES, config.imbalance, "imbalance"),
        validation=spec.bind(longtail.VALIDATIONS, config.validation, "validation"),
        loss=loss,
        class_weights=spec.bind(losses.CLASS_WEIGHTS, config.class_weights, "class_weights"),
        sampler=spec.bind(samplers.SAMPLERS, config.sampler, "sampler", _LOOP),
        mix=optional(mixing.MIXES, config.mix, "mix"),
        augment=augment.compose(
            [spec.bind(augment.AUGMENTATIONS, one, "augmentation") for one in specs]
        ),
        tail_augment=optional(auto_augment.TAIL_AUGMENTS, config.tail_augment, "tail_augment"),
        resample=optional(smote.RESAMPLERS, config.resample, "resample"),
        optimizer=spec.bind(optim.OPTIMIZERS, config.optimizer, "optimizer", _OPTIMIZER),
        schedule=spec.bind(schedules.SCHEDULES, config.schedule, "schedule"),
        early_stopping=_early_stopping(config.early_stopping),
        stage2=optional(second_stage.STAGES, config.stage2, "stage2"),
        freeze=optional(freezing.FREEZES, config.freeze, "freeze"),
        reconstruct=_weight_of_decoder(config.autoencoder),
        separate=spec.parse(config.autoencoder).name == "separate",
    )
    if config.head != "auto":
        heads.make_head(config.head, 2, 2)
    _try(choices)
    return choices


def _try(choices: Choices) -> None:
    """Call what checks its options when it is called, so that nothing is loaded in vain."""
    counts = torch.tensor([3.0, 2.0])
    targets = torch.tensor([0, 0, 0, 1, 1])
    choices.loss(torch.zeros(5, 2), targets, counts)
    choices.class_weights(counts)
    choices.schedule(0.5, 2, [0.0])
    if choices.early_stopping is not None:
        choices.early_stopping([0.0])
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    choices.augment(images, generator)
    choices.sampler(targets, generator, **sampler_context(choices.sampler, 0.0, None))
    if choices.tail_augment is not None:
        choices.tail_augment(images, targets, counts, generator)
    if choices.mix is not None:
        choices.mix(images.float(), targets, counts, generator)
    if choices.freeze is not None:
        choices.freeze(0.0, 1)
    choices.optimizer([nn.Parameter(torch.zeros(1))], lr=0.1, weight_decay=0.0)
    if choices.stage2 is not None:
        with torch.random.fork_rng([]):
            toy = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), image_size=1)
            choices.stage2(toy).loss(torch.zeros(5, 2), targets, counts)


def _weight_of_decoder(text: str) -> float:
    if text == "off":
        return 0.0
    return float(spec.bind(_AUTOENCODERS, text, "autoencoder")())


def _joint(*, weight: float = 1.0) -> float:
    """Raises ValueError where the weight is not positive."""
    if not 0 < weight < math.inf:
        raise ValueError(f"weight of autoencoder joint must be larger than 0, got {weight:g}")
    return weight


_AUTOENCODERS: dict[str, Callable[..., float]] = {"joint": _joint, "separate": lambda: 1.0}


STOP_METRICS = ("val/balanced_accuracy", "val/accuracy", "val/macro_f1", "val/loss")


def _early_stopping(text: str) -> Callable[..., bool] | None:
    if text == "none":
        return None
    registry = dict.fromkeys(STOP_METRICS, schedules.should_stop)
    return spec.bind(registry, text, "early_stopping metric")
