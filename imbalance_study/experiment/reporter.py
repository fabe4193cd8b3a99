"""Reporter: tells the caller of a run about each epoch, once its checkpoint is on the disk."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from imbalance_study.experiment import resume
from imbalance_study.experiment.monitor import Monitor
from imbalance_study.experiment.setup.build import RunSetup
from imbalance_study.training.callback import Callback, EpochState
from imbalance_study.training.checkpointing import Keeper
from imbalance_study.training.distributed import group
from imbalance_study.training.procedure import EpochResult, Fit

OnEpoch = Callable[[EpochResult], None]


class Reporter(Callback):
    """Calls `on_epoch` after each epoch, with figures of the monitored images.

    With a keeper the epoch is reported once its checkpoint is on the disk, which may be an epoch
    later.

    Args:
        setup: Of the run.
        on_epoch: Gets each epoch; what it raises ends the run.
        monitor: Draws the images; None in a process that does not lead.
        keeper: Writes the checkpoints.
    """

    def __init__(
        self,
        setup: RunSetup,
        on_epoch: OnEpoch,
        monitor: Monitor | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._setup, self._on_epoch = setup, on_epoch
        self._monitor, self._keeper = monitor, keeper
        self._before: Fit | None = None

    def begin_second_stage(self, before: Fit) -> None:
        """Keep the finished first stage in each checkpoint from now on."""
        self._before = before

    def on_resume(self, state: EpochState) -> None:
        """Report the last epoch once more: the process before may have died before it did."""
        self._on_epoch(self._with_images(state))

    def on_epoch_end(self, state: EpochState) -> None:
        """Write the checkpoint, then report the epoch."""
        report = functools.partial(self._on_epoch, self._with_images(state))
        if self._keeper is None and group().size == 1:
            report()
            return
        snapshot = state.snapshot()
        if self._keeper is None:  # one of several processes; the first one writes for all
            report()
            return
        content = resume.content(self._setup, snapshot, self._before)
        self._keeper.save(state.result.epoch, content, report)

    def _with_images(self, state: EpochState) -> EpochResult:
        if self._monitor is None:
            return state.result
        model = state.model
        if model.takes_features:
            model = self._setup.model.with_head_of(model)
        images = self._monitor.look(model, state.result.epoch, state.probabilities)
        return dataclasses.replace(state.result, images=images)
