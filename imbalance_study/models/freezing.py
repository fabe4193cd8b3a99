"""Freezes: the number of blocks of a model that train, over the course of the training.

A freeze is a function ``freeze(progress, total, *, options) -> blocks``: the number of the `total`
blocks of the backbone that train, counted from the head downwards, when the fraction `progress` of
the epochs is done. The head always trains. It is pure, so that a resumed training continues as an
uninterrupted one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

from torch import nn

from imbalance_study.models.classifier import Classifier

Freeze = Callable[[float, int], int]

# A module with at least this share of the backbone's weights is taken apart into its children.
_NEARLY_ALL = 0.9


def head_only(progress: float, total: int) -> int:
    """Train the head alone: the features stay as they are."""
    return 0


def partial(progress: float, total: int, *, blocks: int = 1) -> int:
    """Train the head and the last `blocks` blocks.

    Raises:
        ValueError: `blocks` is below 1.
    """
    if blocks < 1:
        raise ValueError(f"blocks of freeze partial must be at least 1, got {blocks}")
    return min(blocks, total)


def gradual(progress: float, total: int, *, start: float = 0.1, end: float = 0.6) -> int:
    """Train the head alone at first, then block after block from the head downwards.

    Gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146, sec. 3.3), there a layer an epoch.

    Args:
        progress: Fraction of the epochs done.
        total: Blocks of the backbone.
        start: From this fraction on the last block trains.
        end: From this fraction on everything trains.

    Raises:
        ValueError: Not ``0 <= start < end <= 1``.
    """
    if not 0 <= start < end <= 1:
        raise ValueError(
            f"freeze gradual needs 0 <= start < end <= 1, got start={start:g} and end={end:g}"
        )
    if progress < start:
        return 0
    return min(total, 1 + math.floor((progress - start) / (end - start) * (total - 1) + 1e-9))


def blocks_of(model: Classifier) -> list[list[nn.Module]]:
    """Return the blocks of the backbone, from the image to the head.

    A block is a child of the backbone, or of a plain Sequential, or of a child that holds nearly
    all the weights (the encoder of a vision transformer): a residual block of a ResNet, a
    convolution of a VGG. A module with vectors alone, such as a norm, belongs to the block before.
    """
    size = sum(weight.numel() for weight in model.backbone.parameters())
    blocks: list[list[nn.Module]] = []
    for module in _taken_apart(model.backbone, size):
        weights = [weight.ndim for weight in module.parameters()]
        if blocks and max(weights, default=0) < 2:
            blocks[-1].append(module)
        elif weights:
            blocks.append([module])
    return blocks


def _taken_apart(module: nn.Module, size: int) -> list[nn.Module]:
    parts = []
    for child in module.children():
        weights = sum(weight.numel() for weight in child.parameters())
        plain = type(child) in (nn.Sequential, nn.ModuleList)
        if plain or (weights >= _NEARLY_ALL * size and any(True for _ in child.children())):
            parts += _taken_apart(child, size)
        else:
            parts.append(child)
    return parts


def set_trainable(model: Classifier, blocks: int) -> None:
    """Let the head and the last `blocks` blocks of the backbone train, and nothing else.

    Weights outside all blocks (the position embedding of a vision transformer) train with the first
    one. A decoder trains as the head does.
    """
    all_blocks = blocks_of(model)
    model.requires_grad_(True)
    model.backbone.requires_grad_(blocks >= len(all_blocks))
    for block in all_blocks[len(all_blocks) - blocks :]:
        for module in block:
            module.requires_grad_(True)


@contextlib.contextmanager
def trial(model: Classifier, blocks: int) -> Iterator[None]:
    """Apply `set_trainable` inside the context, and undo it afterwards."""
    before = [weight.requires_grad for weight in model.parameters()]
    set_trainable(model, blocks)
    try:
        yield
    finally:
        for weight, trained in zip(model.parameters(), before, strict=True):
            weight.requires_grad_(trained)


def train_mode(model: Classifier, blocks: int) -> None:
    """Let the head and the last blocks train, and put the rest into evaluation mode.

    So batch-norm statistics stay where the weights do, and there is no dropout in frozen layers.
    """
    all_blocks = blocks_of(model)
    set_trainable(model, blocks)
    model.train()
    for block in all_blocks[: len(all_blocks) - blocks]:
        for module in block:
            module.eval()
    if blocks < len(all_blocks):
        for module in model.backbone.modules():
            if not any(True for _ in module.parameters()):
                continue
            if not any(weight.requires_grad for weight in module.parameters()):
                module.eval()
