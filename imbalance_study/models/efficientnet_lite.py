"""EfficientNet-Lite0, the network of the ImageNet weights that come as a Python package."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class _Stage(NamedTuple):
    """Blocks of one resolution; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# EfficientNet-B0's stages (Tan and Le 2019, arXiv:1905.11946, table 1).
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM, _FEATURES = 32, 1280
_EPSILON, _MOMENTUM = 1e-3, 0.01  # of TensorFlow's batch norm, whose weights these are


class SamePaddedConv2d(nn.Conv2d):
    """Convolution with TensorFlow's 'same' padding: the odd pixel is added on the right and below.

    The padding depends on the size of the input, so that the output has ``ceil(side / stride)``
    pixels a side.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, out_channels, ceil(H / stride), ceil(W / stride)) of maps (N, C, H, W)."""
        padding = []
        for side, kernel, stride in zip(
            (input.shape[3], input.shape[2]),
            reversed(self.kernel_size),
            reversed(self.stride),
            strict=True,
        ):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(input, padding) if any(padding) else input)


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1; add the input where shapes allow it."""

    def __init__(self, in_channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion != 1:
            layers += _unit(in_channels, hidden, 1, 1)
        layers += _unit(hidden, hidden, stage.kernel, stride, groups=hidden)
        layers += _unit(hidden, stage.channels, 1, 1)[:-1]  # no activation: linear bottleneck
        self.layers = nn.Sequential(*layers)
        self.adds_input = stride == 1 and in_channels == stage.channels

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, stage.channels, H', W') of maps (N, in_channels, H, W)."""
        changed: Tensor = self.layers(maps)
        return maps + changed if self.adds_input else changed


def efficientnet_lite0(num_classes: int, *, dropout: float = 0.2) -> nn.Module:
    """EfficientNet-B0 without squeeze-and-excitation and with ReLU6, 3.4 million (Google 2020).

    Raises:
        ValueError: `dropout` is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout of model efficientnet_lite0 must be in [0, 1), got {dropout:g}")
    layers = _unit(3, _STEM, 3, 2)
    channels = _STEM
    for stage in _STAGES:
        for position in range(stage.blocks):
            layers.append(InvertedResidual(channels, stage, 1 if position else stage.stride))
            channels = stage.channels
    layers += _unit(channels, _FEATURES, 1, 1)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, *head, nn.Linear(_FEATURES, num_classes))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _unit(
    in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1
) -> list[nn.Module]:
    """Convolution without bias, batch norm, ReLU6."""
    kind = SamePaddedConv2d if kernel > 1 else nn.Conv2d
    return [
        kind(in_channels, out_channels, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=_EPSILON, momentum=_MOMENTUM),
        nn.ReLU6(inplace=True),
    ]
