"""The training procedure of each stage of a run."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imbalance_study.config import choices as registry
from imbalance_study.config.choice import with_trait
from imbalance_study.config.schema import Config
from imbalance_study.data import smote
from imbalance_study.experiment.setup.components import Choices, Component
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.models import freezing, heads
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import cuda_graph, distributed, losses, optim, schedules
from imbalance_study.training.procedure import EarlyStopping, Procedure


def first(inputs: RunInputs, model: Classifier, lr: float) -> Procedure:
    """Return the training of the whole model: the only stage, or the first of two.

    Args:
        inputs: With a number as batch size.
        model: Its weights that stay frozen throughout need no gradient from here on.
        lr: Peak learning rate.
    """
    config, choices, device_setup = inputs.config, inputs.choices, inputs.device_setup
    if choices.separate:
        model.classifier.requires_grad_(False)
    counts = torch.as_tensor(
        trained_counts(inputs), dtype=torch.float32, device=device_setup.device
    )
    stopping, mix, tail = choices.early_stopping, choices.mix, choices.tail_augment
    share = config.epochs / all_epochs(config, choices)
    optimizer = _optimizer(inputs, model, lr)
    captured = cuda_graph.decide(config.cuda_graph, against_capture(device_setup, optimizer))
    return Procedure(
        loss=choices.loss.function,
        probabilities=probabilities(choices.loss),
        class_counts=counts,
        class_weights=choices.class_weights.function(counts),
        sampler=choices.sampler.function,
        augment=choices.augment.function,
        normalise=normaliser(inputs.data, device_setup),
        optimizer=optimizer,
        schedule=choices.schedule.function,
        lr=lr,
        epochs=config.epochs,
        batch_size=int(config.batch_size),
        tail_augment=None if tail is None else tail.function,
        mix=None if mix is None else mix.function,
        defer=config.defer,
        hard_fraction=config.hard_fraction,
        supcon=config.supcon,
        steps_per_epoch=config.steps_per_epoch,
        grad_clip=config.grad_clip,
        ema_decay=config.ema_decay if config.ema else 0.0,
        select_by=config.select_by,
        early_stopping=None
        if stopping is None
        else EarlyStopping(stopping.name, stopping.function),
        max_seconds=share * config.max_minutes * 60 or math.inf,
        precision=device_setup.precision,
        compile=config.compile,
        cuda_graph=captured,
        stage=1 if choices.has_second_stage else 0,
        classify=not choices.separate,
        reconstruct=choices.reconstruct,
        train_mode=_train_mode(choices),
    )


def against_capture(device_setup: DeviceSetup, optimizer: torch.optim.Optimizer) -> str:
    """Return why the updates of a run cannot be captured as a CUDA graph; nothing where they can.

    See `cuda_graph.reason_against`.
    """
    return cuda_graph.reason_against(
        device_setup.device, device_setup.precision, optimizer, distributed.group().size
    )


def second(inputs: RunInputs, procedure: Procedure, model: Classifier, seconds: float) -> Procedure:
    """Return the training of the head, on frozen features.

    Augmentation, batch size, updates an epoch, gradient clipping, the metric of selection and the
    machine are those of the first stage. All else that a Config can switch on (class weights,
    sampler, deferral, mixing, hard examples, contrastive loss, moving average, early stopping)
    stays with the first stage. With ``autoencoder=separate`` the second stage is the first one
    once more, on the frozen encoder.

    Args:
        inputs: Of a run with two stages.
        procedure: Of the first stage.
        model: With the weights of the first stage; it gets the head that is to be trained.
        seconds: What the first stage took of ``max_minutes``.

    Raises:
        ValueError: The run has one stage.
    """
    config, choices = inputs.config, inputs.choices
    rest = config.max_minutes * 60 - seconds if config.max_minutes else math.inf
    if choices.separate:
        return _classifier_alone(inputs, procedure, model, rest)
    if choices.stage2 is None:
        raise ValueError("a run with stage2=none has no second stage")
    stage = choices.stage2.function(model)
    return dataclasses.replace(
        procedure,
        loss=stage.loss,
        probabilities=functools.partial(losses.probabilities, loss_name="cross_entropy"),
        class_weights=stage.class_weights(procedure.class_counts),
        sampler=stage.sampler,
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
        max_seconds=rest,
        train_mode=lambda model, progress: stage.train_mode(model),
        stage=2,
        reconstruct=0.0,
    )


def _classifier_alone(
    inputs: RunInputs, procedure: Procedure, model: Classifier, max_seconds: float
) -> Procedure:
    model.decoder = None
    freezing.set_trainable(model, 0)
    return dataclasses.replace(
        procedure,
        optimizer=_optimizer(inputs, model, procedure.lr),
        max_seconds=max_seconds,
        train_mode=lambda model, progress: freezing.train_mode(model, 0),
        stage=2,
        classify=True,
        reconstruct=0.0,
    )


def trained_counts(inputs: RunInputs) -> npt.NDArray[np.int64]:
    """Return the number of examples of each class that the training has (C,).

    Those of the data, unless features are resampled: the data then are the images alone.
    """
    counts = inputs.data.class_counts
    resampled = inputs.choices.resample is not None and inputs.config.space == "features"
    return smote.counts_after(counts) if resampled else counts


def trainable_over_epochs(inputs: RunInputs, model: Classifier) -> dict[str, int] | None:
    """Count the weights that train from each epoch on, where that changes; None without freezing.

    Returns:
        Epoch, counted from 1, to the number of weights that train from then on.
    """
    freeze = inputs.choices.freeze
    if freeze is None:
        return None
    found: dict[str, int] = {}
    total, epochs = len(freezing.blocks_of(model)), inputs.config.epochs
    for epoch in range(epochs):
        with freezing.trial(model, freeze.function(epoch / epochs, total)):
            weights = [weight.numel() for weight in model.parameters() if weight.requires_grad]
        if sum(weights) not in found.values():
            found[str(epoch + 1)] = sum(weights)
    return found


def all_epochs(config: Config, choices: Choices) -> int:
    """Count the epochs of both stages; each has its share of ``max_minutes`` by them."""
    if choices.separate:
        return 2 * config.epochs
    if choices.stage2 is None:
        return config.epochs
    parameters = inspect.signature(choices.stage2.function).parameters
    epochs: int = parameters["epochs"].default
    return config.epochs + epochs


def _train_mode(choices: Choices) -> Callable[[Classifier, float], object]:
    if choices.freeze is None:
        return lambda model, progress: model.train()
    freeze = choices.freeze.function

    def mode(model: Classifier, progress: float) -> None:
        freezing.train_mode(model, freeze(progress, len(freezing.blocks_of(model))))

    return mode


def _optimizer(inputs: RunInputs, model: Classifier, lr: float) -> torch.optim.Optimizer:
    """Return the optimizer of all weights that train at some time.

    Before a weight trains, it has no gradient.
    """
    config, choices = inputs.config, inputs.choices
    sigmoid = choices.loss.name in with_trait(registry.LOSSES, "sigmoid")
    held = [heads.last_bias(model.get_classifier())] if sigmoid else []
    if choices.freeze is not None:
        blocks = choices.freeze.function(1.0, len(freezing.blocks_of(model)))
        freezing.set_trainable(model, blocks)
    groups = optim.parameter_groups(model, config.weight_decay, no_decay=held)
    if config.backbone_lr != 1:
        groups = optim.slower(groups, model.backbone.parameters(), config.backbone_lr)
    optimizer = choices.optimizer.function(groups, lr=lr, weight_decay=config.weight_decay)
    if optim.uses_sam(optimizer) and inputs.device_setup.precision == "fp16":
        raise ValueError("sam needs precision=fp32 or bf16, got fp16")
    return optimizer


def normaliser(data: Data, device_setup: DeviceSetup) -> Callable[[Tensor], Tensor]:
    """Return a function from uint8 (N, 3, H, W) to floats of the training pixels' mean 0, std 1."""
    device = device_setup.device
    scale = torch.as_tensor(1 / (255 * data.std), dtype=torch.float32, device=device)
    shift = torch.as_tensor(-data.mean / data.std, dtype=torch.float32, device=device)
    scale, shift = scale.view(1, 3, 1, 1), shift.view(1, 3, 1, 1)

    def normalise(images: Tensor) -> Tensor:
        if device.type == "cpu":
            floats = images.float().mul_(scale).add_(shift)
        else:
            floats = torch.addcmul(shift, images, scale)  # one launch
        return floats if device_setup.channels_last else floats.contiguous()

    return normalise


def probabilities(loss: Component[Callable[..., Tensor]]) -> Callable[[Tensor], Tensor]:
    """Return a function from logits (N, C) to probabilities (N, C), as the loss means them."""
    options = getattr(loss.function, "keywords", {})
    scale = {key: value for key, value in options.items() if key == "s"}
    return functools.partial(losses.probabilities, loss_name=loss.name, **scale)
