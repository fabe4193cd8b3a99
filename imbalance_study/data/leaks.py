"""Copies that cross the parts of a run: said, left out or refused, and listed as a table."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from imbalance_study.data import duplicates
from imbalance_study.data.image_set import ImageSet, Split
from imbalance_study.data.report import Finding, listed

_ROWS = 1_000  # of the table
_PARTS = ("train", "val", "test")


def handle(image_set: ImageSet, on_leak: str) -> ImageSet:
    """Act on copies that cross the parts that a set brings itself.

    Args:
        image_set: With its copies.
        on_leak: warn leaves the images as they are; drop leaves those out of training (and of
            validation) that have a copy in test, and those out of training that have one in
            validation; error refuses the set.

    Raises:
        ValueError: Copies cross the parts, and `on_leak` is error.
    """
    part = _part_of(image_set, Split(image_set.train, image_set.val, image_set.test))
    crossing = _crossing(image_set, part)
    if not len(crossing) or on_leak == "warn":
        return image_set
    if on_leak == "error":
        named = [" = ".join(image_set.files[row] for row in pair) for pair in crossing[:3]]
        raise ValueError(
            f"{len(crossing):,} pairs of equal or nearly equal images cross train, val and test, "
            f"and on_leak=error: {'; '.join(named)}; on_leak=drop leaves them out of training"
        )
    lower = np.where(part[crossing[:, 0]] < part[crossing[:, 1]], crossing[:, 0], crossing[:, 1])
    dropped = np.unique(lower)
    findings = (*image_set.findings, _dropped(image_set, dropped, part))
    return dataclasses.replace(
        image_set,
        train=np.setdiff1d(image_set.train, dropped),
        val=np.setdiff1d(image_set.val, dropped),
        findings=findings,
    )


def group(image_set: ImageSet) -> ImageSet:
    """Keep copies together in the cut, as images of one group are."""
    if not len(image_set.copies.pairs):
        return image_set
    count = len(image_set.labels)
    groups = duplicates.components(image_set.copies, image_set.groups, count)
    return dataclasses.replace(image_set, groups=groups)


def findings(image_set: ImageSet, split: Split) -> list[Finding]:
    """Say how many copies there are, which differ in label, and which cross the parts."""
    copies, labels = image_set.copies, image_set.labels
    part = _part_of(image_set, split)
    found = []
    for kind, rows in (("equal", copies.equal), ("nearly equal", ~copies.equal)):
        pairs = copies.pairs[rows]
        if len(pairs):
            found.append(_pairs(image_set, kind, pairs))
    for target, source in ((2, 0), (1, 0), (2, 1)):
        found += _crossings(image_set, part, target, source)
    if not copies.near_searched:
        limit = f"{duplicates.NEAR_AT_MOST:,}"
        found.append(Finding("copies", f"nearly equal images are looked for among {limit} at most"))
    plain = copies.plain
    if len(plain):
        counts = np.bincount(labels[plain], minlength=len(image_set.class_names))
        names = [f"{image_set.class_names[c]} {counts[c]}" for c in np.flatnonzero(counts)]
        text = f"{len(plain):,} images have one value in all pixels: {listed(names)}"
        found.append(Finding("pixels", text, len(plain)))
    return found


def refuse_plain(image_set: ImageSet) -> None:
    """Refuse a set without any picture.

    Raises:
        ValueError: All images have the same value in all pixels.
    """
    count, images = len(image_set.labels), image_set.images
    if count and len(image_set.copies.plain) == count and not np.ptp(images[:, 0, 0, 0]):
        raise ValueError(
            f"all {count:,} images have the value {images[0, 0, 0, 0]} in all pixels, so there is "
            "nothing to learn; if they hold more than 8 bits, set pixel_range=LOW/HIGH"
        )


def table(image_set: ImageSet, split: Split) -> dict[str, list[Any]]:
    """List the pairs of copies as columns, those of two labels first."""
    copies, part = image_set.copies, _part_of(image_set, split)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("kind", "two_labels", "file", "label", "part")
    }
    columns |= {name: [] for name in ("copy", "copy_label", "copy_part")}
    two = image_set.labels[copies.pairs[:, 0]] != image_set.labels[copies.pairs[:, 1]]
    for row in np.lexsort((~copies.equal, ~two))[:_ROWS]:
        one, other = copies.pairs[row].tolist()
        cells = ["equal" if copies.equal[row] else "nearly equal", bool(two[row])]
        for image in (one, other):
            name = _PARTS[part[image]] if part[image] >= 0 else "none"
            label = image_set.class_names[image_set.labels[image]]
            cells += [image_set.files[image], label, name]
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return columns


def _part_of(image_set: ImageSet, split: Split) -> np.ndarray:
    """Return the position of the part of each image (N,); -1 where it is in none."""
    part = np.full(len(image_set.labels), -1, np.int64)
    for position, rows in enumerate(split):
        part[rows] = position
    return part


def _crossing(image_set: ImageSet, part: np.ndarray) -> np.ndarray:
    """Return the pairs (P, 2) whose images are in two parts."""
    pairs = image_set.copies.pairs
    ends = part[pairs]
    return np.asarray(pairs[(ends >= 0).all(1) & (ends[:, 0] != ends[:, 1])])


def _pairs(image_set: ImageSet, kind: str, pairs: np.ndarray) -> Finding:
    two = image_set.labels[pairs[:, 0]] != image_set.labels[pairs[:, 1]]
    first = (pairs[two] if two.any() else pairs)[0]
    labels = f", {two.sum():,} of them with two labels" if two.any() else ""
    named = " = ".join(image_set.files[row] for row in first)
    word = "pair" if len(pairs) == 1 else "pairs"
    text = f"{len(pairs):,} {word} of {kind} images{labels} (first: {named})"
    return Finding("copies", text, len(pairs))


def _crossings(image_set: ImageSet, part: np.ndarray, target: int, source: int) -> list[Finding]:
    """Count the images of one part that have a copy in another."""
    pairs = _crossing(image_set, part)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    rows = both[(part[both[:, 0]] == target) & (part[both[:, 1]] == source)]
    if not len(rows):
        return []
    count, of = len(np.unique(rows[:, 0])), int((part == target).sum())
    words = {0: "training", 1: "validation", 2: "test"}
    given = len(image_set.test if target == 2 else image_set.val)
    way = "on_leak=drop leaves these out" if given else "group_copies=true keeps copies together"
    named = " = ".join(image_set.files[row] for row in rows[0])
    text = (
        f"in {_PARTS[source]} and {_PARTS[target]}: {count:,} of {of:,} {words[target]} images are "
        f"also {words[source]} images, or nearly (first: {named}); {way}"
    )
    return [Finding("copies", text, count)]


def _dropped(image_set: ImageSet, dropped: np.ndarray, part: np.ndarray) -> Finding:
    counts = np.bincount(image_set.labels[dropped], minlength=len(image_set.class_names))
    names = [f"{image_set.class_names[label]} {counts[label]}" for label in np.flatnonzero(counts)]
    parts = sorted({_PARTS[part[row]] for row in dropped})
    text = (
        f"{len(dropped):,} images of {' and '.join(parts)} with a copy in a later part are left "
        f"out, by on_leak=drop: {listed(names)}"
    )
    return Finding("copies", text, len(dropped))
