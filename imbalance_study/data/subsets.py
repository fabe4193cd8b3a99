"""Subsets with a number of images of each class, with groups kept whole."""

from __future__ import annotations

import numpy as np

from imbalance_study.data.image_set import ImageSet


def cut(
    image_set: ImageSet, pool: np.ndarray, wanted: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Take `wanted` images of each class out of the pool, and always leave one of each.

    Without groups the numbers are met exactly. With groups, whole groups are taken in random order
    while more than half of a group's images are wanted; a class that got none then gets the
    smallest group that has it and leaves all classes an image.

    Args:
        image_set: Labels and groups.
        pool: Indices to choose from.
        wanted: Images of each class (C,).
        generator: Draws.

    Returns:
        Sorted indices: the images taken, and the images left.
    """
    labels = image_set.labels[pool]
    if len(image_set.groups):
        taken = _by_group(labels, image_set.groups[pool], wanted, generator)
    else:
        taken = np.zeros(len(pool), bool)
        for label, number in enumerate(wanted):
            candidates = generator.permutation(np.flatnonzero(labels == label))
            taken[candidates[: min(number, len(candidates) - 1)]] = True
    return np.sort(pool[taken]), np.sort(pool[~taken])


def _by_group(
    labels: np.ndarray, groups: np.ndarray, wanted: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return which of the images are taken (bool), whole groups at a time."""
    _, group = np.unique(groups, return_inverse=True)
    table = np.zeros((group.max() + 1, len(wanted)), np.int64)  # images by group and class
    np.add.at(table, (group, labels), 1)
    need, left = wanted.copy(), table.sum(0)
    taken = np.zeros(len(table), bool)

    def take(number: int) -> None:
        nonlocal need, left
        taken[number] = True
        need, left = need - table[number], left - table[number]

    def spare(number: int) -> bool:
        return bool((left - table[number] >= 1)[table[number] > 0].all())

    for number in generator.permutation(len(table)):
        useful = np.minimum(table[number], np.maximum(need, 0)).sum()
        if 2 * useful > table[number].sum() and spare(number):
            take(number)
    for label in np.flatnonzero((need == wanted) & (wanted > 0)):
        by_size = np.argsort(table.sum(1), kind="stable")
        fitting = [n for n in by_size if table[n, label] and not taken[n] and spare(n)]
        if fitting and need[label] == wanted[label]:
            take(fitting[0])
    return taken[group]
