"""Plain convolutional network for small images, with optional squeeze-and-excitation."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


class SqueezeExcitation(nn.Module):
    """Channel attention: ``x * sigmoid(W2 relu(W1 mean_hw(x)))``.

    Hu et al. 2018 (arXiv:1709.01507), eq. 2 to 4, with the paper's reduction of 16 and biases.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, C, H, W), each channel weighted by a number in (0, 1)."""
        weights = torch.relu(self.squeeze(maps.mean(dim=(2, 3))))
        return maps * torch.sigmoid(self.excite(weights))[:, :, None, None]


def _conv_block(in_channels: int, out_channels: int, se: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    if se:
        layers.append(SqueezeExcitation(out_channels))
    return nn.Sequential(*layers)


class CustomCNN(nn.Module):
    """Blocks 3-64-128-256-512 of two 3x3 convolutions, then a 512-256-C head.

    Each convolution is followed by batch norm and ReLU, the first three blocks by 2x2 max-pooling,
    the last by global average pooling and dropout. Convolutions start as He et al. 2015
    (arXiv:1502.01852) draw them, by fan-out.
    """

    def __init__(self, num_classes: int, dropout: float, se: bool) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_conv_block(3, WIDTHS[0], se)]
        for before, after in pairwise(WIDTHS):
            blocks += [nn.MaxPool2d(2), _conv_block(before, after, se)]
        self.features = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(WIDTHS[-1], 256)
        self.fc = nn.Linear(256, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C) of normalised images (N, 3, H, W), H and W at least 8."""
        pooled = self.dropout(self.features(images).mean(dim=(2, 3)))
        logits: Tensor = self.fc(torch.relu(self.hidden(pooled)))
        return logits


def custom_cnn(num_classes: int, *, dropout: float = 0.5, se: bool = False) -> nn.Module:
    """Build four blocks of two 3x3 convolutions, 64 to 512 wide, and a 512-256-C head.

    Args:
        num_classes: C.
        dropout: Share of the 512 pooled features that is dropped while training.
        se: A squeeze-and-excitation layer at the end of each block.

    Raises:
        ValueError: dropout is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout of model custom_cnn must be in [0, 1), got {dropout}")
    return CustomCNN(num_classes, dropout, se)
