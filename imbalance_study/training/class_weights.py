"""Class weights, an axis of remedies beside the losses.

A function is ``class_weights(class_counts (C,), *, options) -> (C,)``; its weights sum to C. They
multiply the losses of the examples in `imbalance_study.training.reduction`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from imbalance_study.training.losses import at_least_float32


def no_weights(class_counts: Tensor) -> Tensor:
    """Weigh every class the same."""
    return torch.ones_like(at_least_float32(class_counts))


def balanced_weights(class_counts: Tensor) -> Tensor:
    """Weigh by ``1 / n_c``: every class has the same weight in all."""
    return _sum_to_classes(1 / at_least_float32(class_counts))


def effective_weights(class_counts: Tensor, *, beta: float = 0.9999) -> Tensor:
    """Weigh by ``(1 - beta) / (1 - beta^n_c)``, one over the effective number of samples.

    Cui et al. 2019, arXiv:1901.05555, sec. 3.2 and 4. beta 0 weighs all classes alike, beta to 1
    is `balanced_weights`. The weights depend on log(1 - beta): at ratio 100 on CIFAR-10 they differ
    by 2.5 times at beta 0.99, 20 at 0.999, 79 at 0.9999.

    Raises:
        ValueError: `beta` is outside [0, 1).
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), got {beta:g}")
    log_beta = math.log(beta) if beta > 0 else -math.inf
    # expm1, because 1 - beta^n in float32 would lose its digits as beta nears 1.
    return _sum_to_classes(-1 / (at_least_float32(class_counts) * log_beta).expm1())


def inverse_sqrt_weights(class_counts: Tensor) -> Tensor:
    """Weigh by ``1 / sqrt(n_c)``: half-way, on a log scale, to balanced weights."""
    return _sum_to_classes(at_least_float32(class_counts) ** -0.5)


def _sum_to_classes(weights: Tensor) -> Tensor:
    return weights * (len(weights) / weights.sum())
