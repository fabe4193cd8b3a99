"""Decoded images with labels and split, made from a listing of files through the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from imbalance_study.data.cache import Write, cached
from imbalance_study.data.decode import decode_files
from imbalance_study.data.image_folder import Listing, readable
from imbalance_study.data.report import Finding, listed

_NAMED = 5  # unreadable files in a message


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, decoded, and the set's own split."""

    name: str
    images: np.ndarray  # uint8 (N, H, W, 3), in memory or a read-only memory map
    labels: np.ndarray  # int64 (N,)
    class_names: tuple[str, ...]  # (C,), in label order
    files: tuple[str, ...]  # (N,), relative to the data folder
    train: np.ndarray  # int64 indices
    val: np.ndarray  # int64 indices; empty when the set has none
    test: np.ndarray  # int64 indices; empty when the set has none
    groups: np.ndarray  # int64 (N,), or empty
    skipped: tuple[str, ...]  # unreadable files that were left out
    findings: tuple[Finding, ...] = ()  # of the reader, for the report
    in_archive_order: bool = False  # the training images stand as in CIFAR's archive


class Split(NamedTuple):
    """Sorted int64 indices of training, validation and test images; no image is in two parts."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class ReadSettings:
    """Settings for reading images, the same for all sets."""

    image_size: int
    on_bad_image: str
    cache_dir: Path
    workers: int
    base_url: str
    csv_columns: str = "auto"
    test_fold: int | None = None


def decoded(name: str, listing: Listing, settings: ReadSettings) -> ImageSet:
    """Decode a listing, or read it from the cache.

    Raises:
        ValueError: Unreadable images, with their names; or, when they may be skipped, a class
            without a readable training image.
        OSError: The cache cannot be written, or its disk is full.
    """
    entries = listing.entries
    made_of = {"root": str(listing.origin.resolve()), "files": entries}

    def build(write: Write) -> dict[str, Any]:
        bad: dict[str, str] = {}
        chunks = decode_files(
            listing.root,
            [entry.name for entry in entries],
            sum(entry.size for entry in entries),
            settings.image_size,
            settings.workers,
        )
        with tqdm(
            total=len(entries), desc=f"decoding {name}", unit="img", delay=1, disable=None
        ) as bar:
            for images, unreadable in chunks:
                write(images)
                bad.update((entries[position].name, reason) for position, reason in unreadable)
                bar.update(len(images) + len(unreadable))
        _refuse_bad(bad, len(entries), settings.on_bad_image, listing.root)
        return {"bad": bad}

    images, notes = cached(settings.cache_dir, made_of, settings.image_size, len(entries), build)
    bad = notes["bad"]
    _refuse_bad(bad, len(entries), settings.on_bad_image, listing.root)
    good = np.array([entry.name not in bad for entry in entries])
    labels, parts = listing.labels[good], listing.parts[good]
    counts = np.bincount(labels[parts == 0], minlength=len(listing.class_names))
    for label in np.flatnonzero(counts == 0):
        raise ValueError(f"class {listing.class_names[label]!r} has no readable training image")
    train, val, test = (np.flatnonzero(parts == part) for part in range(3))
    files = tuple(readable(entry.name) for entry in entries if entry.name not in bad)
    groups = listing.groups[good] if len(listing.groups) else np.empty(0, np.int64)
    skipped = tuple(map(readable, bad))
    findings = (*listing.findings, *_left_out(listing, good))
    return ImageSet(
        *(name, images, labels, listing.class_names, files, train, val, test, groups, skipped),
        findings=findings,
    )


def _left_out(listing: Listing, good: np.ndarray) -> list[Finding]:
    """Count the unreadable images that were left out, by class."""
    counts = np.bincount(listing.labels[~good], minlength=len(listing.class_names))
    total = int(counts.sum())
    if not total:
        return []
    order = [label for label in np.argsort(-counts, kind="stable") if counts[label]]
    names = listed([f"{listing.class_names[label]} {counts[label]}" for label in order])
    return [Finding("left out", f"unreadable images: {names}", total)]


def _refuse_bad(bad: Mapping[str, str], count: int, on_bad_image: str, root: Path) -> None:
    if not bad or (on_bad_image == "skip" and len(bad) < count):
        return
    first = "; ".join(f"{readable(name)} ({bad[name]})" for name in list(bad)[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    way = "none is left" if len(bad) == count else "on_bad_image=skip leaves them out"
    raise ValueError(f"{len(bad)} of {count} images in {root} cannot be read: {first}{more}; {way}")
