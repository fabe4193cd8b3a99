"""Choice of the decoding of an image set, by its training images, and findings about its files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.data.decode import Decoding, Look
from imbalance_study.data.deep_pixels import KINDS, Range, Use, range_of
from imbalance_study.data.report import Finding, listed

FITS = ("crop", "pad", "squash")
_SQUARE_ENOUGH = 1.5  # median of longer over shorter side; above it, auto pads
_NUMBERS = {"whole": "whole numbers of more than 8 bits", "decimal": "decimal numbers"}


class Wanted(NamedTuple):
    """The options of a run that decide how files are decoded."""

    fit: str = "auto"
    pixel_range: str = "auto"

    @property
    def fixed(self) -> Range:
        """The range that is given for all images; empty for auto.

        Raises:
            ValueError: It is neither auto nor LOW/HIGH.
        """
        if self.pixel_range == "auto":
            return ()
        try:
            low, high = map(float, self.pixel_range.split("/"))
        except ValueError:
            low = high = math.nan
        if not -math.inf < low < high < math.inf:
            raise ValueError(
                "pixel_range must be auto, or the values of black and white as LOW/HIGH (0/4095 "
                f"for 12 bits), got {self.pixel_range!r}"
            )
        return (low, high)

    def first(self) -> Decoding:
        """Return the decoding that is right for most sets, before any image is known."""
        return Decoding("crop" if self.fit == "auto" else self.fit, self.fixed, self.fixed)

    def decide(self, looks: Sequence[Look], train: np.ndarray) -> Decoding:
        """Return the decoding of a set.

        Args:
            looks: Of all readable images (N,).
            train: Which of them are of the training part (N,).
        """
        chosen = [look for look, kept in zip(looks, train, strict=True) if kept] or list(looks)
        decoding = self.first()
        if self.fit == "auto" and chosen:
            ratio = float(np.median([look.ratio for look in chosen]))
            decoding = decoding._replace(fit="crop" if ratio <= _SQUARE_ENOUGH else "pad")
        if self.fixed:
            return decoding
        uses = [look.use for look in chosen if look.use is not None]
        whole, decimal = (range_of(use for use in uses if use.kind == kind) for kind in KINDS)
        return decoding._replace(whole=whole, decimal=decimal)


def pack(looks: Sequence[Look]) -> dict[str, Any]:
    """Convert looks to plain values, in little space where images are ordinary."""
    odd = {
        str(row): [look.use, look.pages, look.spare_band]
        for row, look in enumerate(looks)
        if look[1:] != Look(1.0)[1:]
    }
    return {"ratios": [round(look.ratio, 4) for look in looks], "odd": odd}


def unpack(packed: dict[str, Any]) -> list[Look]:
    """Restore looks from `pack`."""
    looks = [Look(ratio) for ratio in packed["ratios"]]
    for row, (use, pages, spare) in packed["odd"].items():
        found = None if use is None else Use(*use)
        looks[int(row)] = looks[int(row)]._replace(use=found, pages=pages, spare_band=spare)
    return looks


def findings(
    wanted: Wanted, decoding: Decoding, looks: Sequence[Look], files: Sequence[str]
) -> list[Finding]:
    """Say how images are decoded where that is not self-evident."""
    found = [*_shape(wanted, decoding, looks), *_ranges(wanted, decoding, looks)]
    pages = [name for name, look in zip(files, looks, strict=True) if look.pages > 1]
    if pages:
        text = f"{len(pages):,} files of several pages or frames: the first counts"
        found.append(Finding("pixels", f"{text} ({listed(pages, 2)})", len(pages)))
    spare = [name for name, look in zip(files, looks, strict=True) if look.spare_band]
    if spare:
        text = f"{len(spare):,} TIFF files have a fourth band that is not alpha: it is left out"
        found.append(Finding("pixels", f"{text} ({listed(spare, 2)})", len(spare)))
    return found


def endings(files: Sequence[str], labels: np.ndarray, class_names: Sequence[str]) -> list[Finding]:
    """Count the files of each ending where there are several: they may give a class away."""
    of_file = [PurePath(name).suffix.lower() for name in files]
    if len(set(of_file)) < 2:
        return []
    names, which = np.unique(of_file, return_inverse=True)
    texts = []
    for position in np.argsort(-np.bincount(which), kind="stable").tolist():
        rows = which == position
        classes = np.unique(labels[rows])
        only = f" (all of class {class_names[classes[0]]})" if len(classes) == 1 else ""
        texts.append(f"{names[position] or 'no ending'} {rows.sum():,}{only}")
    return [Finding("pixels", f"files by ending: {listed(texts)}")]


def _shape(wanted: Wanted, decoding: Decoding, looks: Sequence[Look]) -> list[Finding]:
    oblong = [look.ratio for look in looks if look.ratio > 1.01]
    if not oblong:
        return []
    ratio = float(np.median([look.ratio for look in looks]))
    ways = {
        "crop": "the middle square of each counts; fit=pad shows all of it",
        "pad": "all of each is shown, on black; fit=crop takes the middle square",
        "squash": "all of each is squashed to a square",
    }
    why = f"fit={decoding.fit}" + (" (auto)" if wanted.fit == "auto" else "")
    text = (
        f"{len(oblong):,} of {len(looks):,} images are not square (longer side {ratio:.2f} times "
        f"the shorter in the median). {why}: {ways[decoding.fit]}"
    )
    return [Finding("pixels", text, len(oblong))]


def _ranges(wanted: Wanted, decoding: Decoding, looks: Sequence[Look]) -> list[Finding]:
    found = []
    for kind in KINDS:
        count = sum(look.use is not None and look.use.kind == kind for look in looks)
        if not count:
            continue
        used: Range = getattr(decoding, kind)
        if used:
            source = "pixel_range" if wanted.fixed else "the training images"
            scaled = f"{used[0]:g} to {used[1]:g}, by {source}, become 0 to 255"
        elif kind == "whole":
            scaled = "0 to 65535 become 0 to 255"
        else:
            scaled = "0 to 1 become 0 to 255"
        text = f"{count:,} of {len(looks):,} images hold {_NUMBERS[kind]}: {scaled}"
        found.append(Finding("pixels", text, count))
    return found
