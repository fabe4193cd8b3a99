"""Deployed form of a model: raw images in, class probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_FITS = {
    "crop": "the largest centred square, resized",
    "pad": "the whole image, its longer side resized to {side}, in the middle of a black square,",
    "squash": "the whole image, resized to a square without keeping its proportions,",
}


def preprocessing(side: int, decoding: Mapping[str, Any]) -> str:
    """Describe what a client does to an image file, for the metadata of the model and its card.

    Args:
        side: Side of the images in pixels.
        decoding: Record of `decode.Decoding`; of a run without one, the largest square counts.
    """
    ranges = [
        f"{numbers} of more than 8 bits from {used[0]:g} to {used[1]:g} scaled to 0 to 255 and "
        "clipped; "
        for numbers, used in (
            ("whole numbers", decoding.get("whole")),
            ("decimal numbers", decoding.get("decimal")),
        )
        if used
    ]
    return (
        f"RGB, upright by EXIF, transparency over white; {''.join(ranges)}"
        f"{_FITS[decoding.get('fit', 'crop')].format(side=side)} with antialiased bicubic "
        f"interpolation; uint8 (N, {side}, {side}, 3), not normalised"
    )


class RawImageClassifier(nn.Module):
    """Normalisation, network and probabilities in one: uint8 (N, H, W, 3) to float (N, C).

    Args:
        network: Normalised images (N, 3, H, W) to logits (N, C).
        probabilities: Logits to probabilities, under the loss of the training.
        mean: Mean of the training pixels (3,), in 0..1.
        std: Their standard deviation (3,).
    """

    def __init__(
        self,
        network: nn.Module,
        probabilities: Callable[[Tensor], Tensor],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.network = network
        self.probabilities = probabilities
        scale, shift = scale_and_shift(mean, std)
        self.scale = nn.Buffer(scale)
        self.shift = nn.Buffer(shift)

    def forward(self, images: Tensor) -> Tensor:
        """Return class probabilities (N, C) of raw images uint8 (N, H, W, 3)."""
        inputs = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return self.probabilities(self.network(inputs).float())


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return factor and summand (1, 3, 1, 1) that normalise pixels 0..255, rounded once."""
    deviation = torch.as_tensor(std, dtype=torch.float64)
    scale = 1 / (255 * deviation)
    shift = -torch.as_tensor(mean, dtype=torch.float64) / deviation
    return scale.float().view(1, 3, 1, 1), shift.float().view(1, 3, 1, 1)
