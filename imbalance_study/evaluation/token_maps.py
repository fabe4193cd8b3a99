"""Maps in the outputs of layers: transformers carry tokens, and some have the channels last."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MOST_EXTRA = 5  # tokens beside those of the patches: of the class, of distillation, registers


def as_maps(output: object) -> Tensor | None:
    """Return the output of a layer as maps (N, channels, h, w); None where it holds none.

    Maps stay as they are, square ones with the channels last, (N, side, side, channels) as a Swin
    transformer has them, are permuted. Of tokens (N, T, channels) the last side * side are those
    of the patches, row by row; up to five more stand before them.
    """
    if not isinstance(output, Tensor):
        return None
    if output.dim() == 4:
        high, wide, last = output.shape[1:]
        return output.permute(0, 3, 1, 2) if high == wide != last else output
    if output.dim() != 3:
        return None
    side = math.isqrt(output.shape[1])
    extra = output.shape[1] - side * side
    if side < 2 or extra > _MOST_EXTRA:
        return None
    patches = output[:, extra:].transpose(1, 2)
    return patches.reshape(*patches.shape[:2], side, side)


def in_place_of(output: Tensor, maps: Tensor) -> Tensor:
    """Return `output` with other maps in it: the reverse of `as_maps`."""
    if output.dim() == 4:
        return maps if maps.shape == output.shape else maps.permute(0, 2, 3, 1)
    extra = output.shape[1] - maps.shape[2] * maps.shape[3]
    return torch.cat([output[:, :extra], maps.flatten(2).transpose(1, 2)], dim=1)
