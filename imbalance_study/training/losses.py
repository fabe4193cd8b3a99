"""Losses: one value per example, from logits, targets and class counts.

A loss is ``loss(logits (N, C), targets (N,), class_counts (C,)) -> (N,)``: one value per example,
without reduction, epoch or device. Class weights are applied outside of it (see
`imbalance_study.training.reduction`). Losses compute in float32 at least, for logits of any
precision, and never wait for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from imbalance_study.config import choices
from imbalance_study.config.choice import with_trait

LDAM_SCALE = 30.0


def cross_entropy(
    logits: Tensor, targets: Tensor, class_counts: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Compute the softmax cross-entropy.

    ``-sum_c q_c log p_c`` with ``q = (1 - e) onehot(y) + e/C`` for a label smoothing of e
    (Szegedy et al. 2016, arXiv:1512.00567, sec. 7).

    Raises:
        ValueError: `label_smoothing` is outside [0, 1).
    """
    _check(0 <= label_smoothing < 1, "label_smoothing must be in [0, 1)", label_smoothing)
    logits = at_least_float32(logits)
    return F.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)


def focal(logits: Tensor, targets: Tensor, class_counts: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Compute the focal loss on the softmax: easy examples contribute less.

    ``-(1 - p_t)^gamma log p_t``, p_t the softmax probability of the true class (Lin et al. 2017,
    arXiv:1708.02002, eq. 4; the paper itself has sigmoids, see `sigmoid_focal`). The power is taken
    of the other classes' probabilities, summed as logarithms: for every gamma the gradient
    stays finite as p_t reaches 1, where ``(1 - p_t)^gamma`` itself has an infinite slope for
    gamma < 1.

    Raises:
        ValueError: `gamma` is negative or not finite.
    """
    _check(0 <= gamma < math.inf, "gamma must be at least 0 and finite", gamma)
    log_probs = F.log_softmax(at_least_float32(logits), dim=1)
    index = targets[:, None]
    log_others = log_probs.scatter(1, index, -math.inf).logsumexp(1)
    return -(gamma * log_others).exp() * log_probs.gather(1, index)[:, 0]


def sigmoid(logits: Tensor, targets: Tensor, class_counts: Tensor) -> Tensor:
    """Compute the binary cross-entropy of one sigmoid for each class, summed over the classes.

    ``-sum_c log sigmoid(z'_c)`` with z' the logit of the true class and the negative of the others
    (Cui et al. 2019, arXiv:1901.05555, sec. 4.2). The bias of the head starts at
    ``-log(C - 1)``, without weight decay.
    """
    return -F.logsigmoid(_signed(logits, targets)).sum(1)


def sigmoid_focal(
    logits: Tensor, targets: Tensor, class_counts: Tensor, *, gamma: float = 2.0
) -> Tensor:
    """Compute the focal loss on one sigmoid for each class, summed over the classes.

    ``-sum_c (1 - p_c)^gamma log p_c`` with ``p_c = sigmoid(z'_c)``, z' as for `sigmoid`
    (Lin et al. 2017, arXiv:1708.02002, eq. 4, without alpha; Cui et al. 2019, sec. 4.3).

    Raises:
        ValueError: `gamma` is negative or not finite.
    """
    _check(0 <= gamma < math.inf, "gamma must be at least 0 and finite", gamma)
    signed = _signed(logits, targets)
    return -((gamma * F.logsigmoid(-signed)).exp() * F.logsigmoid(signed)).sum(1)


def ldam(
    logits: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    *,
    max_m: float = 0.5,
    s: float = LDAM_SCALE,
) -> Tensor:
    """Compute label-distribution-aware margins: the rarer the class, the larger its margin.

    Cross-entropy of ``s * (cos - margin_y onehot(y))`` (Cao et al. 2019, arXiv:1906.07413, sec.
    3.2). The logits are the cosines of a normalised head (head=cosine), in [-1, 1].

    Args:
        logits: Cosines.
        targets: True classes.
        class_counts: Training images per class.
        max_m: Margin of the rarest class, a difference of cosines.
        s: Scale of the cosines.

    Raises:
        ValueError: `max_m` is negative or `s` is not positive.
    """
    _check(0 < s < math.inf, "s must be larger than 0 and finite", s)
    cosines = at_least_float32(logits)
    margins = ldam_margins(class_counts.to(cosines.dtype), max_m)[targets]
    shifted = cosines.scatter_add(1, targets[:, None], -margins[:, None])
    return F.cross_entropy(s * shifted, targets, reduction="none")


def ldam_margins(class_counts: Tensor, max_m: float) -> Tensor:
    """Return the margin of each class: ``max_m * (n_c / n_min)^(-1/4)``, (C,).

    Raises:
        ValueError: `max_m` is negative or not finite.
    """
    _check(0 <= max_m < math.inf, "max_m must be at least 0 and finite", max_m)
    return max_m * (class_counts / class_counts.min()) ** -0.25


def balanced_softmax(logits: Tensor, targets: Tensor, class_counts: Tensor) -> Tensor:
    """Compute the cross-entropy of ``z_c + log n_c``: the softmax weighs classes by count.

    Ren et al. 2020, arXiv:2007.10740, eq. 3 and 4. At test the plain logits are used.
    """
    logits = at_least_float32(logits)
    shifted = logits + class_counts.to(logits.dtype).log()
    return F.cross_entropy(shifted, targets, reduction="none")


def logit_adjusted(
    logits: Tensor, targets: Tensor, class_counts: Tensor, *, tau: float = 1.0
) -> Tensor:
    """Compute the cross-entropy of ``z_c + tau log prior_c``, with the training prior.

    Menon et al. 2021, arXiv:2007.07314, eq. 10. The adjustment is made here or at test
    (evaluation.posthoc), never in both; tau 1 is balanced softmax, tau 0 cross-entropy.

    Raises:
        ValueError: `tau` is not finite.
    """
    _check(math.isfinite(tau), "tau must be finite", tau)
    logits = at_least_float32(logits)
    shifted = logits + tau * _log_prior(class_counts, logits.dtype)
    return F.cross_entropy(shifted, targets, reduction="none")


def vs(
    logits: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    *,
    gamma: float = 0.15,
    tau: float = 1.25,
) -> Tensor:
    """Compute vector scaling: logits shifted by tau log prior, and scaled down for rare classes.

    Cross-entropy of ``(n_c / n_max)^gamma z_c + tau log prior_c`` (Kini et al. 2021,
    arXiv:2103.01550, their class weights being the axis class_weights here). gamma 0 is
    logit_adjusted, gamma 0 and tau 0 cross-entropy.
    The defaults are those in use for CIFAR-10 at ratio 100.

    Raises:
        ValueError: `gamma` is negative, or one of both is not finite.
    """
    _check(0 <= gamma < math.inf, "gamma must be at least 0 and finite", gamma)
    _check(math.isfinite(tau), "tau must be finite", tau)
    logits = at_least_float32(logits)
    counts = class_counts.to(logits.dtype)
    scaled = (counts / counts.max()) ** gamma * logits
    adjusted = scaled + tau * _log_prior(class_counts, logits.dtype)
    return F.cross_entropy(adjusted, targets, reduction="none")


def label_aware_smoothing(
    logits: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    *,
    smooth_head: float = 0.3,
    smooth_tail: float = 0.0,
    shape: Literal["concave", "linear", "convex"] = "concave",
) -> Tensor:
    """Compute cross-entropy with more label smoothing for frequent classes.

    ``-(1 - e_y) log p_y - e_y/(C - 1) sum_{c != y} log p_c`` with e_y from `class_smoothing`
    (MiSLAS: Zhong et al. 2021, arXiv:2104.00466, sec. 3.2). The authors' code
    spreads e_y over all C classes instead of the C - 1 others, a factor (C - 1)/C in e_y.
    The defaults are theirs for CIFAR-10 at ratio 100.

    Raises:
        ValueError: A smoothing is outside [0, 1), or the head's is below the tail's.
    """
    log_probs = F.log_softmax(at_least_float32(logits), dim=1)
    counts = class_counts.to(log_probs.dtype)
    smoothing = class_smoothing(counts, smooth_head, smooth_tail, shape)[targets]
    index = targets[:, None]
    of_others = log_probs.scatter(1, index, 0.0).sum(1) / (log_probs.shape[1] - 1)
    return -(1 - smoothing) * log_probs.gather(1, index)[:, 0] - smoothing * of_others


def class_smoothing(
    class_counts: Tensor, smooth_head: float, smooth_tail: float, shape: str = "concave"
) -> Tensor:
    """Return the label smoothing of each class, (C,), rising with its count.

    With ``r = (n_c - n_min) / (n_max - n_min)``, from e_tail at r = 0 to e_head at r = 1: concave
    ``e_tail + (e_head - e_tail) sin(pi r / 2)``, linear ``e_tail + (e_head - e_tail) r``, convex
    ``e_head + (e_head - e_tail) sin(3 pi / 2 + pi r / 2)`` (Zhong et al. 2021, sec. 3.2). Where
    all counts are equal, every class gets e_head.

    Raises:
        ValueError: A smoothing is outside [0, 1), or the head's is below the tail's.
    """
    _check(0 <= smooth_tail < 1, "smooth_tail must be in [0, 1)", smooth_tail)
    _check(smooth_tail <= smooth_head < 1, "smooth_head must be in [smooth_tail, 1)", smooth_head)
    lowest, highest = class_counts.aminmax()
    span = highest - lowest
    rise = torch.where(span > 0, (class_counts - lowest) / span, torch.ones_like(class_counts))
    if shape == "concave":
        rise = (rise * (math.pi / 2)).sin()
    elif shape == "convex":
        rise = 1 - (rise * (math.pi / 2)).cos()
    return smooth_tail + (smooth_head - smooth_tail) * rise


def softmax_logits(logits: Tensor, loss_name: str, *, s: float = LDAM_SCALE) -> Tensor:
    """Return the logits (N, C) whose softmax is the probabilities, under the loss of the training.

    They are the logits themselves; ``s * cosines`` after ldam; ``log sigmoid(z)`` after a sigmoid
    loss, so that probabilities are the sigmoids divided by their sum. Temperature scaling and
    post-hoc adjustment act on them. An unknown name (a user's own loss) counts as a softmax loss.
    """
    logits = at_least_float32(logits)
    if loss_name in with_trait(choices.LOSSES, "sigmoid"):
        return F.logsigmoid(logits)
    cosines = loss_name in with_trait(choices.LOSSES, "cosine")
    return s * logits if cosines else logits


def probabilities(logits: Tensor, loss_name: str, *, s: float = LDAM_SCALE) -> Tensor:
    """Return class probabilities (N, C), rows summing to 1, under the loss of the training.

    The softmax of `softmax_logits`. Losses that correct for the class counts need no case here:
    after balanced_softmax and its kin the plain logits hold for balanced classes.
    """
    return softmax_logits(logits, loss_name, s=s).softmax(1)


def check_class_counts(class_counts: Tensor, class_names: Sequence[str] = ()) -> None:
    """Refuse a class without training images; called once, before training (it reads the counts).

    Raises:
        ValueError: "class 3 (deer) has no training images; ...".
    """
    for index, count in enumerate(class_counts.tolist()):
        if count < 1:
            name = f" ({class_names[index]})" if class_names else ""
            raise ValueError(
                f"class {index}{name} has no training images; every class needs at least one, "
                f"the counts are {' '.join(f'{n:g}' for n in class_counts.tolist())}"
            )


def at_least_float32(values: Tensor) -> Tensor:
    """Convert to float32, but leave float64."""
    return values if values.dtype == torch.float64 else values.float()


def _signed(logits: Tensor, targets: Tensor) -> Tensor:
    logits = at_least_float32(logits)
    return logits * torch.full_like(logits, -1.0).scatter(1, targets[:, None], 1.0)


def _log_prior(class_counts: Tensor, dtype: torch.dtype) -> Tensor:
    counts = class_counts.to(dtype)
    return (counts / counts.sum()).log()


def _check(holds: bool, rule: str, value: float) -> None:
    if not holds:
        raise ValueError(f"{rule}, got {value:g}")
