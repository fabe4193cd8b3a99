"""Losses and hits of an epoch, read without waiting for the device at every step."""

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
    """Losses and hits on their way to the host."""

    values: Tensor  # (M + 1,) on the host once `ready`: the losses, and the hits of all of them
    sizes: list[int]  # images of each step
    lrs: list[float]
    first_step: int  # step of the first of them
    ready: torch.cuda.Event | None


class FiniteWatch:
    """Sums losses and hits of an epoch, and stops a training whose loss is no longer finite.

    On a processor each loss is checked at once. On a GPU the losses of 16 steps are copied to the
    host together and checked 16 steps later, when the copy has long arrived: the training stops at
    most 32 steps after the faulty step, and the device never runs idle. The message names the
    faulty step. Sums are made on the host, so that they cost the device nothing.

    Args:
        device: Of the training.
        group: The processes that train together.
        patience: Faulty steps in a row that end the training. In fp16 it takes two: the scaler of
            the gradients leaves a single one out, and takes a smaller scale.

    Attributes:
        loss_sum: Of each finite loss times the images of its batch, of the steps that were checked.
        images: Of these batches.
        hits: Images that were classified rightly, of all steps that were checked.
        latest: Loss of the last of them, NaN before.
    """

    def __init__(self, device: torch.device, group: Group, *, patience: int = 1) -> None:
        self._group = group
        self._cuda = device.type == "cuda"
        self._every = 1 if device.type == "cpu" else EVERY
        self._losses: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._sizes: list[int] = []
        self._lrs: list[float] = []
        self._sent: _Sent | None = None
        self._patience, self._faults = patience, 0
        self.loss_sum, self.images, self.hits, self.latest = 0.0, 0, 0, math.nan

    def add(self, loss: Tensor, hits: Tensor, size: int, lr: float, step: int, epoch: int) -> None:
        """Record a step.

        Args:
            loss: () of this process's part of the batch.
            hits: (B,) bool, which of its images are classified rightly.
            size: Images of the batch, in all processes.
            lr: Its learning rate.
            step: Its number, counted from 1.
            epoch: Likewise.

        Raises:
            Diverged: A loss was not finite, of this step or of one of the last 32.
        """
        self._losses.append(loss.detach())
        self._hits.append(hits)
        self._sizes.append(size)
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
        hits = self._hits[0] if len(self._hits) == 1 else torch.cat(self._hits)
        counted = hits.sum().to(self._losses[0].dtype)  # exact: far fewer than 2^24
        values = self._group.sum(torch.stack([*self._losses, counted]))
        first, ready = step - len(self._losses) + 1, None
        if self._cuda:
            host = torch.empty(len(values), dtype=values.dtype, pin_memory=True)
            values = host.copy_(values, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        self._sent = _Sent(values, self._sizes, self._lrs, first, ready)
        self._losses, self._hits, self._sizes, self._lrs = [], [], [], []

    def _check(self, epoch: int) -> None:
        if self._sent is None:
            return
        values, sizes, lrs, first_step, ready = self._sent
        self._sent = None
        if ready is not None:
            ready.synchronize()
        *losses, hits = values.tolist()
        self.hits += round(hits)
        for index, loss in enumerate(losses):
            if math.isfinite(loss):
                self._faults, self.latest = 0, loss
                self.loss_sum += loss * sizes[index]
                self.images += sizes[index]
                continue
            self._faults += 1
            if self._faults >= self._patience:
                raise Diverged(
                    f"the loss is not finite in epoch {epoch} (step {first_step + index}, "
                    f"lr {lrs[index]:.3g}); try a smaller lr, a longer warm-up, grad_clip=1 or "
                    "precision=fp32"
                )
