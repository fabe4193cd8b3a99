"""Detection of a loss that is not finite, without waiting for the device at every step."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from imbalance_study.training.distributed import Group

# Steps between two checks on a GPU, where a check makes the host wait.
EVERY = 16


class Diverged(ValueError):
    """The loss is not finite."""


class _Sent(NamedTuple):
    """Losses on their way to the host."""

    losses: Tensor  # (M,) on the host once `ready`
    lrs: list[float]
    first_step: int  # step of the first of them
    ready: torch.cuda.Event | None


class FiniteWatch:
    """Stops a training whose loss is no longer finite.

    On a processor each loss is checked at once. On a GPU the losses of 16 steps are copied to the
    host together and checked 16 steps later, when the copy has long arrived: the training stops at
    most 32 steps after the faulty step, and the device never runs idle. The message names the
    faulty step.
    """

    def __init__(self, device: torch.device, group: Group) -> None:
        self._group = group
        self._cuda = device.type == "cuda"
        self._every = 1 if device.type == "cpu" else EVERY
        self._losses: list[Tensor] = []
        self._lrs: list[float] = []
        self._sent: _Sent | None = None

    def add(self, loss: Tensor, lr: float, step: int, epoch: int) -> None:
        """Record the loss () of a step, counted from 1.

        Raises:
            Diverged: A loss was not finite, of this step or of one of the last 32.
        """
        self._losses.append(loss.detach())
        self._lrs.append(lr)
        if len(self._losses) >= self._every:
            self._check(epoch)
            self._send(step)
            if not self._cuda:
                self._check(epoch)

    def finish(self, step: int, epoch: int) -> None:
        """Check the remaining losses at the end of an epoch.

        Raises:
            Diverged: As `add`.
        """
        self._check(epoch)
        if self._losses:
            self._send(step)
            self._check(epoch)

    def _send(self, step: int) -> None:
        losses = self._group.sum(torch.stack(self._losses))
        first, ready = step - len(self._losses) + 1, None
        if self._cuda:
            host = torch.empty(len(losses), dtype=losses.dtype, pin_memory=True)
            losses = host.copy_(losses, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        self._sent = _Sent(losses, self._lrs, first, ready)
        self._losses, self._lrs = [], []

    def _check(self, epoch: int) -> None:
        if self._sent is None:
            return
        losses, lrs, first_step, ready = self._sent
        self._sent = None
        if ready is not None:
            ready.synchronize()
        for index, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss is not finite in epoch {epoch} (step {first_step + index}, "
                    f"lr {lrs[index]:.3g}); try a smaller lr, a longer warm-up, grad_clip=1 or "
                    "precision=fp32"
                )
