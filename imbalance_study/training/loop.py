"""The only training loop.

`fit` trains one model. It knows no file, no MLflow and no Config: it gets functions, calls
`on_epoch` after each epoch, and hands back the weights of the best and of the last epoch.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from imbalance_study.data.loader import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import snapshot
from imbalance_study.training.best_epoch import Best, cpu_state, higher_is_better
from imbalance_study.training.cpu import allocator, convolutions
from imbalance_study.training.predict import predict, summary
from imbalance_study.training.procedure import EpochResult, Fit, Procedure
from imbalance_study.training.progress import Progress
from imbalance_study.training.trainer import Trainer, sampler_context

__all__ = ["EpochResult", "Fit", "Keep", "Procedure", "fit", "sampler_context"]

# Called after each epoch with what makes a snapshot, and what is to be done once it is safe.
Keep = Callable[[Callable[[], snapshot.Snapshot], Callable[[], None]], None]


def no_keep(state: Callable[[], snapshot.Snapshot], then: Callable[[], None]) -> None:
    """Keep no snapshot."""
    then()


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
    keep: Keep = no_keep,
    state: snapshot.Snapshot | None = None,
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
        keep: Gets a snapshot after every epoch, and calls `on_epoch` once it is safe.
        state: A snapshot to go on from. Its last epoch is told of once more, as the process that
            took it may have died before it told.

    Raises:
        ValueError: The loss is not finite, or the sampler drew no image.
    """
    with convolutions.enabled(model), allocator.kept(train.device):
        return _fit(model, train, val, procedure, seeds, on_epoch, progress, after, keep, state)


def _fit(
    model: Classifier,
    train: Batches,
    val: Batches | None,
    procedure: Procedure,
    seeds: Callable[[str], int],
    on_epoch: Callable[[EpochResult], None],
    progress: Progress,
    after: Fit | None,
    keep: Keep,
    state: snapshot.Snapshot | None,
) -> Fit:
    if not procedure.classify:
        val, procedure = None, dataclasses.replace(procedure, early_stopping=None)
    trainer = Trainer(model, train, procedure, seeds, after)
    best = Best(procedure.select_by if val is not None else "last")
    history: list[EpochResult] = []
    started = time.perf_counter()

    def told(result: EpochResult) -> EpochResult:
        pictures = procedure.watch(trainer.evaluated, result.epoch, procedure.probabilities)
        return dataclasses.replace(result, images=pictures)

    if state is not None:
        history = snapshot.restore(state, trainer, best)
        started -= state["seconds"]
        progress.resume(history[-1].epoch)
        on_epoch(told(history[-1]))
        snapshot.restore_generators(state, trainer)
    watched = [best.score(epoch.metrics) for epoch in history]
    while not (stopped := _reason_to_stop(trainer, history, started)):
        errors = None if not history else _errors(history[-1])
        result = trainer.epoch(len(history), watched, errors, started, progress)
        if val is not None:
            result = _validate(trainer, val, result)
        watched.append(best.score(result.metrics))
        best.offer(result.epoch, watched[-1], trainer.evaluated)
        history.append(result)
        progress.end_epoch(result.epoch, result.metrics)
        keep(
            lambda: snapshot.take(trainer, best, history, time.perf_counter() - started),
            functools.partial(on_epoch, told(result)),
        )
    last = cpu_state(trainer.evaluated)
    return Fit(
        history=[*(after.history if after else ()), *history],
        best=best.state or last,
        last=last,
        best_epoch=best.epoch or history[-1].epoch,
        seconds=time.perf_counter() - started + (after.seconds if after else 0.0),
        images_seen=trainer.images_seen,
        steps=trainer.steps,
        stopped=stopped,
    )


def _reason_to_stop(trainer: Trainer, history: Sequence[EpochResult], started: float) -> str:
    """Why the training ends here, or nothing; there is always one epoch."""
    procedure = trainer.procedure
    if not history:
        return ""
    if procedure.early_stopping is not None:
        name = procedure.stop_metric
        if procedure.early_stopping([higher_is_better(epoch.metrics, name) for epoch in history]):
            return f"early stopping on {name}"
    if trainer.late(started):
        return "max_minutes reached"
    return "all epochs done" if len(history) >= procedure.epochs else ""


def _errors(result: EpochResult) -> Tensor | None:
    if result.val_recall is None:
        return None
    return torch.from_numpy(1 - result.val_recall)


def _validate(trainer: Trainer, val: Batches, result: EpochResult) -> EpochResult:
    procedure = trainer.procedure
    found = predict(
        trainer.evaluated, val, procedure.normalise, procedure.precision, group=trainer.group
    )
    counts = procedure.class_counts.cpu().numpy().astype(np.int64)
    metrics, recall = summary(found, procedure.probabilities, counts)
    named = {f"val/{name}": value for name, value in metrics.items()}
    named["val/accuracy_gap"] = result.metrics["train/accuracy"] - named["val/accuracy"]
    return dataclasses.replace(result, metrics=result.metrics | named, val_recall=recall)
