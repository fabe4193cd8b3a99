"""Convolutions on maps smaller than their kernels, without the taps that never meet a pixel.

At 32 pixels the last layers of networks made for 224 see maps of 2x2 and 1x1, where most of a 5x5
kernel lies on padding. A processor multiplies all these zeros, and reorders tensors to do so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallMapConv2d(nn.Conv2d):
    """A Conv2d that leaves out products with padding, and maps of 1x1 as a Linear does.

    On a map of H pixels a tap further than H - 1 from the centre never meets one. The sums are the
    same but for the order in which they are added.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, in, H, W) to maps (N, out, H', W')."""
        if input.dim() != 4 or not _is_centred(self):
            return super().forward(input)
        reach = [
            min(k // 2, side - 1) for k, side in zip(self.kernel_size, input.shape[2:], strict=True)
        ]
        weight = self.weight
        for dim, (k, r) in enumerate(zip(self.kernel_size, reach, strict=True), start=2):
            if r < k // 2:
                weight = weight.narrow(dim, k // 2 - r, 2 * r + 1)
        if self.groups == 1 and input.shape[2:] == (1, 1):
            mapped = F.linear(input.flatten(1), weight.flatten(1), self.bias)
            return mapped[:, :, None, None]
        return F.conv2d(input, weight, self.bias, self.stride, reach, 1, self.groups)


def _is_centred(layer: nn.Conv2d) -> bool:
    """Whether the padding is half of an odd kernel, of zeros, on all sides."""
    return (
        layer.padding_mode == "zeros"
        and layer.dilation == (1, 1)
        and all(k % 2 == 1 for k in layer.kernel_size)
        and layer.padding == tuple(k // 2 for k in layer.kernel_size)
    )


@contextlib.contextmanager
def small_maps(model: nn.Module, device: torch.device) -> Iterator[None]:
    """While it lasts, a model on a processor has `SmallMapConv2d` in place of each Conv2d.

    Weights, names and hooks stay. GPUs have kernels of their own for this.
    """
    plain = [layer for layer in model.modules() if type(layer) is nn.Conv2d]
    if device.type != "cpu":
        plain = []
    for layer in plain:
        layer.__class__ = SmallMapConv2d
    try:
        yield
    finally:
        for layer in plain:
            layer.__class__ = nn.Conv2d
