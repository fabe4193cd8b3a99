"""One epoch of training, step by step.

Nothing inside an epoch waits for the device: losses and hits are read when they have long arrived.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from imbalance_study.config import spec
from imbalance_study.data import samplers
from imbalance_study.data.loader import Batch, Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import distributed, optim, reduction
from imbalance_study.training.callback import Callback
from imbalance_study.training.cuda_graph import CapturedUpdate
from imbalance_study.training.divergence import FiniteWatch
from imbalance_study.training.ema import WeightAverage
from imbalance_study.training.procedure import EpochResult, Fit, Procedure
from imbalance_study.training.schedules import learning_rate
from imbalance_study.training.update import Update

# Steps between two looks at the clock.
_CLOCK_EVERY = 16


class Trainer:
    """A training from step to step: weights, optimizer, generators, average, counters.

    Attributes:
        model: Trained in place.
        procedure: How to train.
        group: The processes that train together.
        order: Generator of the samplers, on the CPU.
        draws: Generator of augmentation and mixing, on the device.
        average: The moving average of the weights, where there is one.
        update: The update itself.
        captured: The same as a CUDA graph, where that is asked for.
        plain: All classes weigh the same.
        images_seen: Of both stages.
        steps: Updates, of both stages.
    """

    def __init__(
        self,
        model: Classifier,
        train: Batches,
        procedure: Procedure,
        seeds: Callable[[str], int],
        after: Fit | None = None,
    ) -> None:
        self.model, self.train, self.procedure = model, train, procedure
        self.group = distributed.group()
        _check(procedure, self.group)
        self.group.equal_weights(model)
        self.order = torch.Generator().manual_seed(seeds("order"))
        self.draws = torch.Generator(train.device).manual_seed(seeds("augmentation"))
        decay = procedure.ema_decay
        self.update = Update(model, procedure, self.group, self.draws)
        self.captured = CapturedUpdate(self.update) if procedure.cuda_graph else None
        self.average = WeightAverage(model, decay) if decay else None
        self.plain = bool((procedure.class_weights == 1).all())
        self.epochs_before = len(after.history) if after else 0
        self.images_seen = after.images_seen if after else 0
        self.steps = after.steps if after else 0

    @property
    def scaler(self) -> torch.amp.GradScaler:
        """Of the gradients in fp16."""
        return self.update.scaler

    @property
    def evaluated(self) -> Classifier:
        """The model to evaluate: the moving average where there is one."""
        return cast(Classifier, self.average.model) if self.average else self.model

    def epoch(
        self,
        epoch: int,
        watched: Sequence[float],
        class_errors: Tensor | None,
        started: float,
        callback: Callback,
    ) -> EpochResult:
        """Train one epoch.

        Args:
            epoch: Epochs done within this stage.
            watched: The metric that the schedule follows, of each of them.
            class_errors: (C,) on validation after the epoch before, for samplers that ask.
            started: `time.perf_counter` when the stage began, for ``max_seconds``.
            callback: Follows the epoch and its batches.

        Raises:
            Diverged: The loss is not finite.
            ValueError: The sampler drew no image.
        """
        p = self.procedure
        number = self.epochs_before + epoch + 1
        begun = time.perf_counter()
        done = 1.0 if epoch == p.epochs - 1 else epoch / p.epochs  # the last epoch never waits
        indices = self.indices(epoch, done >= p.defer, class_errors)
        weights = self._weights(done)
        watch = FiniteWatch(self.train.device, self.group, patience=2 if self.scaled else 1)
        p.train_mode(self.model, epoch / p.epochs)
        if self.captured is not None:
            self.captured.begin(weights)
        callback.on_epoch_begin(number, len(indices))
        steps = math.ceil(len(indices) / p.batch_size)
        seen = 0
        for step, batch in enumerate(self.train.epoch(indices, p.batch_size)):
            lr = learning_rate(p.schedule, p.lr, epoch + (step + 0.5) / steps, p.epochs, watched)
            optim.set_lr(p.optimizer, lr)
            loss, hits = self.step(batch, weights)
            size = len(batch.targets)
            watch.add(loss, hits, size, lr, self.steps, number)
            seen += size
            callback.on_batch_end(size, watch.latest)
            if step % _CLOCK_EVERY == 0 and self.late(started):
                break
        watch.finish(self.steps, number)
        self.images_seen += seen
        self.group.mean_buffers(self.model)
        if self.average is not None:
            self.group.mean_buffers(self.average.model)
        classes = len(p.class_weights)
        drawn = torch.bincount(self.train.targets[indices[:seen]], minlength=classes)
        return self._result(number, watch, lr, begun, drawn)

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled, and a step is left out where that was too much."""
        return self.scaler.is_enabled()

    def _weights(self, done: float) -> Tensor | None:
        """Return the class weights in force; None where all are 1, which saves their sums."""
        p = self.procedure
        if self.group.size == 1 and (self.plain or done < p.defer):
            return None
        return reduction.active_class_weights(p.class_weights, done, p.defer)

    def late(self, started: float) -> bool:
        """Tell whether the time of the stage is over, by the clock of any process."""
        if math.isinf(self.procedure.max_seconds):
            return False
        over = time.perf_counter() - started > self.procedure.max_seconds
        return self.group.any(over, self.train.device)

    def _result(
        self, number: int, watch: FiniteWatch, lr: float, begun: float, drawn: Tensor
    ) -> EpochResult:
        seconds, seen = time.perf_counter() - begun, int(drawn.sum())
        metrics = {
            "train/loss": watch.loss_sum / watch.images if watch.images else math.nan,
            "train/accuracy": watch.hits / seen,
            "train/lr": lr,
            "train/images_seen": float(self.images_seen),
            "time/images_per_second": seen / seconds,
            "time/epoch_seconds": seconds,
        }
        if self.procedure.stage:
            metrics["train/stage"] = float(self.procedure.stage)
        return EpochResult(number, metrics, drawn=drawn.numpy())

    def indices(self, epoch: int, active: bool, class_errors: Tensor | None) -> Tensor:
        """Draw the index vector of an epoch; with fixed steps, as often as fills them.

        Args:
            epoch: Epochs done within this stage.
            active: Whether the sampler is in force, which `defer` decides.
            class_errors: As in `epoch`.

        Raises:
            ValueError: The sampler drew no image, or fewer than there are processes.
        """
        p = self.procedure
        sampler = p.sampler if active else samplers.shuffle
        context = sampler_context(sampler, epoch / p.epochs, class_errors)
        wanted = p.steps_per_epoch * p.batch_size
        targets = self.train.targets[:: p.views]
        indices = sampler(targets, self.order, **context)
        if not len(indices):
            raise ValueError("a sampler must draw at least one image an epoch, got none")
        while len(indices) < wanted:
            more = sampler(targets, self.order, **context)
            indices = torch.cat([indices, more])
        indices = indices[:wanted] if wanted else _without_rest(indices, p.batch_size, self.group)
        if len(indices) < self.group.size:
            raise ValueError(
                f"an epoch of {len(indices)} images cannot be shared by {self.group.size} processes"
            )
        if p.views > 1:
            view = torch.randint(p.views, (len(indices),), generator=self.order)
            indices = indices * p.views + view
        return self.group.of_first(indices, self.train.device)

    def step(self, batch: Batch, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Make one update; arguments and result are those of `Update`."""
        made = (self.captured or self.update)(batch, weights)
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model)
        return made


def _check(procedure: Procedure, group: distributed.Group) -> None:
    """Refuse options that several processes cannot carry out."""
    if group.size == 1:
        return
    if procedure.reconstruct > 0:
        raise ValueError("autoencoder goes with one process; set autoencoder=off")
    if procedure.supcon > 0:
        raise ValueError(
            "supcon compares all images of a batch, which torchrun spreads over processes; "
            "set supcon=0, or use one process"
        )
    if procedure.batch_size < 2 * group.size:
        raise ValueError(
            f"batch_size must be at least 2 for each process, {2 * group.size} for "
            f"{group.size}, got {procedure.batch_size}"
        )


def _without_rest(indices: Tensor, batch_size: int, group: distributed.Group) -> Tensor:
    """Leave out a last batch in which a process would get one image: batch norm needs two."""
    rest = len(indices) % batch_size
    if len(indices) > batch_size and 0 < rest < (2 * group.size if group.size > 1 else 2):
        return indices[:-rest]
    return indices


def sampler_context(
    sampler: Callable[..., Tensor], progress: float, class_errors: Tensor | None
) -> dict[str, Any]:
    """Return the reserved keyword parameters that a sampler asks for."""
    context = {"progress": progress, "class_errors": class_errors}
    return {name: value for name, value in context.items() if spec.takes(sampler, name)}
