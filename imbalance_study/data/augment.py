"""Augmentations on batches of images, each image with its own draw.

An augmentation is a function ``augmentation(images, generator, *, options) -> images``: `images`
uint8 (N, 3, H, W), channels_last in memory or not, and stays so; `generator` on their device. None
waits for the device. `compose` chains them, in the order given.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from imbalance_study.data import image_ops

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def compose(functions: Sequence[Augmentation]) -> Augmentation:
    """Return one augmentation that applies `functions` in order; of none, the identity."""

    def composed(images: Tensor, generator: torch.Generator) -> Tensor:
        for function in functions:
            images = function(images, generator)
        return images

    return composed


def flip(images: Tensor, generator: torch.Generator, *, p: float = 0.5) -> Tensor:
    """Mirror left to right with probability p.

    Raises:
        ValueError: p outside 0..1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p}")
    mirrored = torch.rand(len(images), generator=generator, device=images.device) < p
    if images.device.type == "cpu":  # which moves whole images faster than it chooses pixels
        return _choose([images, images.flip(3)], mirrored.long(), images)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def crop(images: Tensor, generator: torch.Generator, *, padding: int = 0) -> Tensor:
    """Shift by up to `padding` pixels each way over black: pad with zeros, crop at random.

    Args:
        images: uint8 (N, 3, H, W).
        generator: On the device of the images.
        padding: Pixels on each side; 0 is an eighth of the shorter side (4 at 32 pixels, as the
            CIFAR papers have it), which leaves images of less than 8 pixels as they are.

    Raises:
        ValueError: padding is negative.
    """
    if padding < 0:
        raise ValueError(f"padding must be at least 0 (0: an eighth of the side), got {padding}")
    count, channels, height, width = images.shape
    padding = padding or min(height, width) // 8
    shape, device = (2, count, 1), images.device
    down, right = torch.randint(2 * padding + 1, shape, generator=generator, device=device)
    # A row of the result is a run of bytes of the padded images: a gather of whole rows.
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, *(padding,) * 4)).contiguous()
    pixels = padded.numel() // channels
    runs = padded.as_strided((pixels - width + 1, width * channels), (channels, 1))
    first = _first_of_rows(count, height, padding, width + 2 * padding, device)
    chosen = runs.index_select(0, (first + (down * (width + 2 * padding) + right)).flatten())
    cropped = chosen.view(count, height, width, channels).permute(0, 3, 1, 2)
    return image_ops.keep_format(cropped, images)


@functools.cache  # never dropped: a CUDA graph holds the address
def _first_of_rows(count: int, height: int, padding: int, row: int, device: torch.device) -> Tensor:
    """Return the first pixel (count, height) of each row of padded images with `row` pixels each.

    Of the rows from the top; a shift downwards adds to it.
    """
    image = torch.arange(count, device=device)[:, None] * (height + 2 * padding)
    return (image + torch.arange(height, device=device)) * row


def cutout(images: Tensor, generator: torch.Generator, *, size: int = 0, fill: int = 128) -> Tensor:
    """Cover a square of `size` pixels a side with grey.

    DeVries and Taylor (2017): the centre is any pixel, so that parts of the square may lie outside.
    They fill with 0 after the normalisation, the mean colour, to which mid-grey is close.

    Args:
        images: uint8 (N, 3, H, W).
        generator: On the device of the images.
        size: Pixels a side; 0 is half of the shorter side (16 at 32 pixels, the paper's for
            CIFAR-10; it has 8 for CIFAR-100).
        fill: Grey value of the square.

    Raises:
        ValueError: size is negative, or fill outside 0..255.
    """
    if size < 0:
        raise ValueError(f"size must be at least 0 (0: half of the side), got {size}")
    if not 0 <= fill <= 255:
        raise ValueError(f"fill must be a grey value between 0 and 255, got {fill}")
    count, channels, height, width = images.shape
    size = size or min(height, width) // 2
    rows, columns = image_ops.random_stretches(
        (height, width), (size / 2, size / 2), count, images.device, generator, odd=size % 2 == 1
    )
    if images.device.type != "cpu":
        inside = (rows[:, :, None] & columns[:, None])[:, None]
        return images.masked_fill(inside, fill)
    rows, columns = rows.to(torch.uint8), columns.to(torch.uint8)
    columns = columns[:, :, None].expand(-1, -1, channels).flatten(1)
    covered = rows[:, :, None] * columns[:, None, :]
    pixels = images.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    result = pixels * (1 - covered) + covered * fill  # a third of the time of masked_fill
    return image_ops.keep_format(
        result.view(count, height, width, channels).permute(0, 3, 1, 2), images
    )


def rotate90(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn by 0, 90, 180 or 270 degrees.

    Raises:
        ValueError: The images are not square.
    """
    count, _, height, width = images.shape
    if height != width:
        raise ValueError(f"rotate90 needs square images, got {height} x {width} pixels")
    turns = torch.randint(4, (count,), generator=generator, device=images.device)
    return _choose([images.rot90(turn, (2, 3)) for turn in range(4)], turns, images)


def rotation(
    images: Tensor, generator: torch.Generator, *, degrees: float = 10.0, fill: int = 0
) -> Tensor:
    """Turn by an angle between -degrees and degrees, bilinear.

    Args:
        images: uint8 (N, 3, H, W).
        generator: On the device of the images.
        degrees: The largest angle either way, drawn uniformly.
        fill: Grey value of pixels from outside the image.

    Raises:
        ValueError: degrees outside 0..180, or fill outside 0..255.
    """
    if not 0 <= degrees <= 180:
        raise ValueError(f"degrees must be between 0 and 180, got {degrees}")
    if not 0 <= fill <= 255:
        raise ValueError(f"fill must be a grey value between 0 and 255, got {fill}")
    uniform = torch.rand(len(images), generator=generator, device=images.device)
    none = images.new_zeros((len(images), 2), dtype=torch.float32)
    height, width = images.shape[2:]
    matrices = image_ops.affine_matrices(
        height, width, angle=(2 * uniform - 1) * math.radians(degrees), shear=none, shift=none
    )
    return image_ops.warp(images, matrices, fill=fill, bilinear=True)


def _choose(versions: Sequence[Tensor], which: Tensor, images: Tensor) -> Tensor:
    """Return of each image the version with the number `which` (N,), formatted as `images`."""
    stacked = torch.cat([version.permute(0, 2, 3, 1) for version in versions])
    rows = which * len(images) + torch.arange(len(images), device=images.device)
    return image_ops.keep_format(image_ops.take(stacked.permute(0, 3, 1, 2), rows), images)
