"""Convolutions with fewer products, for processors, where products take most of a step.

At 32 pixels the last layers of networks made for 224 see maps of 2x2 and 1x1, where most of a 5x5
kernel lies on padding. A processor multiplies all these zeros, and reorders tensors to do so.
Convolutions of 3x3 with many channels use Winograd's filtering.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from imbalance_study.training.cpu import winograd


class CpuConv2d(nn.Conv2d):
    """A Conv2d with a second way to compute, of fewer products, for training on a processor.

    Attributes:
        enabled: Use it. Maps and gradients then differ from torch's in rounding alone; otherwise
            they are torch's to the last bit.
    """

    enabled = False

    @classmethod
    def of(cls, layer: nn.Conv2d) -> CpuConv2d:
        """Return a layer with the settings and the very weights of `layer`; draw nothing."""
        made = cls(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            layer.bias is not None,
            layer.padding_mode,  # type: ignore[arg-type]
            device="meta",
        )
        made.weight, made.bias = layer.weight, layer.bias
        return made.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H', W')."""
        if not self.enabled or input.dim() != 4 or not _is_centred(self):
            return super().forward(input)
        if winograd.pays(self, input):
            return winograd.convolve(input, self.weight, self.bias)
        return without_padding(self, input)


def replace_convolutions(model: nn.Module) -> None:
    """Put a `CpuConv2d` in the place of each Conv2d, in place; names and weights stay."""
    made: dict[nn.Conv2d, CpuConv2d] = {}  # a layer in two places stays one layer
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if type(layer) is nn.Conv2d and name:
            if layer not in made:
                made[layer] = CpuConv2d.of(layer)
            model.set_submodule(name, made[layer])


@contextlib.contextmanager
def enabled(model: nn.Module) -> Iterator[None]:
    """Let each `CpuConv2d` of a model compute in its own way inside the context."""
    layers = [layer for layer in model.modules() if isinstance(layer, CpuConv2d)]
    for layer in layers:
        layer.enabled = True
    try:
        yield
    finally:
        for layer in layers:
            layer.enabled = False


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
    """Return whether the padding is half of an odd kernel, of zeros, on all sides."""
    return (
        layer.padding_mode == "zeros"
        and layer.dilation == (1, 1)
        and all(k % 2 == 1 for k in layer.kernel_size)
        and layer.padding == tuple(k // 2 for k in layer.kernel_size)
    )
