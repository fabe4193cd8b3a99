"""Copies among images: equal pixels, and nearly equal ones (saved anew, resized, mirrored).

Equal images have an equal hash of their decoded pixels. For nearly equal ones each image becomes
the differences between neighbours in a grey picture of 12x12 pixels, scaled to length 1 (a
difference hash without rounding, which brightness and contrast do not change). Two images are
nearly equal where the cosine of these vectors is at least 0.985, directly or mirrored. Black bars
at the edges (fit=pad) do not count: they would make all oblong images alike. All pairs are
compared, by matrix products: on bits (ImageHash) that needs a search tree, and plain backgrounds
fill it with pairs that are none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

NEAR_AT_MOST = 60_000  # images; beyond, only equal ones are looked for
_VERSION = 2
_SIDE = 12
_NEAR = 0.985
_LEAST_DETAIL = 2.0  # mean difference of neighbours, in grey values: plain images are not compared
_BLACK = 8  # a black bar that was saved as JPEG is not quite black
_BLOCK = 512
_MOST_PAIRS = 100_000


class Copies(NamedTuple):
    """Pairs of copies, and images of a single colour."""

    pairs: np.ndarray  # int64 (P, 2), the smaller index first
    equal: np.ndarray  # bool (P,): the pixels are equal, not just nearly
    plain: np.ndarray  # int64, images whose pixels all have one value
    near_searched: bool = True


NO_COPIES = Copies(np.empty((0, 2), np.int64), np.empty(0, bool), np.empty(0, np.int64))


def find(images: np.ndarray, cache_dir: Path) -> Copies:
    """Find the copies among images, or read them from the cache by the hashes of the pixels.

    Args:
        images: uint8 (N, H, W, 3).
        cache_dir: Folder that keeps the result; where it cannot be written, nothing is kept.
    """
    hashes, plain = _hashes(images)
    digest = hashlib.sha256(hashes.tobytes() + bytes([_VERSION])).hexdigest()[:24]
    path = cache_dir / f"copies-{digest}.npz"
    searched = len(images) <= NEAR_AT_MOST
    with contextlib.suppress(OSError, ValueError, KeyError), np.load(path) as stored:
        return Copies(stored["pairs"], stored["equal"], plain, searched)
    equal = _equal_pairs(images, hashes)
    near = _near_pairs(images, hashes) if searched else NO_COPIES.pairs
    pairs = np.concatenate([equal, near])
    is_equal = np.arange(len(pairs)) < len(equal)
    _keep(path, pairs, is_equal)
    return Copies(pairs, is_equal, plain, searched)


def components(copies: Copies, groups: np.ndarray, count: int) -> np.ndarray:
    """Number the images (N,) so that copies, and images of one group, have the same number."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = [copies.pairs]
    if len(groups):
        order = np.argsort(groups, kind="stable")
        together = groups[order][1:] == groups[order][:-1]
        links.append(np.stack([order[:-1][together], order[1:][together]], axis=1))
    rows, columns = np.concatenate(links).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _hashes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a hash of each image, uint64 (N,), and the images of one value."""
    hashes, plain = np.empty(len(images), np.uint64), []
    for start in range(0, len(images), _BLOCK):
        block = np.ascontiguousarray(images[start : start + _BLOCK])
        block = block.reshape(len(block), -1)
        digests = b"".join(hashlib.sha256(row.data).digest()[:8] for row in block)
        hashes[start : start + len(block)] = np.frombuffer(digests, "<u8")
        ends = np.flatnonzero(block[:, 0] == block[:, -1])
        plain.append(start + ends[(block[ends] == block[ends, :1]).all(1)])
    return hashes, np.concatenate([np.empty(0, np.int64), *plain])


def _equal_pairs(images: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Pair each image with the first of equal pixels; plain images are not copies."""
    first: dict[int, int] = {}
    pairs = []
    for row, number in enumerate(hashes.tolist()):
        other = first.setdefault(number, row)
        if other != row and np.array_equal(images[other], images[row]) and np.ptp(images[row]):
            pairs.append((other, row))
    return np.array(pairs, np.int64).reshape(-1, 2)


def _near_pairs(images: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Pair nearly equal images; of equal ones, the first alone takes part."""
    import torch

    _, rows = np.unique(hashes, return_index=True)
    rows.sort()
    vectors, mirrored, detailed = _vectors(images, rows)
    rows = rows[detailed]
    plain, turned = torch.from_numpy(vectors[detailed]), torch.from_numpy(mirrored[detailed])
    found, total = [], 0
    for start in range(0, len(rows), _BLOCK):
        block = plain[start : start + _BLOCK]
        close = (block @ plain[start:].T).maximum(block @ turned[start:].T) >= _NEAR
        one, other = close.triu(1).nonzero().T.numpy()  # the block begins at the diagonal
        found.append(np.stack([rows[start + one], rows[start + other]], axis=1))
        total += len(one)
        if total > _MOST_PAIRS:
            break
    return np.concatenate(found)[:_MOST_PAIRS] if found else NO_COPIES.pairs


def _vectors(images: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vectors of images and of their mirror images, and which have detail."""
    small = np.stack([np.asarray(one, np.float32) for one in _small(images, rows)])
    vectors, mirrored = _differences(small), _differences(small[:, :, ::-1])
    detailed = np.abs(vectors).mean(1) >= _LEAST_DETAIL
    for one in (vectors, mirrored):
        one /= np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-6)
    return vectors, mirrored, detailed


def _small(images: np.ndarray, rows: np.ndarray) -> Iterator[Image.Image]:
    for row in rows:
        grey = Image.fromarray(np.ascontiguousarray(_without_bars(images[row]))).convert("L")
        yield grey.resize((_SIDE, _SIDE), Image.Resampling.BOX)


def _without_bars(image: np.ndarray) -> np.ndarray:
    """Cut the black rows and columns off the edges of an image."""
    edges = (image[0], image[-1], image[:, 0], image[:, -1])
    if all(edge.max() > _BLACK for edge in edges):
        return image
    rows, columns = (np.flatnonzero((image > _BLACK).any(axis)) for axis in ((1, 2), (0, 2)))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else image


def _differences(small: np.ndarray) -> np.ndarray:
    across, down = np.diff(small, axis=2), np.diff(small, axis=1)
    return np.concatenate([across.reshape(len(small), -1), down.reshape(len(small), -1)], axis=1)


def _keep(path: Path, pairs: np.ndarray, equal: np.ndarray) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{uuid.uuid4().hex}.npz")
        np.savez(partial, pairs=pairs, equal=equal)
        os.replace(partial, path)
