"""Augmentation policies: RandAugment, TrivialAugment, AutoAugment, and one for rare classes.

Each image of a batch draws its own operations, strengths and signs. A layer of one operation per
image is one `warp` for all movements, one table look-up for all tone changes, and two blends, on
the drawn images alone; on a GPU it is an `operation_layer`. A movement takes the nearest pixel, as
in the papers. Pixels from outside the image are mid-grey, as
in AutoAugment's own code (torchvision's default is black, ``fill=0``).
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from imbalance_study.data import image_ops, operation_layer
from imbalance_study.data.operation_layer import NUMBER, OPERATIONS, Rows, Space

_DRAWN = len(OPERATIONS) - 1  # RandAugment and TrivialAugment draw from all but invert
_BINS = 30  # their strengths are the whole numbers from 0 to 30

STANDARD = Space(shear=0.3, pixels=0.0, share=150 / 331, degrees=30.0, blend=0.9, bits=4.0)
WIDE = Space(shear=0.99, pixels=32.0, share=0.0, degrees=135.0, blend=0.99, bits=6.0)


def rand_augment(
    images: Tensor, generator: torch.Generator, *, n: int = 2, m: int = 9, fill: int = 128
) -> Tensor:
    """Apply a few operations of one strength, drawn from 14, to each image (RandAugment).

    Cubuk et al. (2020), with torchvision's ranges: m = 30 is a shear by 0.3, a shift by 45 % of the
    side, a turn by 30 degrees, a blend by 0.9, 4 bits less, every value inverted. Signs are drawn.

    Args:
        images: uint8 (N, 3, H, W).
        generator: On the device of the images.
        n: Operations, one after another.
        m: Strength, 0 to 30.
        fill: Grey value of pixels from outside the image.

    Raises:
        ValueError: n below 1, m outside 0..30, or fill outside 0..255.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0 <= m <= _BINS:
        raise ValueError(f"m must be between 0 and {_BINS}, got {m}")
    for _ in range(n):
        operations = _integers(_DRAWN, images, generator)
        signs = _integers(2, images, generator)
        images = _apply_drawn(images, operations, None, signs, STANDARD, (m / _BINS,), fill)
    return images


def trivial_augment(images: Tensor, generator: torch.Generator, *, fill: int = 128) -> Tensor:
    """Apply one operation of random strength to each image (TrivialAugment).

    The wide space of Müller and Hutter (2021): one of 14 operations at one of 31 strengths, up to a
    shear by 0.99, a shift by 32 pixels (at every image size), a turn by 135 degrees, a blend by
    0.99, 6 bits less, every value inverted. Signs are drawn.

    Args:
        images: uint8 (N, 3, H, W).
        generator: On the device of the images.
        fill: Grey value of pixels from outside the image.

    Raises:
        ValueError: fill outside 0..255.
    """
    return _trivial(images, generator, None, fill)


def auto_augment(images: Tensor, generator: torch.Generator, *, fill: int = 128) -> Tensor:
    """Apply one of the 25 pairs of operations learnt on CIFAR-10 to each image (AutoAugment).

    Cubuk et al. (2019). The policy was chosen by its results on the balanced CIFAR-10, so it has
    seen more of the rare classes than a long-tailed training set holds: report that beside such a
    result.

    Args:
        images: uint8 (N, 3, H, W).
        generator: On the device of the images.
        fill: Grey value of pixels from outside the image.

    Raises:
        ValueError: fill outside 0..255.
    """
    probs, operations, strengths = _cifar10_table(images.device)
    pairs = _integers(len(CIFAR10_POLICY), images, generator)
    levels = tuple(strength / 9 for strength in range(10))
    for step in range(2):
        drawn = _uniform(images, generator) < probs[step][pairs]
        chosen = operations[step][pairs].where(drawn, 0)
        signs = _integers(2, images, generator)
        images = _apply_drawn(images, chosen, strengths[step][pairs], signs, STANDARD, levels, fill)
    return images


def tail_trivial(
    images: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    generator: torch.Generator,
    *,
    p: float = 0.8,
    fill: int = 128,
) -> Tensor:
    """Apply a TrivialAugment operation on top, the more often the rarer the class.

    An image of class c gets it with probability p * log(n_max / n_c) / log(n_max / n_min): never in
    the largest class, p in the rarest, and nowhere when the classes are equally large.

    Args:
        images: uint8 (N, 3, H, W).
        targets: Classes of the images, (N,).
        class_counts: Training images of each class, (C,), on the device of the images.
        generator: On the device of the images.
        p: The probability in the rarest class.
        fill: Grey value of pixels from outside the image.

    Raises:
        ValueError: p outside 0..1, or fill outside 0..255.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p}")
    largest = class_counts.max()
    counts = class_counts.where(class_counts > 0, largest)
    rarity = (largest / counts).log()
    rarity = rarity / rarity.max().clamp(min=torch.finfo(rarity.dtype).tiny)
    return _trivial(images, generator, p * rarity[targets], fill)


def apply(
    images: Tensor,
    operations: Tensor,
    levels: Tensor,
    space: Space,
    *,
    fill: int = 128,
    everywhere: bool | None = None,
) -> Tensor:
    """Apply to each image the operation of its own.

    Args:
        images: uint8 (N, 3, H, W).
        operations: Positions in OPERATIONS, (N,) int64.
        levels: Strengths between -1 and 1, (N,): the sign is the direction of movements and
            blends; the other operations have none.
        space: Magnitudes at level 1.
        fill: Grey value of pixels from outside the image.
        everywhere: Compute all operations on all images, with few launches and without waiting
            for the device. By default so on accelerators; the CPU computes the drawn images only.

    Raises:
        ValueError: fill outside 0..255.
    """
    if not 0 <= fill <= 255:
        raise ValueError(f"fill must be a grey value between 0 and 255, got {fill}")
    if _on_all(images) if everywhere is None else everywhere:
        rows = operation_layer.rows_of(operations, levels, space, *images.shape[2:])
        return operation_layer.apply_rows(images, rows, fill=fill)
    found = operation_layer.parameters(operations, levels, space, *images.shape[2:])
    matrices, factors, bits, thresholds = found
    for first, last, operation, parameters in (
        ("shear_x", "rotate", functools.partial(image_ops.warp, fill=fill), (matrices,)),
        ("color", "color", image_ops.saturate, (factors,)),
        ("sharpness", "sharpness", image_ops.sharpen, (factors,)),
        ("brightness", "invert", _change_tones, (operations, factors, bits, thresholds)),
    ):
        drawn = (operations >= NUMBER[first]) & (operations <= NUMBER[last])
        images = image_ops.on_drawn(images, drawn, operation, *parameters)
    return images


def _change_tones(
    images: Tensor, operations: Tensor, factors: Tensor, bits: Tensor, thresholds: Tensor
) -> Tensor:
    tables = image_ops.invert_table(images)
    for name, other in (
        ("brightness", image_ops.brightness_table(images, factors)),
        ("contrast", image_ops.contrast_table(images, factors)),
        ("posterize", image_ops.posterize_table(images, bits)),
        ("solarize", image_ops.solarize_table(images, thresholds)),
        ("autocontrast", image_ops.autocontrast_table(images)),
        ("equalize", image_ops.equalize_table(images)),
    ):
        tables = other.where((operations == NUMBER[name])[:, None, None], tables)
    return image_ops.look_up(images, tables)


def _trivial(images: Tensor, generator: torch.Generator, probs: Tensor | None, fill: int) -> Tensor:
    """Apply TrivialAugment to each image with its probability (N,); None is always."""
    uniform = _uniform(images, generator)
    operations = _integers(_DRAWN, images, generator)
    if probs is not None:
        operations = operations.where(uniform < probs, 0)
    strengths = _integers(_BINS + 1, images, generator)
    signs = _integers(2, images, generator)
    levels = tuple(strength / _BINS for strength in range(_BINS + 1))
    return _apply_drawn(images, operations, strengths, signs, WIDE, levels, fill)


def _apply_drawn(
    images: Tensor,
    operations: Tensor,
    strengths: Tensor | None,
    signs: Tensor,
    space: Space,
    levels: tuple[float, ...],
    fill: int,
) -> Tensor:
    """Apply operations (N,) at the levels that `strengths` (N,) number, with signs 0 or 1 (N,).

    Without strengths there is one level.
    """
    if not 0 <= fill <= 255:
        raise ValueError(f"fill must be a grey value between 0 and 255, got {fill}")
    if _on_all(images):
        rows = _table(space, levels, *images.shape[2:], images.device)
        which = operations
        if strengths is not None:
            which = torch.add(strengths, operations, alpha=len(levels))
        which = torch.add(signs, which, alpha=2)
        return operation_layer.apply_rows(images, rows.take(which), fill=fill)
    unsigned = levels[0] if strengths is None else torch.tensor(levels)[strengths]
    return apply(images, operations, (signs * 2.0 - 1.0) * unsigned, space, fill=fill)


@functools.cache
def _table(
    space: Space, levels: tuple[float, ...], height: int, width: int, device: torch.device
) -> Rows:
    """Return a row for each operation, level and sign, in this order; once a device."""
    operations = torch.arange(len(OPERATIONS), device=device)
    signed = torch.tensor([sign * level for level in levels for sign in (-1, 1)], device=device)
    return operation_layer.rows_of(
        operations.repeat_interleave(len(signed)),
        signed.repeat(len(operations)),
        space,
        height,
        width,
    )


def _on_all(images: Tensor) -> bool:
    return images.device.type != "cpu"


def _integers(high: int, images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(high, (len(images),), generator=generator, device=images.device)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(images), generator=generator, device=images.device)


@functools.cache
def _cifar10_table(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities, operations and strengths of the policy, (2, 25) each; once a device."""
    steps = list(zip(*CIFAR10_POLICY, strict=True))
    probs = torch.tensor([[prob for _, prob, _ in step] for step in steps], device=device)
    operations = [[NUMBER[name] for name, _, _ in step] for step in steps]
    strengths = [[strength for _, _, strength in step] for step in steps]
    return probs, torch.tensor(operations, device=device), torch.tensor(strengths, device=device)


# Operation, probability, strength 0 to 9; from the appendix of the paper.
CIFAR10_POLICY = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
)
