"""Decoded images with labels and split, made from a listing of files through the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.data import decoding_choice
from imbalance_study.data.cache import Writer, cached
from imbalance_study.data.decode import AS_BEFORE, Decoding, Look, decode_files
from imbalance_study.data.decoding_choice import Wanted
from imbalance_study.data.duplicates import NO_COPIES, Copies
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
    decoding: Decoding = AS_BEFORE  # of the files
    copies: Copies = NO_COPIES  # among the images


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
    wanted: Wanted = Wanted()
    test_fold: int | None = None


def decoded(name: str, listing: Listing, settings: ReadSettings) -> ImageSet:
    """Decode a listing, or read it from the cache.

    Raises:
        ValueError: Unreadable images, with their names; or, when they may be skipped, a class
            without a readable training image.
        OSError: The cache cannot be written, or its disk is full.
    """
    entries = listing.entries
    images, notes = _stored(name, listing, settings)
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
    decoding, looks = Decoding.from_dict(notes["decoding"]), decoding_choice.unpack(notes["looks"])
    findings = (
        *listing.findings,
        *_left_out(listing, good),
        *decoding_choice.endings(files, labels, listing.class_names),
        *decoding_choice.findings(settings.wanted, decoding, looks, files),
    )
    return ImageSet(
        *(name, images, labels, listing.class_names, files, train, val, test, groups, skipped),
        findings=findings,
        decoding=decoding,
    )


def _stored(
    name: str, listing: Listing, settings: ReadSettings
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the images and their notes from the cache, decoded as the training part asks for.

    The training part may have changed since, by another table, and the decoding with it.
    """
    made_of: dict[str, Any] = {
        "root": str(listing.origin.resolve()),
        "files": listing.entries,
        "wanted": settings.wanted,
    }
    known: Decoding | None = None
    while True:
        decoder = _Decoder(name, listing, settings, known)
        size, count = settings.image_size, len(listing.entries)
        images, notes = cached(settings.cache_dir, made_of, size, count, decoder.build)
        right = decoder.decide(notes["bad"], decoding_choice.unpack(notes["looks"]))
        if Decoding.from_dict(notes["decoding"]) == right:
            return images, notes
        known = right
        made_of = made_of | {"decoding": right}


@dataclass(frozen=True)
class _Decoder:
    """A decoding of all files of a listing, in two passes where the first shows another way."""

    name: str
    listing: Listing
    settings: ReadSettings
    known: Decoding | None

    def decide(self, bad: Mapping[str, str], looks: list[Look]) -> Decoding:
        """Return the decoding that the readable training images ask for."""
        entries, parts = self.listing.entries, self.listing.parts
        good = np.array([entry.name not in bad for entry in entries], bool)
        return self.settings.wanted.decide(looks, parts[good] == 0)

    def build(self, write: Writer) -> dict[str, Any]:
        """Write the images, and return the notes."""
        decoding = self.known or self.settings.wanted.first()
        bad, looks = self._decode(write, decoding)
        right = self.decide(bad, looks)
        if right != decoding:
            write.restart()
            bad, looks = self._decode(write, right)
        return {"bad": bad, "decoding": right.to_dict(), "looks": decoding_choice.pack(looks)}

    def _decode(self, write: Writer, decoding: Decoding) -> tuple[dict[str, str], list[Look]]:
        entries, settings = self.listing.entries, self.settings
        from tqdm import tqdm

        bad: dict[str, str] = {}
        looks: list[Look] = []
        chunks = decode_files(
            self.listing.root,
            [entry.name for entry in entries],
            sum(entry.size for entry in entries),
            settings.image_size,
            settings.workers,
            decoding,
        )
        with tqdm(
            total=len(entries), desc=f"decoding {self.name}", unit="img", delay=1, disable=None
        ) as bar:
            for chunk in chunks:
                write(chunk.images)
                bad.update((entries[position].name, reason) for position, reason in chunk.bad)
                looks += chunk.looks
                bar.update(len(chunk.looks) + len(chunk.bad))
        _refuse_bad(bad, len(entries), settings.on_bad_image, self.listing.root)
        return bad, looks


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
