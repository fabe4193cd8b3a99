"""Autoencoders: a decoder helps the encoder to learn, and is left out of the finished model."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imbalance_study.models import stems
from imbalance_study.models.classifier import Classifier

DEPTH = 4  # halvings of the U-Net


def encode_decode(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return features (N, F) as of `Classifier.forward_features`, and reconstructed images.

    Args:
        model: A model with a decoder.
        images: Normalised, (N, 3, H, W); the reconstruction has their shape and scale.
    """
    assert model.decoder is not None
    maps = cast(Any, model.backbone).encode(images)
    return maps[-1].mean(dim=(2, 3)), model.decoder(maps, images.shape[-2:])


def joint(*, weight: float = 1.0) -> float:
    """Return the weight of the decoder's squared error beside the loss of the classifier.

    Raises:
        ValueError: The weight is not positive.
    """
    if not 0 < weight < math.inf:
        raise ValueError(f"weight of autoencoder joint must be larger than 0, got {weight:g}")
    return weight


def separate() -> float:
    """Return the weight of the squared error where the autoencoder trains alone: 1."""
    return 1.0


def _two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNetEncoder(nn.Module):
    """The contracting path of a U-Net, and a dense classifier on its averaged bottleneck."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(DEPTH + 1)]
        blocks = [_two_convolutions(3, widths[0])]
        blocks += [_two_convolutions(widths[i], widths[i + 1]) for i in range(DEPTH)]
        self.blocks = nn.ModuleList(blocks)
        self.fc = nn.Linear(widths[-1], num_classes)
        _draw(self)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return maps from fine to coarse, each half the side of the one before."""
        maps = [self.blocks[0](images)]
        for block in self.blocks[1:]:
            maps.append(block(F.max_pool2d(maps[-1], 2)))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.fc(self.encode(images)[-1].mean(dim=(2, 3)))
        return logits


class UNetDecoder(nn.Module):
    """The expanding path: transposed convolution, the encoder's map, two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(DEPTH, -1, -1)]
        steps = list(pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps)
        self.blocks = nn.ModuleList(_two_convolutions(2 * b, b) for _, b in steps)
        self.last = nn.Conv2d(width, 3, 1)
        _draw(self)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return images (N, 3, *size) reconstructed from the encoder's maps."""
        drawn = maps[-1]
        for up, block, beside in zip(self.up, self.blocks, reversed(maps[:-1]), strict=True):
            drawn = up(drawn)
            if drawn.shape[-2:] != beside.shape[-2:]:  # a side that was odd
                drawn = F.interpolate(drawn, beside.shape[-2:])
            drawn = block(torch.cat([beside, drawn], dim=1))
        images: Tensor = self.last(drawn)
        return images


def unet(num_classes: int, *, width: int = 32) -> Classifier:
    """Build a U-Net with a dense classifier on the encoder's averaged bottleneck.

    Four halvings, `width` to ``16 * width`` channels (Ronneberger et al. 2015, arXiv:1505.04597),
    but with padding, batch norm, and images as the target. 4.7 million weights in encoder and
    classifier at width 32, of the 7.8 million of the whole; the paper's width is 64.

    Args:
        num_classes: C.
        width: Channels at full resolution.

    Raises:
        ValueError: `width` is below 4.
    """
    if width < 4:
        raise ValueError(f"width of model unet must be at least 4, got {width}")
    model = Classifier(UNetEncoder(num_classes, width), image_size=2**DEPTH, stem="small")
    model.decoder = UNetDecoder(width)
    return model


class MobileNetEncoder(nn.Module):
    """The convolutions of a MobileNetV2 and its classifier.

    The study that this model repeats has a 1x1 convolution on the last map, then the average over
    it; both are linear, so that the average first and a Linear behind it are the same.
    """

    def __init__(self, num_classes: int, stem: str, dropout: float) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v2

        network = mobilenet_v2(weights=None, num_classes=num_classes, dropout=dropout)
        if stem == "small":
            stems.shrink("mobilenet_v2", network)
        self.features, self.classifier = network.features, network.classifier

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the last map (N, 1280, h, w)."""
        return [self.features(images)]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.classifier(self.encode(images)[-1].mean(dim=(2, 3)))
        return logits


class TransposedDecoder(nn.Module):
    """Transposed convolutions of stride 2, from the last map alone up to the images."""

    def __init__(self, channels: int, doublings: int) -> None:
        super().__init__()
        widths = [channels, *(max(16, 512 >> level) for level in range(1, doublings + 1))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 3, 3, padding=1))
        _draw(self)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Return images (N, 3, *size) reconstructed from the encoder's last map."""
        images: Tensor = self.layers(maps[-1])
        if images.shape[-2:] == size:
            return images
        return F.interpolate(images, size, mode="bilinear", align_corners=False)


def mobilenet_v2_autoencoder(
    num_classes: int, *, image_size: int, stem: str, dropout: float = 0.2
) -> Classifier:
    """Build a MobileNetV2 with a decoder of transposed convolutions.

    Args:
        num_classes: C.
        image_size: Side in pixels.
        stem: "imagenet" halves five times (32 px end as one), "small" four times.
        dropout: Before the classifier.

    Raises:
        ValueError: dropout is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout of model mobilenet_v2_autoencoder must be in [0, 1), got {dropout}"
        )
    network = MobileNetEncoder(num_classes, stem, dropout)
    model = Classifier(network, image_size=image_size, stem=stem)
    model.decoder = TransposedDecoder(1280, 4 if stem == "small" else 5)
    return model


def _draw(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
