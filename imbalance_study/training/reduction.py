"""Reduction of the losses of examples to the loss of a batch: weights, mixing, hard examples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imbalance_study.training.distributed import ALONE, Group


def batch_loss(
    losses: Tensor, weights: Tensor | None, hard_fraction: float = 1.0, group: Group = ALONE
) -> Tensor:
    """Return ``sum(w * l) / sum(w)``: the scale of the weights never moves the learning rate.

    With `hard_fraction` below 1 only the ``ceil(hard_fraction * N)`` examples with the largest
    losses contribute, chosen without regard to weights (online hard example mining,
    Shrivastava et al. 2016, arXiv:1604.03540).

    Args:
        losses: (N,) one value per example.
        weights: (N,) the class weight of each example, positive; None where all are 1, in one
            process alone.
        hard_fraction: Share of the batch, by largest loss, that contributes.
        group: Processes that share the batch, each with its `Group.part` of the examples; the sum
            of the values that they get is the loss of the batch.

    Raises:
        ValueError: `hard_fraction` is outside (0, 1].
    """
    if not 0 < hard_fraction <= 1:
        raise ValueError(f"hard_fraction must be in (0, 1], got {hard_fraction:g}")
    if hard_fraction < 1:
        hardest = _hardest(losses.detach(), hard_fraction, group)
        losses = losses[hardest]
        weights = None if weights is None else weights[hardest]
    if weights is None:
        return losses.sum() / len(losses)
    return (weights * losses).sum() / group.sum(weights.sum())


def _hardest(losses: Tensor, fraction: float, group: Group) -> Tensor:
    """Return the indices of this process's examples among the hardest of all."""
    if group.size == 1:
        return losses.topk(math.ceil(fraction * len(losses))).indices
    count = int(group.sum(torch.tensor(len(losses), device=losses.device)))
    everyone = group.gather(losses, count)
    chosen = torch.zeros(count, dtype=torch.bool, device=losses.device)
    chosen[everyone.topk(math.ceil(fraction * count)).indices] = True
    return chosen[group.part(count)].nonzero()[:, 0]


def mixed_batch_loss(
    losses_a: Tensor,
    losses_b: Tensor,
    lam: Tensor,
    weights_a: Tensor | None,
    weights_b: Tensor | None,
    hard_fraction: float = 1.0,
    group: Group = ALONE,
) -> Tensor:
    """Return the batch loss of mixed examples: `lam` of class a, the rest of class b.

    ``sum(lam w_a l_a + (1 - lam) w_b l_b) / sum(lam w_a + (1 - lam) w_b)``: the terms of mixup
    (Zhang et al. 2018, arXiv:1710.09412) over the sum of their own weights. An example's loss, by
    which the hardest are chosen, is the quotient of its own terms.

    Args:
        losses_a: (N,) loss to the first targets.
        losses_b: (N,) loss to the second targets.
        lam: (N,) share of the first targets, in [0, 1].
        weights_a: (N,) class weights of the first targets, positive; None where all are 1.
        weights_b: (N,) class weights of the second targets, positive.
        hard_fraction: As in `batch_loss`.
        group: As in `batch_loss`.
    """
    share_a, share_b = lam, 1 - lam
    if weights_a is not None and weights_b is not None:
        share_a, share_b = share_a * weights_a, share_b * weights_b
    weights = share_a + share_b
    losses = (share_a * losses_a + share_b * losses_b) / weights
    return batch_loss(losses, weights, hard_fraction, group)


def active_class_weights(weights: Tensor, progress: float, defer: float) -> Tensor:
    """Return the class weights (C,) in force: ones until `defer` of the training is done.

    Deferred re-weighting (DRW, Cao et al. 2019, arXiv:1906.07413, algorithm 1): ``defer=0.8`` is
    epoch 160 of 200.

    Args:
        weights: (C,) the weights from then on.
        progress: Fraction of the training done, in [0, 1].
        defer: 0 puts the weights in force at once.
    """
    return weights if progress >= defer else torch.ones_like(weights)
