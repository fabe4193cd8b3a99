"""Normalisations: mean and deviation of the pixels, in 0..1, that a model expects.

A normalisation is a function ``normalisation(*, options) -> (mean, std)``, three numbers each.
"""

from __future__ import annotations

from collections.abc import Callable

from imbalance_study.models.imagenet import preprocessing

Channels = tuple[float, ...]
Normalisation = Callable[[], tuple[Channels, Channels]]


def imagenet() -> tuple[Channels, Channels]:
    """Return those that torchvision's weights for ImageNet expect."""
    return preprocessing()


def values(*, mean: str = "", std: str = "") -> tuple[Channels, Channels]:
    """Take the given numbers, in 0..1: one, or one a channel with slashes between.

    Raises:
        ValueError: Not one or three numbers, a mean outside 0..1, or a deviation that is not above
            0 or is above 1.
    """
    means, stds = _channels("mean", mean), _channels("std", std)
    if not all(0 <= value <= 1 for value in means):
        raise ValueError(f"mean of normalisation values must be in 0..1, got {mean}{_HINT}")
    if not all(0 < value <= 1 for value in stds):
        raise ValueError(f"std of normalisation values must be above 0 and at most 1, got {std}")
    return means, stds


_HINT = "; divide numbers for pixels of 0 to 255 by 255"


def _channels(name: str, text: str) -> Channels:
    try:
        numbers = tuple(float(piece) for piece in text.split("/"))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3):
        raise ValueError(
            f"{name} of normalisation values must be one number, or three with / between, "
            f"got {text!r}"
        )
    return numbers * 3 if len(numbers) == 1 else numbers
