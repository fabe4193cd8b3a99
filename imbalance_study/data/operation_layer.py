"""One operation for each image of a batch, computed on all images together.

At small images a GPU waits for launches: the number of operations counts, not their size. A layer
is one movement by a matrix, one look-up in a table of tones, and one blend. All images go through
all three, and those that an image did not draw leave it as it is, to the bit. Everything that
follows from operation and strength alone stands in a row of a table (`rows_of`), which is computed
once. A processor computes the drawn images only (`auto_augment.apply`).

Constants are kept for good: a CUDA graph holds their addresses.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from imbalance_study.data import image_ops

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "color",
    "sharpness",
    "brightness",
    "contrast",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
    "invert",
)
NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
# Operations that need the pixels of the image, as columns of `Rows.kinds`.
_OF_PIXELS = ("color", "sharpness", "contrast", "autocontrast", "equalize")
_TONES = slice(7, 7 + 256)


class Space(NamedTuple):
    """Magnitudes of each kind of operation at level 1."""

    shear: float  # pixels per pixel
    pixels: float  # of a shift, added to
    share: float  # of the side
    degrees: float
    blend: float  # factors run from 1 - blend to 1 + blend
    bits: float  # that posterize takes away


class Parameters(NamedTuple):
    """Parameters of all operations at given levels, one entry for each image."""

    matrices: Tensor  # (N, 2, 3), the identity where nothing moves
    factors: Tensor  # (N,) of blends
    bits: Tensor  # (N,) that posterize leaves
    thresholds: Tensor  # (N,) of solarize


class Rows(NamedTuple):
    """Parameters of one operation each, as rows."""

    values: Tensor  # float (M, 6 + 1 + 256): matrix, factor of a blend, table of tones
    kinds: Tensor  # bool (M, 5), see _OF_PIXELS

    def take(self, which: Tensor) -> Rows:
        """Return the rows `which` (N,)."""
        return Rows(self.values.index_select(0, which), self.kinds.index_select(0, which))


def parameters(
    operations: Tensor, levels: Tensor, space: Space, height: int, width: int
) -> Parameters:
    """Compute the parameters of operations.

    Args:
        operations: Positions in OPERATIONS, (N,) int64.
        levels: Strengths between -1 and 1, (N,).
        space: Magnitudes at level 1.
        height: Of the images.
        width: Of the images.
    """

    def of_drawn(name: str, magnitude: float) -> Tensor:
        return (levels * magnitude).where(operations == NUMBER[name], 0.0)

    shear = [of_drawn("shear_x", space.shear), of_drawn("shear_y", space.shear)]
    shift = [
        of_drawn("translate_x", space.pixels + space.share * width),
        of_drawn("translate_y", space.pixels + space.share * height),
    ]
    matrices = image_ops.affine_matrices(
        height,
        width,
        angle=of_drawn("rotate", math.radians(space.degrees)),
        shear=torch.stack(shear, 1),
        shift=torch.stack(shift, 1).trunc(),
    )
    bits = 8 - (levels.abs() * space.bits).round()
    return Parameters(matrices, 1 + levels * space.blend, bits, 255 * (1 - levels.abs()))


def rows_of(operations: Tensor, levels: Tensor, space: Space, height: int, width: int) -> Rows:
    """Compute the rows of operations; arguments as of `parameters`."""
    found = parameters(operations, levels, space, height, width)
    values = torch.arange(256, dtype=torch.float32, device=levels.device)[None]
    tables = values.expand(len(levels), -1)
    for name, other in (
        ("brightness", image_ops.brightness_tones(values, found.factors)),
        ("posterize", image_ops.posterize_tones(values, found.bits)),
        ("solarize", image_ops.solarize_tones(values, found.thresholds)),
        ("invert", 255 - values),
    ):
        cut = other.clamp(0, 255).trunc()
        tables = cut.where((operations == NUMBER[name])[:, None], tables)
    blended = (operations == NUMBER["color"]) | (operations == NUMBER["sharpness"])
    blended |= operations == NUMBER["contrast"]
    factors = found.factors.where(blended, 1.0)
    kinds = torch.stack([operations == NUMBER[name] for name in _OF_PIXELS], 1)
    return Rows(torch.cat([found.matrices.flatten(1), factors[:, None], tables], 1), kinds)


def apply_rows(images: Tensor, rows: Rows, *, fill: int) -> Tensor:
    """Apply to each image the operation of its row.

    Args:
        images: uint8 (N, 3, H, W).
        rows: N of them.
        fill: Grey value of pixels from outside the image.
    """
    color, sharpness, contrast, autocontrast, equalize = rows.kinds[..., None, None].unbind(1)
    pixels = _moved(images, rows.values[:, :6].view(-1, 2, 3), fill)
    tables = rows.values[:, None, _TONES].expand(-1, images.shape[1], -1)
    tables = _toned(pixels, tables, autocontrast, equalize)
    looked = tables.gather(2, pixels).view(images.shape)
    factors = rows.values[:, 6, None, None, None]
    other = _other(looked, color[:, None], sharpness[:, None], contrast[:, None])
    blended = (other + (looked - other) * factors).clamp(0, 255)
    in_memory = torch.contiguous_format if images.is_contiguous() else torch.channels_last
    return blended.to(torch.uint8, memory_format=in_memory)


def _moved(images: Tensor, matrices: Tensor, fill: int) -> Tensor:
    """Return the values of the moved images, int64 (N, 3, H * W), as `image_ops.warp` does."""
    height, width = images.shape[2:]
    grid = _grid(height, width, images.device)
    x, y, one = matrices[..., None, None].unbind(2)  # (N, 2, 1, 1) each
    source = x * grid.u + (y * grid.v + one)  # addcmul rounds once, and moves ties
    places = (source + grid.middle).round()
    inside = places.clamp(grid.zero, grid.last)
    outside = (inside != places).any(1, keepdim=True).flatten(2)
    which = torch.add(inside[:, 0], inside[:, 1], alpha=width).long().flatten(1)
    values = images.flatten(2).long()
    moved = values.gather(2, which[:, None].expand(-1, images.shape[1], -1))
    return moved.masked_fill_(outside, fill)


class _Grid(NamedTuple):
    """Places of an image, in the order x, y."""

    u: Tensor  # (1, W) from the centre
    v: Tensor  # (H, 1) from the centre
    middle: Tensor  # (2, 1, 1) the centre, from the first pixel
    zero: Tensor  # (2, 1, 1)
    last: Tensor  # (2, 1, 1) the last pixel


@functools.cache
def _grid(height: int, width: int, device: torch.device) -> _Grid:
    places = image_ops.places
    last = torch.tensor([width - 1.0, height - 1.0], device=device)[:, None, None]
    u, v = places(width, device)[None], places(height, device)[:, None]
    return _Grid(u, v, last / 2, torch.zeros_like(last), last)


class _Constants(NamedTuple):
    """Constants of tones."""

    values: Tensor  # float (256,)
    one: Tensor  # int32 (1, 1, 1)
    stretches: Tensor  # float (256,): 255 over a number


@functools.cache
def _constants(device: torch.device) -> _Constants:
    values = torch.arange(256, dtype=torch.float32, device=device)
    one = torch.ones(1, 1, 1, dtype=torch.int32, device=device)
    return _Constants(values, one, 255 / values)


def _toned(pixels: Tensor, tables: Tensor, autocontrast: Tensor, equalize: Tensor) -> Tensor:
    """Replace the tables (N, 3, 256) where they follow from the image's own values.

    Only the values that an image has matter, so that nothing is cut off here.
    """
    constants = _constants(pixels.device)
    low, high = pixels.aminmax(dim=2, keepdim=True)
    span = high - low
    stretched = (constants.values - low) * constants.stretches[span]
    tables = stretched.where(autocontrast & (span > 0), tables)
    # A place for each value and one before: sums then count the darker pixels.
    darker = pixels.new_zeros((*pixels.shape[:2], 257), dtype=torch.int32)
    darker[..., 1:].scatter_add_(2, pixels, constants.one.expand(pixels.shape))
    darker = darker.cumsum(2)[..., :256]
    step = darker.gather(2, high) // 255
    spread = (darker + step // 2) // step.clamp(min=1)
    return torch.where(equalize & (step > 0), spread, tables)


def _other(images: Tensor, color: Tensor, sharpness: Tensor, contrast: Tensor) -> Tensor:
    """Return the images (N, 3, H, W) to blend with: the same where there is nothing to blend."""
    red, green, blue = (images * _luma(images.device)).unbind(1)
    grey = (red + green + blue).trunc()[:, None]
    other = torch.where(color, grey, images)
    other = torch.where(contrast, grey.mean((1, 2, 3), keepdim=True), other)
    if min(images.shape[2:]) < 3:
        return other
    inner = images[:, :, 1:-1, 1:-1]
    nine = F.avg_pool2d(images, 3, 1, divisor_override=1)
    smooth = (torch.add(nine, inner, alpha=4) / 13).round()
    target = other[:, :, 1:-1, 1:-1]
    torch.where(sharpness, smooth, target, out=target)
    return other


@functools.cache
def _luma(device: torch.device) -> Tensor:
    return torch.tensor(image_ops.LUMA, device=device)[:, None, None]
