"""Learning-rate range test: a short training at rising rates, until the loss explodes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imbalance_study.data.loader import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import optim
from imbalance_study.training.procedure import Procedure
from imbalance_study.training.trainer import Trainer

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 140  # 20 a decade
SMOOTHING = 0.9
DIVERGED = 4.0  # times the smallest smoothed loss
FEWEST = 10  # steps that make a curve


class RangeTest(NamedTuple):
    """Result of a range test."""

    lrs: npt.NDArray[np.float64]  # (S,) learning rate of each step
    losses: npt.NDArray[np.float64]  # (S,) of the batch
    smoothed: npt.NDArray[np.float64]  # (S,)
    suggestion: float
    diverged: bool  # the loss exploded before the last rate


def range_test(
    model: Classifier,
    train: Batches,
    procedure: Procedure,
    *,
    seeds: Callable[[str], int],
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
) -> RangeTest:
    """Train for a few steps while the learning rate rises exponentially, and suggest one.

    Smith 2017 (arXiv:1506.01186), with an exponential rise and a smoothed loss. The
    steps are those of the training, with its loss, mixing and augmentation; class weights and a
    sampler that are deferred are left out, as at the beginning of the training.

    Args:
        model: A copy, which is changed.
        train: The training part.
        procedure: With an optimizer of this copy.
        seeds: Purpose to seed.
        lowest: First learning rate.
        highest: Last learning rate, if the loss does not explode before.
        steps: Updates at most.

    Raises:
        ValueError: The loss exploded at once, so that there is no curve.
    """
    if not 0 < lowest < highest or steps < FEWEST:
        raise ValueError(
            f"a range test needs 0 < lowest < highest and {FEWEST} steps, got {lowest:g}, "
            f"{highest:g}, {steps}"
        )
    waits = procedure.defer > 0
    trial = dataclasses.replace(procedure, steps_per_epoch=steps, ema_decay=0.0)
    weights = torch.ones_like(trial.class_weights) if waits else trial.class_weights
    lrs = [lowest * (highest / lowest) ** ((step + 0.5) / steps) for step in range(steps)]
    devices = [train.device] if train.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seeds("dropout"))
        trainer = Trainer(model, train, trial, seeds)
        trial.train_mode(model, 0.0)
        losses = _losses_at(trainer, trainer.indices(0, not waits, None), weights, lrs)
    exploded = not math.isfinite(losses[-1]) or _has_exploded(losses)
    finite = len(losses) if math.isfinite(losses[-1]) else len(losses) - 1
    rates, values = np.array(lrs[:finite]), np.array(losses[:finite])
    smoothed = smooth(values)
    return RangeTest(rates, values, smoothed, suggest(rates, smoothed), exploded)


def _losses_at(
    trainer: Trainer, indices: Tensor, weights: Tensor, lrs: Sequence[float]
) -> list[float]:
    """Take a step at each learning rate until the loss explodes; return the losses."""
    procedure, losses = trainer.procedure, []
    batches = trainer.train.epoch(indices, procedure.batch_size)
    for lr, batch in zip(lrs, batches, strict=False):
        optim.set_lr(procedure.optimizer, lr)
        losses.append(float(trainer.group.sum(trainer.step(batch, weights)[0])))
        if not math.isfinite(losses[-1]) or _has_exploded(losses):
            break
    return losses


def _has_exploded(losses: Sequence[float]) -> bool:
    if len(losses) < FEWEST:
        return False
    smoothed = smooth(losses)
    return bool(smoothed[-1] > DIVERGED * smoothed.min())


def smooth(losses: Sequence[float] | npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Compute an exponential moving average (S,) without bias towards 0 at its beginning.

    ``v_i = b v_(i-1) + (1 - b) l_i``, divided by ``1 - b^i``.
    """
    average, averages = 0.0, []
    for number, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * float(loss)
        averages.append(average / (1 - SMOOTHING**number))
    return np.array(averages)


def suggest(lrs: npt.NDArray[np.floating[Any]], smoothed: npt.NDArray[np.floating[Any]]) -> float:
    """Suggest a peak learning rate, from the smoothed losses of rising rates.

    Raises:
        ValueError: There are fewer than 10 steps.
    """
    if len(smoothed) < FEWEST:
        raise ValueError(
            f"the range test ended after {len(smoothed)} steps, at lr "
            f"{lrs[-1] if len(lrs) else 0:.2g}: the loss is not finite; set lr yourself"
        )
    return float(f"{lrs[int(np.argmin(smoothed))] / 3:.2g}")
