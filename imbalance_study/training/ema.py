"""Exponential moving average of a model's weights.

The average is a model itself, so that it is evaluated, saved and logged as any other.
`torch.optim.swa_utils.AveragedModel` was not taken: its counter is a tensor on the device, so that
a decay that warms up would wait for the device at each update, and its wrapper hides the model's
contract (features, head, layer names) and renames every key of the state.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """``a <- d a + (1 - d) w`` after each update, with d from `decay_at`.

    Weights are averaged; buffers (batch-norm statistics and counters) are copied.

    Attributes:
        model: The average: a model in eval mode, without gradients.
        updates: Updates averaged so far.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        decay_at(0, decay)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._weights: list[Tensor] = list(self.model.parameters())
        self._buffers = _by_type(list(self.model.buffers()))
        self._followed: tuple[nn.Module, list[Tensor], list[list[Tensor]]] | None = None

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`, which has just been updated.

        The tensors of the first model are kept: those of a training are updated in place.
        """
        if self._followed is None or self._followed[0] is not model:
            self._followed = model, list(model.parameters()), _by_type(list(model.buffers()))
        _, weights, buffers = self._followed
        weight = 1 - decay_at(self.updates, self.decay)
        torch._foreach_lerp_(self._weights, weights, weight)
        for ours, theirs in zip(self._buffers, buffers, strict=True):
            torch._foreach_copy_(ours, theirs)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint, exactly."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]


def _by_type(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Return tensors in lists of one type each, which a GPU takes in one launch."""
    types = dict.fromkeys(tensor.dtype for tensor in tensors)
    return [[tensor for tensor in tensors if tensor.dtype == one] for one in types]


def decay_at(update: int, decay: float) -> float:
    """Return the decay of update t, counted from 0: ``min(decay, (1 + t) / (10 + t))``.

    The warm-up lets the average forget the random start quickly: 0.1 at first, 0.9 after 80.

    Raises:
        ValueError: `decay` is outside (0, 1).
    """
    if not 0 < decay < 1:
        raise ValueError(f"ema_decay must be larger than 0 and smaller than 1, got {decay:g}")
    return min(decay, (1 + update) / (10 + update))
