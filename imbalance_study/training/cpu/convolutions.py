"""Convolutions with fewer products, for processors, where products are what a step waits for.

At 32 pixels the last layers of networks made for 224 see maps of 2x2 and 1x1, where most of a 5x5
kernel lies on padding. A processor multiplies all these zeros, and reorders tensors to do so. Those
of 3x3 with many channels take Winograd's way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imbalance_study.training.cpu import winograd


class LeanConv2d(nn.Conv2d):
    """A Conv2d in the way that takes the fewest products; the sums differ in rounding alone."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, in, H, W) to maps (N, out, H', W')."""
        if input.dim() != 4 or not _is_centred(self):
            return super().forward(input)
        if winograd.pays(self, input):
            return winograd.convolve(input, self.weight, self.bias)
        return without_padding(self, input)


def without_padding(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Leave out products with padding (half a kernel), and compute maps of 1x1 as a Linear does.

    On a map of H pixels a tap further than H - 1 from the centre never meets one.
    """
    sides = images.shape[2:]
    reach = [min(k // 2, side - 1) for k, side in zip(layer.kernel_size, sides, strict=True)]
    weight = layer.weight
    for dim, (k, r) in enumerate(zip(layer.kernel_size, reach, strict=True), start=2):
        if r < k // 2:
            weight = weight.narrow(dim, k // 2 - r, 2 * r + 1)
    if layer.groups == 1 and sides == (1, 1):
        mapped = F.linear(images.flatten(1), weight.flatten(1), layer.bias)
        return mapped[:, :, None, None]
    return F.conv2d(images, weight, layer.bias, layer.stride, reach, 1, layer.groups)


def _is_centred(layer: nn.Conv2d) -> bool:
    """Whether the padding is half of an odd kernel, of zeros, on all sides."""
    return (
        layer.padding_mode == "zeros"
        and layer.dilation == (1, 1)
        and all(k % 2 == 1 for k in layer.kernel_size)
        and layer.padding == tuple(k // 2 for k in layer.kernel_size)
    )


@contextlib.contextmanager
def lean(model: nn.Module, device: torch.device) -> Iterator[None]:
    """While it lasts, a model on a processor has `LeanConv2d` in place of each Conv2d.

    Weights, names and hooks stay. GPUs have kernels of their own for this.
    """
    plain = [layer for layer in model.modules() if type(layer) is nn.Conv2d]
    if device.type != "cpu":
        plain = []
    for layer in plain:
        layer.__class__ = LeanConv2d
    try:
        yield
    finally:
        for layer in plain:
            layer.__class__ = nn.Conv2d
