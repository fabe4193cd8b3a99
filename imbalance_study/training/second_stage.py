"""Second stage of a training: a head that favours no class, on the features of the first stage.

A stage is a function ``stage(model, *, epochs, options) -> Stage``: it freezes the model's
backbone, prepares the head, and returns how to train it. A stage draws the classes equally often
(`samplers.class_balanced`) unless it says otherwise, and has a loss on the softmax.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from imbalance_study.data import samplers
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import class_weights, losses, optim


class Stage(NamedTuple):
    """Training of the head in the second stage."""

    loss: Callable[..., Tensor]  # see `losses`, on softmax logits
    optimizer: torch.optim.Optimizer
    epochs: int
    lr: float  # peak of half a cosine
    train_mode: Callable[[Classifier], object]  # sets the modules' modes before an epoch
    sampler: Callable[..., Tensor] = samplers.class_balanced
    class_weights: Callable[[Tensor], Tensor] = torch.ones_like  # of the class counts (C,)


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
    512. Their class-aware sampler goes through the images of each class without replacement; here
    `samplers.class_balanced` draws them with replacement. The head is drawn from torch's default
    generator.

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
    weight decay acts on the factors, as in the authors' code, whose setting for ImageNet-LT has 5
    epochs.

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


def maxnorm(
    model: Classifier,
    *,
    epochs: int = 10,
    lr: float = 0.01,
    weight_decay: float = 0.1,
    threshold: float = 0.1,
    beta: float = 0.9999,
) -> Stage:
    """Continue the training of the head with strong weight decay and a cap on its weights.

    The second stage of weight balancing (Alshammari et al. 2022, arXiv:2203.14197), with the
    values of the authors' demonstration for CIFAR-100 at ratio 100. After each update a class whose
    weight vector is longer than the cap is scaled back to it (projected gradient descent, their
    MaxNorm). The cap is ``min + threshold (max - min)`` of the norms that the first stage left.
    The images are drawn as they are, and weighed by one over the effective number of samples.
    Theirs is the binary cross-entropy on the softmax, here it is the cross-entropy.

    Args:
        model: With the weights of the first stage; changed in place.
        epochs: Passes over the training set.
        lr: Peak learning rate.
        weight_decay: Of the head.
        threshold: Where the cap lies between the smallest and the largest norm, 0 to 1.
        beta: Of the class weights, see `class_weights.effective_weights`.

    Raises:
        ValueError: As for `crt`, `threshold` is outside 0 to 1, or the head has no linear layer.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold of stage2=maxnorm must be in [0, 1], got {threshold:g}")
    model.requires_grad_(False)
    head = model.get_classifier().requires_grad_(True)
    linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise ValueError("stage2=maxnorm needs a linear head: give head=linear")
    weight = linears[-1].weight
    norms = weight.detach().norm(dim=1)
    cap = norms.min() + threshold * (norms.max() - norms.min())
    groups = [{"params": list(head.parameters())}]
    optimizer = _sgd(groups, epochs, lr, weight_decay)
    optimizer.register_step_post_hook(lambda *_: _project(weight, cap))
    weigh = functools.partial(class_weights.effective_weights, beta=beta)
    return Stage(losses.cross_entropy, optimizer, epochs, lr, head_mode, samplers.shuffle, weigh)


@torch.no_grad()
def _project(weight: Tensor, cap: Tensor) -> None:
    """Scale the rows (C, F) that are longer than `cap` back to it."""
    norms = weight.norm(dim=1, keepdim=True)
    weight.mul_((cap.to(weight.device) / norms.clamp(min=1e-12)).clamp(max=1))


def los(
    model: Classifier,
    *,
    epochs: int = 20,
    lr: float = 5e-4,
    weight_decay: float = 0.0,
    smoothing: float = 0.98,
) -> Stage:
    """Continue the training of the head with nearly flat labels (label over-smoothing).

    Sun et al. 2025, "Rethinking classifier re-training in long-tailed recognition: label
    over-smooth can balance" (ICLR), with the values of the authors' code, where the smoothing has
    no default: 0.98 is of copies of the method, and not verified in the paper. The true class has
    the label ``1 - smoothing + smoothing / C``, each other one ``smoothing / C``; the images are
    drawn as they are.

    Args:
        model: With the weights of the first stage; changed in place.
        epochs: Passes over the training set.
        lr: Peak learning rate.
        weight_decay: Of the head.
        smoothing: Of the labels, see `losses.cross_entropy`.

    Raises:
        ValueError: As for `crt`, or `smoothing` is outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing of stage2=los must be in [0, 1), got {smoothing:g}")
    model.requires_grad_(False)
    head = model.get_classifier().requires_grad_(True)
    optimizer = _sgd([{"params": list(head.parameters())}], epochs, lr, weight_decay)
    loss = functools.partial(losses.cross_entropy, label_smoothing=smoothing)
    return Stage(loss, optimizer, epochs, lr, head_mode, samplers.shuffle)


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
