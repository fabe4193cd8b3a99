"""The learning-rate range test: a short training at rates that rise, until the loss explodes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imbalance_study.data.batches import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import loop
from imbalance_study.training.progress import Progress

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 140  # 20 a decade
SMOOTHING = 0.9
DIVERGED = 4.0  # times the smallest smoothed loss


class RangeTest(NamedTuple):
    """What a range test found."""

    lrs: npt.NDArray[np.float64]  # (S,) learning rate of each step
    losses: npt.NDArray[np.float64]  # (S,) of the batch
    smoothed: npt.NDArray[np.float64]  # (S,)
    suggestion: float
    diverged: bool  # it ended because the loss exploded


def range_test(
    model: Classifier,
    train: Batches,
    procedure: loop.Procedure,
    *,
    seeds: Callable[[str], int],
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
) -> RangeTest:
    """Train for a few steps while the learning rate rises exponentially, and suggest one.

    Smith 2017 (arXiv:1506.01186), with an exponential rise and a smoothed loss. It is `loop.fit`
    for one epoch, so that loss, mixing and augmentation are those of the training; class weights
    and sampler that are deferred are left out, as at the beginning of the training.

    Args:
        model: A copy: its weights are of no use afterwards.
        train: The training part.
        procedure: With an optimizer of this copy.
        seeds: Purpose to seed.
        lowest: First learning rate.
        highest: Last learning rate, if the loss does not explode before.
        steps: Updates at most.

    Raises:
        ValueError: The loss exploded at once, so that there is no curve to read.
    """
    if not 0 < lowest < highest or steps < 10:
        raise ValueError(
            f"a range test needs 0 < lowest < highest and 10 steps, got {lowest:g}, {highest:g}, "
            f"{steps}"
        )
    recorder = _Recorder()
    trial = dataclasses.replace(
        procedure,
        schedule=lambda epoch, epochs, history: _rise(epoch, lowest, highest),
        lr=1.0,
        epochs=1,
        steps_per_epoch=steps,
        select_by="last",
        early_stopping=None,
        ema_decay=0.0,
        max_seconds=math.inf,
        watch=lambda model, epoch, probabilities: {},
    )
    if procedure.defer > 0:
        ones = torch.ones_like(procedure.class_weights)
        trial = dataclasses.replace(trial, class_weights=ones, sampler=loop.shuffle)
    devices = [train.device] if train.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seeds("dropout"))
        with contextlib.suppress(_Exploded):
            loop.fit(
                model,
                train,
                None,
                trial,
                seeds=seeds,
                on_epoch=lambda result: None,
                progress=recorder,
            )
    losses = np.array(recorder.losses)
    middle = (np.arange(len(losses)) + 0.5) / steps
    lrs = np.array([_rise(one, lowest, highest) for one in middle])
    smoothed = smooth(losses)
    return RangeTest(lrs, losses, smoothed, suggest(lrs, smoothed), recorder.exploded)


def _rise(done: float, lowest: float, highest: float) -> float:
    return float(lowest * (highest / lowest) ** done)


class _Exploded(Exception):
    """The loss has grown so much that higher rates say nothing."""


class _Recorder(Progress):
    """Notes the loss of every step, and ends the training when it explodes."""

    def __init__(self) -> None:
        super().__init__(1, enabled=False)
        self.losses: list[float] = []
        self.exploded = False

    def step(self, images: int, loss: Tensor) -> None:
        """Note the loss; it is read at once."""
        value = float(loss)
        if math.isfinite(value):
            self.losses.append(value)
        if not math.isfinite(value) or _has_exploded(self.losses):
            self.exploded = True
            raise _Exploded


def _has_exploded(losses: Sequence[float]) -> bool:
    if len(losses) < 10:
        return False
    smoothed = smooth(losses)
    return bool(smoothed[-1] > DIVERGED * smoothed.min())


def smooth(losses: Sequence[float] | npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Exponential moving average (S,), without the bias towards 0 at its beginning.

    ``v_i = b v_(i-1) + (1 - b) l_i``, divided by ``1 - b^i``.
    """
    average, found = 0.0, []
    for number, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * float(loss)
        found.append(average / (1 - SMOOTHING**number))
    return np.array(found)


def suggest(lrs: npt.NDArray[np.floating[Any]], smoothed: npt.NDArray[np.floating[Any]]) -> float:
    """A peak learning rate, from the smoothed losses of rising rates.

    Raises:
        ValueError: Too few steps to read anything.
    """
    if len(smoothed) < 10:
        raise ValueError(
            f"the range test ended after {len(smoothed)} steps, at lr "
            f"{lrs[-1] if len(lrs) else 0:.2g}: the loss is not finite; set lr yourself"
        )
    return float(f"{lrs[int(np.argmin(smoothed))] / 3:.2g}")
