"""Heads: features (N, F) in, logits or cosines (N, C) out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbalance_study.config import choices, spec


class NormedLinear(nn.Module):
    """Cosine of the angle between each feature vector and each class weight, times `scale`.

    ``cos[n, c] = x[n] . w[c] / (|x[n]| |w[c]|)``, the head of LDAM (Cao et al. 2019,
    arXiv:1906.07413) and of the normalised softmax before it. The ldam loss has the scale s itself.
    There is no bias, and the length of the weights has no effect; they start as uniformly drawn
    rows of length 1.
    """

    def __init__(self, in_features: int, out_features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.in_features, self.out_features, self.scale = in_features, out_features, scale
        rows = torch.empty(out_features, in_features).uniform_(-1, 1)
        self.weight = nn.Parameter(F.normalize(rows, dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """Return cosines (N, C) of features (N, F); a feature vector of zeros has cosine 0."""
        cosines = F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))
        return cosines if self.scale == 1 else self.scale * cosines

    def extra_repr(self) -> str:
        """Return the sizes, as nn.Linear prints them."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def last(num_features: int, num_classes: int) -> nn.Module:
    """Replace the model's last Linear alone, and keep its other layers: logits."""
    return nn.Linear(num_features, num_classes)


def linear(num_features: int, num_classes: int) -> nn.Module:
    """Build weights and a bias: logits."""
    return nn.Linear(num_features, num_classes)


def mlp(
    num_features: int, num_classes: int, *, hidden: int = 256, dropout: float = 0.5
) -> nn.Module:
    """Build a hidden layer of `hidden` units with ReLU, dropout, then a Linear: logits.

    Raises:
        ValueError: `hidden` is below 1, or `dropout` outside [0, 1).
    """
    if hidden < 1:
        raise ValueError(f"hidden of head mlp must be at least 1, got {hidden}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout of head mlp must be in [0, 1), got {dropout:g}")
    return nn.Sequential(
        nn.Linear(num_features, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )


def cosine(num_features: int, num_classes: int, *, scale: float = 1.0) -> nn.Module:
    """Build normalised features and weights without bias: `scale` times a cosine.

    loss=ldam scales the cosines itself and wants a scale of 1; other losses want 10 to 30, since a
    softmax of cosines is nearly flat (Gidaris and Komodakis 2018, arXiv:1804.09458, sec. 3.2).

    Raises:
        ValueError: `scale` is not positive.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale of head cosine must be larger than 0, got {scale:g}")
    return NormedLinear(num_features, num_classes, scale)


def make_head(text: str, num_features: int, num_classes: int) -> nn.Module:
    """Build the head of a spec string, freshly drawn from torch's default generator.

    Raises:
        ValueError: An unknown head or option, or fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    head: nn.Module = spec.bind(choices.HEADS, text, "head")(num_features, num_classes)
    return head


def set_prior_bias(head: nn.Module, num_classes: int) -> nn.Parameter:
    """Start the bias of the head's last Linear at ``-log(C - 1)``, as sigmoid losses need.

    Each of the C sigmoids then starts at probability 1/C, so that the many negatives do not
    drown the first updates (Lin et al. 2017, sec. 3.3; Cui et al. 2019, sec. 5.1).

    Returns:
        The bias, so that the caller can keep weight decay from it: decay would pull it to 0,
        that is, each sigmoid to 1/2.

    Raises:
        ValueError: The head has no bias to set (head=cosine).
    """
    bias = last_bias(head)
    nn.init.constant_(bias, -math.log(num_classes - 1))
    return bias


def last_bias(head: nn.Module) -> nn.Parameter:
    """Return the bias on the logits.

    Raises:
        ValueError: The head has none (head=cosine).
    """
    linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if not linears or linears[-1].bias is None:
        raise ValueError(f"sigmoid losses need a head with a bias: head=linear, got {head}")
    return linears[-1].bias
