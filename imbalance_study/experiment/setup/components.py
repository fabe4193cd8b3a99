"""The functions that the spec strings of a configuration name, with their options bound."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from imbalance_study.config import choices as registry
from imbalance_study.config import compatibility, spec
from imbalance_study.config.choice import SUPPLIED, Registry, with_trait
from imbalance_study.config.schema import Config
from imbalance_study.data import (
    augment,
)
from imbalance_study.models import freezing, heads, normalisation
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import schedules, second_stage
from imbalance_study.training.trainer import sampler_context

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Component(Generic[Function]):
    """A function that a spec string names, with its options bound."""

    name: str  # without the options
    function: Function


class Augmentation(NamedTuple):
    """A chain of augmentations, applied one after the other."""

    names: tuple[str, ...]  # without the options
    function: Callable[..., Tensor]


@dataclasses.dataclass(frozen=True)
class Choices:
    """The functions that the spec strings of a Config name; None for ``none``."""

    imbalance: Component[Callable[..., Any]]
    validation: Component[Callable[..., Any]]
    loss: Component[Callable[..., Tensor]]
    class_weights: Component[Callable[..., Tensor]]
    sampler: Component[Callable[..., Tensor]]
    mix: Component[Callable[..., Any]] | None
    augment: Augmentation
    tail_augment: Component[Callable[..., Tensor]] | None
    resample: Component[Callable[..., Any]] | None
    optimizer: Component[Callable[..., torch.optim.Optimizer]]
    schedule: Component[Callable[..., float]]
    early_stopping: Component[Callable[..., bool]] | None  # the name is that of the metric
    stage2: Component[Callable[..., second_stage.Stage]] | None
    freeze: Component[freezing.Freeze] | None
    normalisation: Component[normalisation.Normalisation] | None  # None: by weights or data
    head: str  # spec string that `heads.make_head` takes; never auto
    reconstruct: float  # weight of the decoder's squared error; 0: no decoder is trained
    separate: bool  # the autoencoder first, then the classifier on the frozen encoder
    corrected: bool  # loss, class weights or sampling correct for the class frequencies

    @property
    def has_second_stage(self) -> bool:
        """Whether the training has two stages."""
        return self.stage2 is not None or self.separate


def bind(config: Config) -> Choices:
    """Bind every spec string, so that a typing mistake is found before anything is loaded.

    Raises:
        ValueError: An unknown option or a value of the wrong type or range.
    """

    def optional(known: Registry, text: str, kind: str) -> Any:
        reserved = SUPPLIED.get(kind, frozenset())
        return None if text == "none" else _component(known, text, kind, reserved)

    loss = bind_loss(config)
    choices = Choices(
        imbalance=_component(
            registry.IMBALANCES, config.imbalance, "imbalance", SUPPLIED["imbalance"]
        ),
        validation=_component(registry.VALIDATIONS, config.validation, "validation"),
        loss=loss,
        class_weights=_component(registry.CLASS_WEIGHTS, config.class_weights, "class_weights"),
        sampler=_component(registry.SAMPLERS, config.sampler, "sampler", SUPPLIED["sampler"]),
        mix=optional(registry.MIXES, config.mix, "mix"),
        augment=_augmentation(config.augment),
        tail_augment=optional(registry.TAIL_AUGMENTS, config.tail_augment, "tail_augment"),
        resample=optional(registry.RESAMPLES, config.resample, "resample"),
        optimizer=_component(
            registry.OPTIMIZERS, config.optimizer, "optimizer", SUPPLIED["optimizer"]
        ),
        schedule=_component(registry.SCHEDULES, config.schedule, "schedule"),
        early_stopping=_early_stopping(config.early_stopping),
        stage2=optional(registry.STAGES, config.stage2, "stage2"),
        freeze=optional(registry.FREEZES, config.freeze, "freeze"),
        normalisation=_normalisation(config.normalisation),
        head=head_spec(config.head, loss.name),
        reconstruct=_weight_of_decoder(config.autoencoder),
        separate=spec.parse(config.autoencoder).name == "separate",
        corrected=bool(compatibility.corrections(config)),
    )
    if config.head != "auto":
        heads.make_head(config.head, 2, 2)
    _try(choices)
    return choices


def bind_loss(config: Config) -> Component[Callable[..., Tensor]]:
    """Bind the loss alone, with its label smoothing.

    Raises:
        ValueError: An unknown loss or option, or label smoothing for a loss without it.
    """
    loss = _component(registry.LOSSES, config.loss, "loss")
    if config.label_smoothing > 0:
        if not spec.takes(loss.function, "label_smoothing"):
            raise ValueError(f"label_smoothing has no effect with loss={config.loss}")
        smooth = functools.partial(loss.function, label_smoothing=config.label_smoothing)
        loss = dataclasses.replace(loss, function=smooth)
    return loss


def head_spec(head: str, loss_name: str) -> str:
    """Decide the spec string of the head by the loss where it is auto."""
    if head != "auto":
        return head
    return "cosine" if loss_name in with_trait(registry.LOSSES, "cosine") else "last"


def _normalisation(text: str) -> Component[normalisation.Normalisation] | None:
    if text in ("auto", "data"):
        return None
    made = _component(registry.NORMALISATIONS, text, "normalisation")
    made.function()  # checks its options
    return made


def _component(
    known: Registry, text: str, kind: str, reserved: frozenset[str] = frozenset()
) -> Component[Callable[..., Any]]:
    parsed = spec.parse(text)
    return Component(parsed.name, spec.bind(known, parsed, kind, reserved))


def _augmentation(text: str) -> Augmentation:
    specs = spec.parse_chain(text)
    functions = [spec.bind(registry.AUGMENTATIONS, one, "augmentation") for one in specs]
    return Augmentation(tuple(one.name for one in specs), augment.compose(functions))


def _try(choices: Choices) -> None:
    """Call the functions that check their options when called, before anything is loaded."""
    counts = torch.tensor([3.0, 2.0])
    targets = torch.tensor([0, 0, 0, 1, 1])
    choices.loss.function(torch.zeros(5, 2), targets, counts)
    choices.class_weights.function(counts)
    choices.schedule.function(0.5, 2, [0.0])
    if choices.early_stopping is not None:
        choices.early_stopping.function([0.0])
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    choices.augment.function(images, generator)
    sampler = choices.sampler.function
    sampler(targets, generator, **sampler_context(sampler, 0.0, None))
    if choices.tail_augment is not None:
        choices.tail_augment.function(images, targets, counts, generator)
    if choices.mix is not None:
        choices.mix.function(images.float(), targets, counts, generator)
    if choices.freeze is not None:
        choices.freeze.function(0.0, 1)
    choices.optimizer.function([nn.Parameter(torch.zeros(1))], lr=0.1, weight_decay=0.0)
    if choices.stage2 is not None:
        with torch.random.fork_rng([]):
            toy = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), image_size=1)
            choices.stage2.function(toy).loss(torch.zeros(5, 2), targets, counts)


def _weight_of_decoder(text: str) -> float:
    if text == "off":
        return 0.0
    return float(spec.bind(registry.AUTOENCODERS, text, "autoencoder")())


STOP_METRICS = ("val/balanced_accuracy", "val/accuracy", "val/macro_f1", "val/loss")


def _early_stopping(text: str) -> Component[Callable[..., bool]] | None:
    if text == "none":
        return None
    named, kind = spec.parse(text), "early_stopping metric"
    if named.name not in STOP_METRICS:
        raise ValueError(f"unknown {kind} {named.name!r}; known: {', '.join(STOP_METRICS)}")
    return Component(named.name, spec.with_options(schedules.should_stop, named, kind))
