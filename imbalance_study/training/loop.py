"""The only training loop.

`fit` trains one model. It knows no file, no MLflow and no Config: it gets functions, calls
`on_epoch` after each epoch, and hands back the weights of the best and of the last epoch. Nothing
inside an epoch waits for the device: losses and hits are summed there and read once, at its end.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imbalance_study import spec
from imbalance_study.data.batches import Batch, Batches
from imbalance_study.models.autoencoder import encode_decode
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import optim, reduction
from imbalance_study.training.contrastive import supcon
from imbalance_study.training.ema import WeightAverage
from imbalance_study.training.predict import Precision, autocast, predict, summary
from imbalance_study.training.progress import Progress
from imbalance_study.training.schedules import learning_rate
from imbalance_study.training.selection import Best, State, cpu_state, higher_is_better


@dataclasses.dataclass(frozen=True)
class EpochResult:
    """What is known after an epoch; epoch 0 is the moment before the first."""

    epoch: int  # finished epochs
    metrics: dict[str, float]
    val_recall: npt.NDArray[np.float64] | None = None  # (C,)
    drawn: npt.NDArray[np.int64] | None = None  # (C,) images of each class that the epoch showed
    facts: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # epoch 0: what was found out about data and model
    figures: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # epoch 0: pictures of the data
    images: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # key -> Figure, while on_epoch runs: what the model sees now


@dataclasses.dataclass(frozen=True)
class Procedure:
    """How to train: everything `fit` is told beside the model and the data."""

    loss: Callable[..., Tensor]
    probabilities: Callable[[Tensor], Tensor]  # logits (N, C) -> (N, C)
    class_counts: Tensor  # (C,) float, on the device
    class_weights: Tensor  # (C,) summing to C, on the device; ones where none are used
    sampler: Callable[..., Tensor]
    augment: Callable[[Tensor, torch.Generator], Tensor]
    normalise: Callable[[Tensor], Tensor]  # uint8 -> float
    optimizer: torch.optim.Optimizer
    schedule: Callable[..., float]
    lr: float
    epochs: int
    batch_size: int
    tail_augment: Callable[..., Tensor] | None = None
    mix: Callable[..., Any] | None = None
    defer: float = 0.0
    hard_fraction: float = 1.0
    supcon: float = 0.0
    steps_per_epoch: int = 0
    grad_clip: float = 0.0
    ema_decay: float = 0.0  # 0: no average
    select_by: str = "last"
    early_stopping: Callable[[Sequence[float]], bool] | None = None
    stop_metric: str = ""
    max_seconds: float = math.inf
    precision: Precision = "fp32"
    train_mode: Callable[[Classifier, float], object] = (
        lambda model, progress: model.train()  # called before each epoch; progress in [0, 1)
    )
    classify: bool = True  # False: the decoder trains, the head does not
    reconstruct: float = 0.0  # weight of the decoder's squared error in the loss
    stage: int = 0  # 1 or 2 of a training in two stages, else 0
    watch: Callable[[Classifier, int, Callable[[Tensor], Tensor]], dict[str, Any]] = (
        lambda model, epoch, probabilities: {}
    )


class Fit(NamedTuple):
    """A finished training; what it counts includes the training that it continued."""

    history: list[EpochResult]
    best: State  # weights of the selected epoch, on the CPU
    last: State
    best_epoch: int
    seconds: float
    images_seen: int
    steps: int
    stopped: str  # why the training ended


def fit(
    model: Classifier,
    train: Batches,
    val: Batches | None,
    procedure: Procedure,
    *,
    seeds: Callable[[str], int],
    on_epoch: Callable[[EpochResult], None],
    progress: Progress,
    after: Fit | None = None,
) -> Fit:
    """Train a model.

    The class weights and the sampler start once ``epoch / epochs >= defer``, at the latest with the
    last epoch. The kept epoch is the one with the best `select_by` (the earliest of equals), the
    last one when that is ``last`` or there is no validation part.

    Args:
        model: Trained in place; left with the weights of the last epoch.
        train: The training part.
        val: The validation part, or None.
        procedure: How to train.
        seeds: Purpose to seed: one generator for each purpose.
        on_epoch: Called after every epoch; what it raises ends the training.
        progress: Where a person follows.
        after: The first stage, which this one continues: the numbers of epochs, images and
            updates go on, but schedule, deferral, early stopping and selection start anew.

    Raises:
        ValueError: The loss is not finite, or the sampler drew no image.
    """
    if not procedure.classify:
        val, procedure = None, dataclasses.replace(procedure, early_stopping=None)
    trainer = _Trainer(model, train, procedure, seeds, after)
    history: list[EpochResult] = []
    watched: list[float] = []
    best = Best(procedure.select_by if val is not None else "last")
    started, stopped = time.perf_counter(), ""
    for epoch in range(procedure.epochs):
        errors = None if not history else _errors(history[-1])
        result = trainer.epoch(epoch, watched, errors, started, progress)
        if val is not None:
            result = _validate(trainer.evaluated, val, procedure, result)
        watched.append(best.score(result.metrics))
        best.offer(result.epoch, watched[-1], trainer.evaluated)
        history.append(result)
        progress.end_epoch(result.epoch, result.metrics)
        pictures = procedure.watch(trainer.evaluated, result.epoch, procedure.probabilities)
        on_epoch(dataclasses.replace(result, images=pictures))
        stopped = _reason_to_stop(procedure, history, time.perf_counter() - started)
        if stopped:
            break
    last = cpu_state(trainer.evaluated)
    return Fit(
        history=[*(after.history if after else ()), *history],
        best=best.state or last,
        last=last,
        best_epoch=best.epoch or history[-1].epoch,
        seconds=time.perf_counter() - started + (after.seconds if after else 0.0),
        images_seen=trainer.images_seen,
        steps=trainer.steps,
        stopped=stopped or "all epochs done",
    )


def _reason_to_stop(procedure: Procedure, history: Sequence[EpochResult], seconds: float) -> str:
    """Why the training ends after this epoch, or nothing."""
    if procedure.early_stopping is not None:
        name = procedure.stop_metric
        if procedure.early_stopping([higher_is_better(epoch.metrics, name) for epoch in history]):
            return f"early stopping on {name}"
    return "max_minutes reached" if seconds > procedure.max_seconds else ""


class _Trainer:
    """What changes from step to step: generators, average, counters."""

    def __init__(
        self,
        model: Classifier,
        train: Batches,
        procedure: Procedure,
        seeds: Callable[[str], int],
        after: Fit | None,
    ) -> None:
        self.model, self.train, self.procedure = model, train, procedure
        self.order = torch.Generator().manual_seed(seeds("order"))
        self.draws = torch.Generator(train.device).manual_seed(seeds("augmentation"))
        decay = procedure.ema_decay
        self.average = WeightAverage(model, decay) if decay else None
        enabled = procedure.precision == "fp16"
        self.scaler = torch.amp.GradScaler(train.device.type, enabled=enabled)
        self.epochs_before = len(after.history) if after else 0
        self.images_seen = after.images_seen if after else 0
        self.steps = after.steps if after else 0

    @property
    def evaluated(self) -> Classifier:
        """The model that counts: the moving average where there is one."""
        return cast(Classifier, self.average.model) if self.average else self.model

    def epoch(
        self,
        epoch: int,
        watched: Sequence[float],
        class_errors: Tensor | None,
        started: float,
        progress: Progress,
    ) -> EpochResult:
        """Train one epoch, counted from 0 within this stage."""
        p = self.procedure
        number = self.epochs_before + epoch + 1
        begun = time.perf_counter()
        done = 1.0 if epoch == p.epochs - 1 else epoch / p.epochs  # the last epoch never waits
        active = done >= p.defer
        indices = self._indices(epoch, active, class_errors)
        weights = reduction.active_class_weights(p.class_weights, done, p.defer)
        exact = torch.float32 if self.train.device.type == "mps" else torch.float64
        sums = torch.zeros(2, device=self.train.device, dtype=exact)
        p.train_mode(self.model, epoch / p.epochs)
        progress.start_epoch(number, len(indices))
        steps = math.ceil(len(indices) / p.batch_size)
        seen = 0
        for step, batch in enumerate(self.train.epoch(indices, p.batch_size)):
            lr = learning_rate(p.schedule, p.lr, epoch + (step + 0.5) / steps, p.epochs, watched)
            optim.set_lr(p.optimizer, lr)
            loss, hits = self._step(batch, weights)
            size = len(batch.targets)
            sums += torch.stack([loss.to(exact) * size, hits.to(exact)])
            seen += size
            progress.step(size, loss)
            if step % 16 == 0 and time.perf_counter() - started > p.max_seconds:
                break
        self.images_seen += seen
        drawn = torch.bincount(self.train.targets[indices[:seen]], minlength=len(weights))
        return self._result(number, sums, lr, begun, drawn)

    def _result(
        self, number: int, sums: Tensor, lr: float, begun: float, drawn: Tensor
    ) -> EpochResult:
        """Read what was summed up on the device: the only wait for it in an epoch."""
        loss_sum, hit_sum = sums.tolist()
        seconds, seen = time.perf_counter() - begun, int(drawn.sum())
        if not math.isfinite(loss_sum):
            raise ValueError(
                f"the loss is not finite in epoch {number} (step {self.steps}, lr {lr:.3g}); "
                "try a smaller lr, a longer warm-up, grad_clip=1 or precision=fp32"
            )
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

    def _indices(self, epoch: int, active: bool, class_errors: Tensor | None) -> Tensor:
        """The index vector of an epoch; with fixed steps, as many draws as fill them."""
        p = self.procedure
        sampler = p.sampler if active else shuffle
        context = sampler_context(sampler, epoch / p.epochs, class_errors)
        wanted = p.steps_per_epoch * p.batch_size
        indices = sampler(self.train.targets, self.order, **context)
        if not len(indices):
            raise ValueError("a sampler must draw at least one image an epoch, got none")
        while len(indices) < wanted:
            more = sampler(self.train.targets, self.order, **context)
            indices = torch.cat([indices, more])
        if wanted:
            indices = indices[:wanted]
        elif len(indices) > p.batch_size and len(indices) % p.batch_size == 1:
            indices = indices[:-1]  # batch norm cannot train on a single image
        return indices

    def _step(self, batch: Batch, weights: Tensor) -> tuple[Tensor, Tensor]:
        """One update; returns the loss and the number of hits, both still on the device."""
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
            else:
                features = self.model.forward_features(inputs)
            logits = self.model.forward_head(features)
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
            loss = reduction.batch_loss(values, weights[targets], p.hard_fraction)
        else:
            a, b = mixed.targets_a, mixed.targets_b
            loss = reduction.mixed_batch_loss(
                p.loss(logits, a, p.class_counts),
                p.loss(logits, b, p.class_counts),
                mixed.lam,
                weights[a],
                weights[b],
                p.hard_fraction,
            )
        if p.supcon > 0:
            loss = loss + p.supcon * supcon(features.float(), targets).mean()
        return loss

    def _update(self, loss: Tensor, again: Callable[[], Tensor]) -> None:
        p = self.procedure
        optimizer = p.optimizer
        optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if optim.uses_sam(optimizer):
            saved = optim.sam_perturb(optimizer)
            optimizer.zero_grad(set_to_none=True)
            with optim.batch_norm_paused(self.model):
                again().backward()
            optim.sam_restore(optimizer, saved)
        if p.grad_clip > 0:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), p.grad_clip)
        self.scaler.step(optimizer)
        self.scaler.update()


def sampler_context(
    sampler: Callable[..., Tensor], progress: float, class_errors: Tensor | None
) -> dict[str, Any]:
    """What the loop tells a sampler that asks for it: its reserved keyword parameters."""
    context = {"progress": progress, "class_errors": class_errors}
    return {name: value for name, value in context.items() if spec.takes(sampler, name)}


def shuffle(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Every index once: the sampler of the epochs before `defer`."""
    return torch.randperm(len(targets), generator=generator)


def _errors(result: EpochResult) -> Tensor | None:
    if result.val_recall is None:
        return None
    return torch.from_numpy(1 - result.val_recall)


def _validate(
    model: Classifier, val: Batches, procedure: Procedure, result: EpochResult
) -> EpochResult:
    found = predict(model, val, procedure.normalise, procedure.precision)
    counts = procedure.class_counts.cpu().numpy().astype(np.int64)
    metrics, recall = summary(found, procedure.probabilities, counts)
    named = {f"val/{name}": value for name, value in metrics.items()}
    named["val/accuracy_gap"] = result.metrics["train/accuracy"] - named["val/accuracy"]
    return dataclasses.replace(result, metrics=result.metrics | named, val_recall=recall)
