"""One epoch of training, step by step.

Nothing inside an epoch waits for the device: losses and hits are summed there and read once, at its
end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from imbalance_study.config import spec
from imbalance_study.data import samplers
from imbalance_study.data.loader import Batch, Batches
from imbalance_study.models.autoencoder import encode_decode
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import compiling, distributed, optim, reduction
from imbalance_study.training.callback import Callback
from imbalance_study.training.divergence import FiniteWatch
from imbalance_study.training.ema import WeightAverage
from imbalance_study.training.predict import autocast
from imbalance_study.training.procedure import EpochResult, Fit, Procedure
from imbalance_study.training.schedules import learning_rate
from imbalance_study.training.supcon import supcon

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
        scaler: Of the gradients in fp16.
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
        self.network = compiling.network(model, procedure, self.group)
        self.average = WeightAverage(model, decay) if decay else None
        enabled = procedure.precision == "fp16"
        self.scaler = torch.amp.GradScaler(train.device.type, enabled=enabled)
        self.epochs_before = len(after.history) if after else 0
        self.images_seen = after.images_seen if after else 0
        self.steps = after.steps if after else 0

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
        weights = reduction.active_class_weights(p.class_weights, done, p.defer)
        exact = torch.float32 if self.train.device.type == "mps" else torch.float64
        sums = torch.zeros(2, device=self.train.device, dtype=exact)
        watch = FiniteWatch(self.train.device, self.group)
        p.train_mode(self.model, epoch / p.epochs)
        callback.on_epoch_begin(number, len(indices))
        steps = math.ceil(len(indices) / p.batch_size)
        seen = 0
        for step, batch in enumerate(self.train.epoch(indices, p.batch_size)):
            lr = learning_rate(p.schedule, p.lr, epoch + (step + 0.5) / steps, p.epochs, watched)
            optim.set_lr(p.optimizer, lr)
            loss, hits = self.step(batch, weights)
            watch.add(loss, lr, self.steps, number)
            size = len(batch.targets)
            sums += torch.stack([loss.to(exact) * size, hits.to(exact)])
            seen += size
            callback.on_batch_end(size, loss)
            if step % _CLOCK_EVERY == 0 and self.late(started):
                break
        watch.finish(self.steps, number)
        self.images_seen += seen
        self.group.mean_buffers(self.model)
        if self.average is not None:
            self.group.mean_buffers(self.average.model)
        drawn = torch.bincount(self.train.targets[indices[:seen]], minlength=len(weights))
        return self._result(number, self.group.sum(sums), lr, begun, drawn)

    def late(self, started: float) -> bool:
        """Tell whether the time of the stage is over, by the clock of any process."""
        if math.isinf(self.procedure.max_seconds):
            return False
        over = time.perf_counter() - started > self.procedure.max_seconds
        return self.group.any(over, self.train.device)

    def _result(
        self, number: int, sums: Tensor, lr: float, begun: float, drawn: Tensor
    ) -> EpochResult:
        """Read what was summed up on the device: the only wait for it in an epoch."""
        loss_sum, hit_sum = sums.tolist()
        seconds, seen = time.perf_counter() - begun, int(drawn.sum())
        metrics = {
            "train/loss": loss_sum / seen,
            "train/accuracy": hit_sum / seen,
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

    def step(self, batch: Batch, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Make one update.

        Args:
            batch: Of all processes together.
            weights: (C,) the class weights in force.

        Returns:
            The loss and the number of hits of this process's part of the batch, both still on the
            device; their sums over the processes are those of the batch.
        """
        p = self.procedure
        images = p.augment(batch.images, self.draws)
        if p.tail_augment is not None:
            images = p.tail_augment(images, batch.targets, p.class_counts, self.draws)
        inputs = p.normalise(images)
        targets = batch.targets
        mixed = None
        if p.mix is not None:
            mixed = p.mix(inputs, targets, p.class_counts, self.draws)
            inputs = mixed.images
        if self.group.size > 1:
            mine = self.group.part(len(targets))
            inputs, targets = inputs[mine], targets[mine]
            mixed = None if mixed is None else mixed.part(mine)
        loss, logits = self._forward(inputs, targets, mixed, weights)
        self._update(loss, lambda: self._forward(inputs, targets, mixed, weights)[0])
        self.steps += 1
        if self.average is not None:
            self.average.update(self.model)
        return loss.detach(), (logits.detach().argmax(1) == targets).sum()

    def _forward(
        self, inputs: Tensor, targets: Tensor, mixed: Any, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        p = self.procedure
        with autocast(inputs.device, p.precision):
            if p.reconstruct:
                features, drawn = encode_decode(self.model, inputs)
                logits = self.model.forward_head(features)
            else:
                features, logits = self.network(inputs)
        logits = logits.float()
        loss = self._classification(features, logits, targets, mixed, weights)
        if p.reconstruct:
            error = p.reconstruct * nn.functional.mse_loss(drawn.float(), inputs)
            loss = loss + error if p.classify else error
        return loss, logits

    def _classification(
        self, features: Tensor, logits: Tensor, targets: Tensor, mixed: Any, weights: Tensor
    ) -> Tensor:
        p = self.procedure
        if mixed is None:
            values = p.loss(logits, targets, p.class_counts)
            loss = reduction.batch_loss(values, weights[targets], p.hard_fraction, self.group)
        else:
            a, b = mixed.targets_a, mixed.targets_b
            loss = reduction.mixed_batch_loss(
                p.loss(logits, a, p.class_counts),
                p.loss(logits, b, p.class_counts),
                mixed.lam,
                weights[a],
                weights[b],
                p.hard_fraction,
                self.group,
            )
        if p.supcon > 0:
            loss = loss + p.supcon * supcon(features.float(), targets).mean()
        return loss

    def _update(self, loss: Tensor, again: Callable[[], Tensor]) -> None:
        p = self.procedure
        optimizer = p.optimizer
        optimizer.zero_grad(set_to_none=True)
        self._backward(self.scaler.scale(loss))
        if optim.uses_sam(optimizer):
            saved = optim.sam_perturb(optimizer)
            optimizer.zero_grad(set_to_none=True)
            with optim.batch_norm_paused(self.model):
                self._backward(again())
            optim.sam_restore(optimizer, saved)
        if p.grad_clip > 0:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), p.grad_clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def _backward(self, loss: Tensor) -> None:
        loss.backward()
        self.group.sum_gradients(self.model.parameters())


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
