"""Second stage of a training: a head that favours no class, on the features of the first stage.

A stage is a function ``stage(model, *, epochs, options) -> Stage``: it freezes the model's
backbone, prepares the head, and returns how to train it. All stages draw the classes equally often
(`samplers.class_balanced`) and have a loss on the softmax.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from imbalance_study.models.classifier import Classifier
from imbalance_study.training import losses, optim


class Stage(NamedTuple):
    """Training of the head in the second stage."""

    loss: Callable[..., Tensor]  # see `losses`, on softmax logits
    optimizer: torch.optim.Optimizer
    epochs: int
    lr: float  # peak of half a cosine
    train_mode: Callable[[Classifier], object]  # sets the modules' modes before an epoch


class ScaledClassifier(nn.Module):
    """A trained classifier with one learnable factor on the logit of each class, starting at 1.

    Learnable weight scaling (LWS, Kang et al. 2020, arXiv:1910.09217, sec. 4): ``f_c * g_c(x)``
    with the classifier g frozen, in eval mode also during training. The factor multiplies, as in
    the authors' code, the whole logit; in the paper's equation it multiplies the weights, without
    the bias. With ``frozen=False`` classifier and factors learn together, as MiSLAS does
    (Zhong et al. 2021, arXiv:2104.00466).
    """

    def __init__(self, classifier: nn.Module, num_classes: int, *, frozen: bool = True) -> None:
        super().__init__()
        self.frozen = frozen
        self.classifier = classifier.requires_grad_(not frozen)
        like = next(classifier.parameters())
        self.scale = nn.Parameter(torch.ones(num_classes, dtype=like.dtype, device=like.device))
        self.train(self.training)

    def forward(self, features: Tensor) -> Tensor:
        """Return scaled logits (N, C) of features (N, F)."""
        logits: Tensor = self.classifier(features)
        return logits * self.scale

    def train(self, mode: bool = True) -> ScaledClassifier:
        """Set the mode; a frozen classifier stays in eval mode (no dropout)."""
        super().train(mode)
        if self.frozen:
            self.classifier.eval()
        return self


def crt(
    model: Classifier, *, epochs: int = 10, lr: float = 0.1, weight_decay: float = 5e-4
) -> Stage:
    """Re-train the classifier: a new linear head on the frozen features (cRT).

    Kang et al. 2020 (arXiv:1910.09217), sec. 4, with cross-entropy, SGD with momentum 0.9 and half
    a cosine over 10 epochs, as in the authors' code; their learning rate is 0.2 for batches of
    512. The head is drawn from torch's default generator.

    Args:
        model: With the weights of the first stage; changed in place.
        epochs: Passes over the training set.
        lr: Peak learning rate.
        weight_decay: Of the head.

    Raises:
        ValueError: `epochs` is below 1, `lr` not positive, or `weight_decay` negative.
    """
    model.requires_grad_(False)
    model.reset_classifier(model.num_classes)
    head = [{"params": list(model.get_classifier().parameters())}]
    return Stage(losses.cross_entropy, _sgd(head, epochs, lr, weight_decay), epochs, lr, head_mode)


def lws(
    model: Classifier, *, epochs: int = 10, lr: float = 0.1, weight_decay: float = 5e-4
) -> Stage:
    """Learn one factor for each class on the logits of the frozen head (LWS).

    Kang et al. 2020 (arXiv:1910.09217), sec. 4; see `ScaledClassifier`. Trained as `crt`; the
    weight decay acts on the factors, as in the authors' code.

    Raises:
        ValueError: As for `crt`.
    """
    model.requires_grad_(False)
    model.classifier = ScaledClassifier(model.get_classifier(), model.num_classes)
    scale = [{"params": [model.classifier.scale]}]
    return Stage(losses.cross_entropy, _sgd(scale, epochs, lr, weight_decay), epochs, lr, head_mode)


def las(
    model: Classifier,
    *,
    epochs: int = 10,
    lr: float = 0.1,
    head_lr: float = 0.5,
    weight_decay: float = 2e-4,
    smooth_head: float = 0.3,
    smooth_tail: float = 0.0,
    shape: Literal["concave", "linear", "convex"] = "concave",
    shift_bn: bool = False,
) -> Stage:
    """Continue the training of the head with label-aware smoothing and a factor for each class.

    The second stage of MiSLAS (Zhong et al. 2021, arXiv:2104.00466), whose first one has mixup.
    The defaults are the authors' for CIFAR-10 at ratio 100; for CIFAR-100 they take
    ``head_lr=0.2, smooth_head=0.4, smooth_tail=0.1, shift_bn=true``.

    Args:
        model: With the weights of the first stage; changed in place.
        epochs: Passes over the training set.
        lr: Peak learning rate of the factors.
        head_lr: The head's share of it.
        weight_decay: Of head and factors.
        smooth_head: Label smoothing of the most frequent class, see `losses.class_smoothing`.
        smooth_tail: Of the rarest.
        shape: Of the curve between them.
        shift_bn: Let the batch-norm statistics follow the balanced classes (the paper's shift
            learning, sec. 3.3); their affine weights stay.

    Raises:
        ValueError: As for `crt`, or `head_lr` is not positive, or a smoothing is out of range.
    """
    if not 0 < head_lr < math.inf:
        raise ValueError(f"head_lr of stage2=las must be larger than 0, got {head_lr:g}")
    model.requires_grad_(False)
    head = model.get_classifier()
    model.classifier = ScaledClassifier(head, model.num_classes, frozen=False)
    groups: list[dict[str, Any]] = [
        {"params": list(head.parameters()), "lr_scale": head_lr},
        {"params": [model.classifier.scale]},
    ]
    loss = functools.partial(
        losses.label_aware_smoothing, smooth_head=smooth_head, smooth_tail=smooth_tail, shape=shape
    )
    mode = functools.partial(head_mode, shift_bn=shift_bn)
    return Stage(loss, _sgd(groups, epochs, lr, weight_decay), epochs, lr, mode)


def head_mode(model: Classifier, *, shift_bn: bool = False) -> None:
    """Put the head into training mode and the backbone into evaluation mode.

    So there is no dropout in the features, and the batch-norm statistics stay as they are, but for
    `shift_bn`, which puts the batch-norm layers into training mode.
    """
    model.eval()
    model.get_classifier().train()
    if shift_bn:
        for module in model.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()


def _sgd(
    groups: list[dict[str, Any]], epochs: int, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    if epochs < 1:
        raise ValueError(f"epochs of stage2 must be at least 1, got {epochs}")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr of stage2 must be larger than 0 and finite, got {lr:g}")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay of stage2 must be at least 0, got {weight_decay:g}")
    return optim.sgd(groups, lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=False)
