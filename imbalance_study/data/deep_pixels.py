"""Pixels of more than eight bits: their values, the range that a training part uses, eight bits.

A range is fixed for all images of a set, never for one image: of two photographs the brighter one
stays brighter.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

Kind = Literal["whole", "decimal"]
KINDS: tuple[Kind, ...] = ("whole", "decimal")
# The value that becomes black and the one that becomes white. Without a range, whole numbers keep
# the upper eight of sixteen bits, and decimal ones have 1 as white where no pixel is above.
Range = tuple[float, ...]

_SIXTEEN_BITS = 65_535
_SAMPLE = 1 << 16  # pixels of an image that its outermost ones are found among
_OUTERMOST = 1e-4  # share of pixels on either side
_STRETCHED = 2.0  # outermost pixels that make a range this much wider are clipped
# Pillow reads colour of sixteen bits by its upper bytes; the other order reads the lower ones.
_OTHER_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B"))
}


class Use(NamedTuple):
    """The values that one image uses."""

    kind: Kind
    low: float
    high: float
    inner_low: float  # without the outermost pixels
    inner_high: float


def values_of(image: Image.Image, data: bytes) -> np.ndarray | None:
    """Return the values (H, W) or (H, W, bands) of an image of more than eight bits, else None.

    Args:
        image: Opened, and not yet loaded.
        data: Its file.
    """
    if image.mode == "F":
        return np.asarray(image)
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int64)
    tiles = getattr(image, "tile", [])
    if not tiles or _raw_mode(tiles[0].args) not in _OTHER_BYTES:
        return None
    with Image.open(io.BytesIO(data)) as again:
        again.tile = [tile._replace(args=_swapped(tile.args)) for tile in tiles]
        lower = np.asarray(again)
    values: np.ndarray = np.asarray(image).astype(np.int64) * 256 + lower
    return values


def _raw_mode(args: Any) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _swapped(args: Any) -> Any:
    other = _OTHER_BYTES[_raw_mode(args)]
    return (other, *args[1:]) if isinstance(args, tuple) else other


def use_of(values: np.ndarray) -> Use:
    """Find the smallest and largest values of an image, alpha and undefined pixels apart."""
    flat = values[..., :3].ravel()
    kind: Kind = "decimal" if flat.dtype.kind == "f" else "whole"
    if kind == "decimal":
        flat = flat[np.isfinite(flat)]
    if not len(flat):
        return Use(kind, 0.0, 0.0, 0.0, 0.0)
    sample = flat[:: max(1, len(flat) // _SAMPLE)]
    inner = np.quantile(sample, [_OUTERMOST, 1 - _OUTERMOST])
    return Use(kind, float(flat.min()), float(flat.max()), float(inner[0]), float(inner[1]))


def range_of(uses: Iterable[Use]) -> Range:
    """Return the range of images of one kind; empty where that without a range is right.

    It reaches from the smallest to the largest value. Where the outermost 0.01 % of the pixels make
    it more than twice as wide, they are left out and clipped. Whole numbers that fill more than
    half of sixteen bits need none.
    """
    found = list(uses)
    if not found:
        return ()
    low, high = min(use.low for use in found), max(use.high for use in found)
    inner_low = min(use.inner_low for use in found)
    inner_high = max(use.inner_high for use in found)
    if high - low > _STRETCHED * (inner_high - inner_low) > 0:
        low, high = inner_low, inner_high
    if found[0].kind == "whole" and low >= 0 and _SIXTEEN_BITS / 2 < high - low <= _SIXTEEN_BITS:
        return ()
    if found[0].kind == "decimal" and low >= 0:
        for white in (1.0, 255.0):
            if white / 2 < high <= white:
                return (0.0, white)
    return (low, high)


def to_eight_bits(values: np.ndarray, used: Range) -> Image.Image:
    """Convert values to an image of eight bits; those outside the range are clipped."""
    if values.ndim == 3 and values.shape[2] == 4:
        alpha = (values[..., 3:] >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(np.concatenate([_scaled(values[..., :3], used), alpha], axis=2))
    return Image.fromarray(_scaled(values, used))


def _scaled(values: np.ndarray, used: Range) -> np.ndarray:
    decimal = values.dtype.kind == "f"
    scaled: np.ndarray
    if decimal:
        values = np.nan_to_num(values, nan=used[0] if used else 0.0)
    if used:
        low, high = used
        floats = values.astype(np.float64) - low
        scaled = floats * 255 / (high - low) if high > low else floats * 0
    elif decimal:
        scaled = values * 255 if values.max(initial=0) <= 1 else values
    else:
        scaled = values >> 8
    return np.asarray(np.clip(scaled, 0, 255).astype(np.uint8))
