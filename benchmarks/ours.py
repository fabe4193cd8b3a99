"""Our training loop as a thing to be measured: its epochs are the windows."""

from __future__ import annotations

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from imbalance_study.config import resolve, schema
from imbalance_study.data.loader import Batches
from imbalance_study.experiment.setup import procedures, seeding
from imbalance_study.experiment.setup.data import Data, batches_of
from imbalance_study.experiment.setup.device import DeviceSetup, kernels_tried
from imbalance_study.experiment.setup.inputs import RunInputs, load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.callback import Callback, EpochState
from imbalance_study.training.cpu import convolutions
from imbalance_study.training.loop import fit
from imbalance_study.training.predict import autocast
from imbalance_study.training.procedure import Procedure


class Ours(NamedTuple):
    """Everything that `fit` takes."""

    inputs: RunInputs
    model: Classifier
    procedure: Procedure
    train: Batches

    @property
    def config(self) -> schema.Config:
        """The configuration."""
        return self.inputs.config

    @property
    def data(self) -> Data:
        """The images and their parts."""
        return self.inputs.data

    @property
    def device_setup(self) -> DeviceSetup:
        """Where the training computes."""
        return self.inputs.device_setup

    def contiguous_twin(self) -> Classifier:
        """Build the same model once more, in the contiguous memory format."""
        device_setup = self.device_setup._replace(channels_last=False)
        return build_model(dataclasses.replace(self.inputs, device_setup=device_setup))


class Ratios(NamedTuple):
    """What windows that took turns gave."""

    ours: list[float]  # images per second of each window
    others: list[float]

    @property
    def each(self) -> list[float]:
        """Ours over the other's, window by window."""
        return [mine / other for mine, other in zip(self.ours, self.others, strict=True)]


def ready(**options: Any) -> Ours:
    """Data, model and procedure of a configuration, as an experiment has them."""
    settings = resolve.make(
        **{"validation": "none", "select_by": "last", "analyses": "none"} | options
    )
    inputs = load_inputs(settings)
    model = build_model(inputs)
    procedure = procedures.first(inputs, model, settings.lr)
    train = batches_of(inputs.data, "train", settings, inputs.device_setup.device)
    return Ours(inputs, model, procedure, train)


def windows(ours: Ours, count: int, steps: int, other: Callable[[int], float]) -> Ratios:
    """Train windows of `steps` updates, each followed by the other's of as many.

    The first of each warms up and is left out.

    Args:
        ours: The configuration.
        count: Windows.
        steps: Updates a window.
        other: Trains that many batches of the same size, and returns the seconds it took.
    """
    mine: list[float] = []
    theirs: list[float] = []
    images = steps * ours.procedure.batch_size

    def take_turns(result: Any) -> None:
        mine.append(result.metrics["time/images_per_second"])
        gc.collect()
        theirs.append(images / other(steps))

    epochs(ours, count + 1, steps, take_turns)
    return Ratios(mine[1:], theirs[1:])


def epochs(
    ours: Ours,
    count: int,
    steps: int,
    on_epoch: Callable[[Any], None],
    train: Batches | None = None,
) -> None:
    """Train that many epochs of `steps` updates."""
    procedure = dataclasses.replace(ours.procedure, epochs=count, steps_per_epoch=steps)
    with kernels_tried(ours.device_setup.device):
        fit(
            ours.model,
            ours.train if train is None else train,
            None,
            procedure,
            seeds=seeding.seeds(ours.config.seed),
            callback=_Listener(on_epoch),
        )


class _Listener(Callback):
    """Hands each epoch on."""

    def __init__(self, on_epoch: Callable[[Any], None]) -> None:
        self._on_epoch = on_epoch

    def on_epoch_end(self, state: EpochState) -> None:
        """See `Callback`."""
        self._on_epoch(state.result)


def bare(ours: Ours) -> Callable[[int], float]:
    """The model step alone, on one batch that never changes, with a model of its own."""
    twin = ready(**dataclasses.asdict(ours.config) | {"seed": ours.config.seed + 1})
    batch = next(
        twin.train.epoch(torch.arange(ours.procedure.batch_size), ours.procedure.batch_size)
    )
    inputs, targets, p = twin.procedure.normalise(batch.images), batch.targets, twin.procedure
    twin.model.train()

    def steps(count: int) -> float:
        synchronise(twin.device_setup.device)
        begun = time.perf_counter()
        with convolutions.enabled(twin.model), kernels_tried(inputs.device):
            for _ in range(count):
                p.optimizer.zero_grad(set_to_none=True)
                with autocast(inputs.device, p.precision):
                    logits = twin.model(inputs)
                p.loss(logits.float(), targets, p.class_counts).mean().backward()
                p.optimizer.step()
        synchronise(twin.device_setup.device)
        return time.perf_counter() - begun

    return steps


def feeding(ours: Ours) -> Callable[[int], float]:
    """Sampler, gathering and augmentation alone."""
    p, batch_size = ours.procedure, ours.procedure.batch_size
    order = torch.Generator().manual_seed(0)
    draws = torch.Generator(ours.device_setup.device).manual_seed(0)

    def feed(count: int) -> float:
        synchronise(ours.device_setup.device)
        begun = time.perf_counter()
        indices = p.sampler(ours.train.targets, order)[: count * batch_size]
        for batch in ours.train.epoch(indices, batch_size):
            p.augment(batch.images, draws)
        synchronise(ours.device_setup.device)
        return time.perf_counter() - begun

    return feed


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: list[float]) -> str:
    """``3.02 (2.95 to 3.10)``: median and range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
