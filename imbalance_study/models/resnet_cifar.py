"""CIFAR ResNets of He et al. 2016 (arXiv:1512.03385), sec. 4.2, as the long-tail papers use."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.stride, self.new_channels = channels // in_channels, channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps
        if self.new_channels:
            shortcut = maps[:, :, :: self.stride, :: self.stride]
            before = self.new_channels // 2
            shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.new_channels - before))
        maps = torch.relu(self.bn1(self.conv1(maps)))
        return torch.relu(self.bn2(self.conv2(maps)) + shortcut)


class CifarResNet(nn.Module):
    """6n+2 layers: a 3x3 convolution, three stages of n blocks (16, 32, 64 wide), one Linear.

    The second and third stage halve the map; where width changes, the shortcut takes each second
    pixel and pads the channels with zeros, half before and half after them (the paper says only
    that they are zero). All weights start as He et al. 2015 draw them, by fan-in.
    """

    def __init__(self, num_classes: int, blocks_per_stage: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks_per_stage)
        self.layer2 = _stage(16, 32, blocks_per_stage)
        self.layer3 = _stage(32, 64, blocks_per_stage)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C) of normalised images (N, 3, H, W)."""
        maps = torch.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: Tensor = self.fc(maps.mean(dim=(2, 3)))
        return logits


def _stage(in_channels: int, channels: int, blocks: int) -> nn.Sequential:
    rest = (_Block(channels, channels) for _ in range(blocks - 1))
    return nn.Sequential(_Block(in_channels, channels), *rest)


def resnet20(num_classes: int) -> nn.Module:
    """Build the CIFAR ResNet with 20 layers, 0.27 million parameters."""
    return CifarResNet(num_classes, 3)


def resnet32(num_classes: int) -> nn.Module:
    """Build the CIFAR ResNet with 32 layers, 0.46 million: the long-tail papers' model."""
    return CifarResNet(num_classes, 5)


def resnet44(num_classes: int) -> nn.Module:
    """Build the CIFAR ResNet with 44 layers, 0.66 million parameters."""
    return CifarResNet(num_classes, 7)


def resnet56(num_classes: int) -> nn.Module:
    """Build the CIFAR ResNet with 56 layers, 0.85 million parameters."""
    return CifarResNet(num_classes, 9)
