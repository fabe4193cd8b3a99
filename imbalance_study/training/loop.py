"""The only training loop.

`fit` trains one model. It knows no file, no MLflow and no Config: it takes functions, reports to a
`Callback`, and returns the weights of the best and of the last epoch.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from imbalance_study.data.loader import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import snapshot
from imbalance_study.training.best_epoch import Best, cpu_state, higher_is_better
from imbalance_study.training.callback import Callback, EpochState
from imbalance_study.training.cpu import allocator, convolutions
from imbalance_study.training.predict import predict, summary
from imbalance_study.training.procedure import EpochResult, Fit, Procedure
from imbalance_study.training.trainer import Trainer


def fit(
    model: Classifier,
    train: Batches,
    val: Batches | None,
    procedure: Procedure,
    *,
    seeds: Callable[[str], int],
    callback: Callback,
    after: Fit | None = None,
    state: snapshot.Snapshot | None = None,
) -> Fit:
    """Train a model.

    The class weights and the sampler start once ``epoch / epochs >= defer``, at the latest with the
    last epoch. The kept epoch is the one with the best `select_by` (of equals the one with the
    smaller ``val/loss``, then the later), the last one when that is ``last`` or there is no
    validation part.

    Args:
        model: Trained in place; left with the weights of the last epoch.
        train: The training part.
        val: The validation part, or None.
        procedure: How to train.
        seeds: Purpose to seed: one generator for each purpose.
        callback: Follows the training; what it raises ends the training.
        after: The first stage, which this one continues: the numbers of epochs, images and
            updates go on, but schedule, deferral, early stopping and selection start anew.
        state: A snapshot to go on from.

    Raises:
        ValueError: The loss is not finite, or the sampler drew no image.
    """
    with convolutions.enabled(model), allocator.kept(train.device):
        if not procedure.classify:
            val, procedure = None, dataclasses.replace(procedure, early_stopping=None)
        training = _Training(Trainer(model, train, procedure, seeds, after), val, callback)
        if state is not None:
            training.resume(state)
        while not (stopped := training.reason_to_stop()):
            training.epoch()
        return training.result(after, stopped)


class _Training:
    """The epochs of a stage: trained, validated, offered for selection, reported."""

    def __init__(self, trainer: Trainer, val: Batches | None, callback: Callback) -> None:
        self.trainer, self.val, self.callback = trainer, val, callback
        self.best = Best(trainer.procedure.select_by if val is not None else "last")
        self.history: list[EpochResult] = []
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the stage began, in all processes that it took."""
        return time.perf_counter() - self.started

    def resume(self, state: snapshot.Snapshot) -> None:
        """Put the training into the state of a snapshot, and report its last epoch."""
        self.history = snapshot.restore(state, self.trainer, self.best)
        self.started -= state["seconds"]
        self.callback.on_resume(self._state())
        snapshot.restore_generators(state, self.trainer)

    def epoch(self) -> None:
        """Train, validate and report one epoch."""
        watched = [self.best.score(epoch.metrics) for epoch in self.history]
        errors = None if not self.history else _errors(self.history[-1])
        result = self.trainer.epoch(len(self.history), watched, errors, self.started, self.callback)
        if self.val is not None:
            result = _validate(self.trainer, self.val, result)
        self.best.offer(result.epoch, result.metrics, self.trainer.evaluated)
        self.history.append(result)
        self.callback.on_epoch_end(self._state())

    def reason_to_stop(self) -> str:
        """Say why the training ends here, or nothing; there is always one epoch."""
        procedure = self.trainer.procedure
        if not self.history:
            return ""
        if procedure.early_stopping is not None:
            metric, should_stop = procedure.early_stopping
            if should_stop([higher_is_better(epoch.metrics, metric) for epoch in self.history]):
                return f"early stopping on {metric}"
        if self.trainer.late(self.started):
            return "max_minutes reached"
        return "all epochs done" if len(self.history) >= procedure.epochs else ""

    def result(self, after: Fit | None, stopped: str) -> Fit:
        """Return the finished training, together with the stage before it."""
        if self.trainer.captured is not None:
            self.trainer.captured.drop()  # validation and analyses need its memory
        last = cpu_state(self.trainer.evaluated)
        return Fit(
            history=[*(after.history if after else ()), *self.history],
            best=self.best.state or last,
            last=last,
            best_epoch=self.best.epoch or self.history[-1].epoch,
            seconds=self.seconds + (after.seconds if after else 0.0),
            images_seen=self.trainer.images_seen,
            steps=self.trainer.steps,
            stopped=stopped,
        )

    def _state(self) -> EpochState:
        return EpochState(
            self.history[-1],
            self.trainer.evaluated,
            self.trainer.procedure.probabilities,
            lambda: snapshot.take(self.trainer, self.best, self.history, self.seconds),
        )


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
