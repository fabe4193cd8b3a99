"""What `fit` is told in each stage of the training, out of a Config."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from imbalance_study.config import spec
from imbalance_study.config.schema import Config
from imbalance_study.data import samplers
from imbalance_study.experiment.setup.components import Choices
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.models import freezing, heads
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import losses, optim, schedules
from imbalance_study.training.loop import Procedure
from imbalance_study.training.predict import Precision


def first(
    config: Config,
    choices: Choices,
    data: Data,
    model: Classifier,
    where: DeviceSetup,
) -> Procedure:
    """The training of the whole model: the only stage, or the first of two."""
    if choices.separate:
        model.classifier.requires_grad_(False)
    counts = torch.as_tensor(data.class_counts, dtype=torch.float32, device=where.device)
    stopping = None if choices.early_stopping is None else spec.parse(config.early_stopping).name
    share = config.epochs / all_epochs(config, choices)
    return Procedure(
        loss=choices.loss,
        probabilities=probabilities(choices.loss, config),
        class_counts=counts,
        class_weights=choices.class_weights(counts),
        sampler=choices.sampler,
        augment=choices.augment,
        normalise=normaliser(data, where),
        optimizer=_optimizer(config, choices, model, where.precision),
        schedule=choices.schedule,
        lr=1.0 if config.lr == "auto" else config.lr,  # then it comes from a range test
        epochs=config.epochs,
        batch_size=int(config.batch_size),
        tail_augment=choices.tail_augment,
        mix=choices.mix,
        defer=config.defer,
        hard_fraction=config.hard_fraction,
        supcon=config.supcon,
        steps_per_epoch=config.steps_per_epoch,
        grad_clip=config.grad_clip,
        ema_decay=config.ema_decay if config.ema else 0.0,
        select_by=config.select_by,
        early_stopping=choices.early_stopping,
        stop_metric=stopping or "",
        max_seconds=share * config.max_minutes * 60 or math.inf,
        precision=where.precision,
        compile=config.compile,
        stage=1 if has_second(choices) else 0,
        classify=not choices.separate,
        reconstruct=choices.reconstruct,
        train_mode=_train_mode(choices),
    )


def second(
    config: Config,
    choices: Choices,
    procedure: Procedure,
    model: Classifier,
    seconds: float,
) -> Procedure:
    """The training of the head, on frozen features with classes drawn equally often.

    Augmentation, batch size, updates an epoch, gradient clipping, the metric of selection and the
    machine are those of the first stage. All else that a Config can switch on (class weights,
    sampler, deferral, mixing, hard examples, contrastive loss, moving average, early stopping)
    stays with the first stage.

    Args:
        config: With ``stage2`` other than none.
        choices: As bound from it; with ``autoencoder=separate`` the head trains as a Config says,
            on the frozen encoder.
        procedure: Of the first stage.
        model: With the weights of the first stage; it gets the head that is to be trained.
        seconds: What the first stage took of ``max_minutes``.
    """
    rest = config.max_minutes * 60 - seconds if config.max_minutes else math.inf
    if choices.separate:
        return _classifier_alone(config, choices, procedure, model, rest)
    assert choices.stage2 is not None
    stage = choices.stage2(model)
    return dataclasses.replace(
        procedure,
        loss=stage.loss,
        probabilities=functools.partial(losses.probabilities, loss_name="cross_entropy"),
        class_weights=torch.ones_like(procedure.class_counts),
        sampler=samplers.class_balanced,
        optimizer=stage.optimizer,
        schedule=schedules.cosine,
        lr=stage.lr,
        epochs=stage.epochs,
        mix=None,
        defer=0.0,
        hard_fraction=1.0,
        supcon=0.0,
        ema_decay=0.0,
        early_stopping=None,
        stop_metric="",
        max_seconds=rest,
        train_mode=lambda model, progress: stage.train_mode(model),
        stage=2,
        reconstruct=0.0,
    )


def _classifier_alone(
    config: Config,
    choices: Choices,
    procedure: Procedure,
    model: Classifier,
    max_seconds: float,
) -> Procedure:
    """The second stage of ``autoencoder=separate``: the first one's options, a frozen encoder."""
    model.decoder = None
    freezing.set_trainable(model, 0)
    return dataclasses.replace(
        procedure,
        optimizer=_optimizer(config, choices, model, procedure.precision),
        max_seconds=max_seconds,
        train_mode=lambda model, progress: freezing.train_mode(model, 0),
        stage=2,
        classify=True,
        reconstruct=0.0,
    )


def has_second(choices: Choices) -> bool:
    """Whether the training has two stages."""
    return choices.stage2 is not None or choices.separate


def facts(
    config: Config, choices: Choices, model: Classifier, loaded: dict[str, Any]
) -> dict[str, Any]:
    """What was loaded into the model, and what of it trains when; nothing without weights."""
    found: dict[str, Any] = {"weights": loaded} if loaded else {}
    if choices.freeze is not None:
        found["trainable_from_epoch"] = _trainable_over_epochs(config, choices, model)
    return found


def _trainable_over_epochs(config: Config, choices: Choices, model: Classifier) -> dict[str, int]:
    """Epoch, counted from 1, to the number of weights that train from then on."""
    assert choices.freeze is not None
    found: dict[str, int] = {}
    total = len(freezing.blocks_of(model))
    for epoch in range(config.epochs):
        with freezing.trial(model, choices.freeze(epoch / config.epochs, total)):
            weights = [weight.numel() for weight in model.parameters() if weight.requires_grad]
        if sum(weights) not in found.values():
            found[str(epoch + 1)] = sum(weights)
    return found


def _train_mode(choices: Choices) -> Callable[[Classifier, float], object]:
    if choices.freeze is None:
        return lambda model, progress: model.train()
    freeze = choices.freeze

    def mode(model: Classifier, progress: float) -> None:
        freezing.train_mode(model, freeze(progress, len(freezing.blocks_of(model))))

    return mode


def all_epochs(config: Config, choices: Choices) -> int:
    """Epochs of both stages; each has its share of ``max_minutes`` by them."""
    if choices.separate:
        return 2 * config.epochs
    if choices.stage2 is None:
        return config.epochs
    epochs: int = inspect.signature(choices.stage2).parameters["epochs"].default
    return config.epochs + epochs


def _optimizer(
    config: Config, choices: Choices, model: Classifier, precision: Precision
) -> torch.optim.Optimizer:
    """The optimizer of whatever trains at some time; before it does, it has no gradient there."""
    sigmoid = spec.parse(config.loss).name in losses.SIGMOID_LOSSES
    held = [heads.last_bias(model.get_classifier())] if sigmoid else []
    if choices.freeze is not None:
        freezing.set_trainable(model, choices.freeze(1.0, len(freezing.blocks_of(model))))
    groups = optim.parameter_groups(model, config.weight_decay, no_decay=held)
    if config.backbone_lr != 1:
        groups = optim.slower(groups, model.backbone.parameters(), config.backbone_lr)
    optimizer = choices.optimizer(
        groups,
        lr=1.0 if config.lr == "auto" else config.lr,
        weight_decay=config.weight_decay,
    )
    if optim.uses_sam(optimizer) and precision == "fp16":
        raise ValueError("sam needs precision=fp32 or bf16, got fp16")
    return optimizer


def normaliser(data: Data, where: DeviceSetup) -> Callable[[Tensor], Tensor]:
    """uint8 (N, 3, H, W) -> float, minus the mean, over the deviation of the training pixels."""
    scale = torch.as_tensor(1 / (255 * data.std), dtype=torch.float32, device=where.device)
    shift = torch.as_tensor(-data.mean / data.std, dtype=torch.float32, device=where.device)
    scale, shift = scale.view(1, 3, 1, 1), shift.view(1, 3, 1, 1)

    def normalise(images: Tensor) -> Tensor:
        floats = images.float().mul_(scale).add_(shift)
        return floats if where.channels_last else floats.contiguous()

    return normalise


def probabilities(loss: Callable[..., Tensor], config: Config) -> Callable[[Tensor], Tensor]:
    """Logits (N, C) to class probabilities (N, C), as the loss means them."""
    name = spec.parse(config.loss).name
    scale = {key: value for key, value in getattr(loss, "keywords", {}).items() if key == "s"}
    return functools.partial(losses.probabilities, loss_name=name, **scale)
