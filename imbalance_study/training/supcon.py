"""Supervised contrastive loss, an auxiliary term on the penultimate features."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def supcon(features: Tensor, targets: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Compute the supervised contrastive loss of each anchor, (N,): like classes together.

    With unit features z and P(i) the other examples of the class of i,
    ``-1/|P(i)| sum_{p in P(i)} log( exp(z_i z_p / t) / sum_{a != i} exp(z_i z_a / t) )``
    (Khosla et al. 2020, arXiv:2004.11362, eq. 2, L_out). An anchor alone in its class gives zero,
    and so pulls a batch mean down. Differs from the paper in its use: one view per image, no
    projection head, beside the classification loss; several views can be concatenated.

    Args:
        features: (N, D), normalised here.
        targets: (N,) classes.
        temperature: t, larger than 0.

    Raises:
        ValueError: `temperature` is not larger than 0.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be larger than 0 and finite, got {temperature:g}")
    if features.dtype != torch.float64:
        features = features.float()
    units = F.normalize(features, dim=1)
    itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
    # The smallest number, not -inf: a batch of one has nothing else to compare with.
    similarity = (units @ units.T / temperature).masked_fill(itself, torch.finfo(units.dtype).min)
    log_probs = similarity - similarity.logsumexp(1, keepdim=True)
    positive = (targets[:, None] == targets[None, :]) & ~itself
    total = log_probs.where(positive, 0.0).sum(1)
    return -total / positive.sum(1).clamp(min=1)
