"""Repeated stratified splits and folds of one image set, with groups kept whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imbalance_study.data.longtail import stratified
from imbalance_study.data.report import listed
from imbalance_study.data.subsets import cut
from imbalance_study.studies.advise.heads import FeatureSet, Ints

TEST_SHARE, FOLDS = 0.2, 5


class Cut(NamedTuple):
    """The images of one repeat."""

    train: Ints
    test: Ints


def check(labels: Ints, groups: Ints, class_names: Sequence[str]) -> None:
    """Refuse images that cannot be split.

    Raises:
        ValueError: There is one class, a class of one image, or one group.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    if len(class_names) < 2:
        raise ValueError(f"advice needs images of two classes or more, got one: {class_names[0]!r}")
    few = [class_names[label] for label in np.flatnonzero(counts < 2).tolist()]
    if few:
        raise ValueError(
            f"each class needs two images or more, one to train and one to test, and "
            f"{listed(few)} has fewer; add images, or remove the class"
        )
    if len(groups) and len(np.unique(groups)) == 1:
        raise ValueError(
            "all images are of one group (or are copies of each other), and groups are kept "
            "whole, so that nothing is left to test; correct the groups, or set "
            "csv_columns=group:none"
        )


def repeat(images: FeatureSet, number: int) -> Cut:
    """Cut a fifth of each class off for testing, by the number of the repeat.

    Raises:
        ValueError: No image can be cut off, as each class is of one group.
    """
    wanted = stratified(images.counts, False, fraction=TEST_SHARE)
    generator = np.random.default_rng([number, 20])
    every = np.arange(len(images.labels))
    test, train = cut(images.image_set(), every, wanted, generator)
    if not len(test):
        raise ValueError(
            "no image can be cut off for testing: all images of each class are of one group; "
            "correct the groups, or set csv_columns=group:none"
        )
    return Cut(train, test)


def folds(images: FeatureSet, seed: int = 0) -> list[Cut]:
    """Return five cuts that test each image once; with groups nearly stratified."""
    place = np.zeros(len(images.labels), np.int64)
    if len(images.groups):
        from sklearn.model_selection import StratifiedGroupKFold

        number = min(FOLDS, len(np.unique(images.groups)))
        maker = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
        split = maker.split(np.zeros(len(place)), images.labels, images.groups)
        for fold, (_, test) in enumerate(split):
            place[test] = fold
    else:
        generator = np.random.default_rng([seed, 5])
        for label in range(len(images.class_names)):
            rows = generator.permutation(np.flatnonzero(images.labels == label))
            place[rows] = (np.arange(len(rows)) + label) % FOLDS
    every = np.arange(len(place))
    return [Cut(every[place != fold], every[place == fold]) for fold in np.unique(place).tolist()]
