"""Callback: the one protocol by which anything follows a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from imbalance_study.models.classifier import Classifier
from imbalance_study.training.procedure import EpochResult


class EpochState(NamedTuple):
    """A training between two epochs."""

    result: EpochResult  # of the epoch that ended
    model: Classifier  # that is evaluated: the moving average where there is one
    probabilities: Callable[[Tensor], Tensor]  # logits (N, C) -> (N, C), of this stage
    snapshot: Callable[[], dict[str, Any]]  # takes what `snapshot.restore` reads


class Callback:
    """Follows a training. Every method does nothing until a subclass overrides it.

    An exception ends the training. A callback leaves the training as it is: `Procedure` decides
    how to train.
    """

    def on_resume(self, state: EpochState) -> None:
        """Before the first epoch of a training that goes on from a snapshot.

        `state` is that of the last epoch before: the process that ended may have died before it
        could report this epoch.
        """

    def on_epoch_begin(self, epoch: int, images: int) -> None:
        """Before an epoch (counted from 1) of so many images."""

    def on_batch_end(self, images: int, loss: float) -> None:
        """After an update on so many images.

        `loss` is the newest that has arrived from the device, NaN before one has.
        """

    def on_epoch_end(self, state: EpochState) -> None:
        """After an epoch and its validation."""


class Callbacks(Callback):
    """Several callbacks, called in their order."""

    def __init__(self, *callbacks: Callback) -> None:
        self._callbacks = callbacks

    def on_resume(self, state: EpochState) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_resume(state)

    def on_epoch_begin(self, epoch: int, images: int) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_epoch_begin(epoch, images)

    def on_batch_end(self, images: int, loss: float) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_batch_end(images, loss)

    def on_epoch_end(self, state: EpochState) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_epoch_end(state)
