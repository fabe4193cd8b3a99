import dataclasses

import numpy as np
import pytest
from made_image_sets import counts, image_set

from imbalance_study.data.image_set import ImageSet
from imbalance_study.data.subsets import cut


def grouped(labels: list[int], groups: list[int]) -> ImageSet:
    images = image_set([len(labels), 0])
    return dataclasses.replace(
        images,
        labels=np.array(labels),
        groups=np.array(groups),
        class_names=tuple(map(str, range(max(labels) + 1))),
    )


def take(images: ImageSet, wanted: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return cut(images, images.train, np.array(wanted), np.random.default_rng(seed))


def test_the_numbers_are_met_exactly_without_groups() -> None:
    images = image_set([10, 7, 1])
    taken, left = take(images, [3, 7, 1])
    assert counts(images, taken) == [3, 6, 0]  # one of each class stays
    assert counts(images, left) == [7, 1, 1]
    assert sorted([*taken, *left]) == list(range(18))


def test_only_the_pool_is_cut() -> None:
    images = image_set([10, 10])
    pool = np.arange(5, 15)
    taken, left = cut(images, pool, np.array([2, 2]), np.random.default_rng(0))
    assert sorted([*taken, *left]) == pool.tolist()
    assert counts(images, taken) == [2, 2]


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_whole_and_near_the_share(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 60, 600).tolist()
    labels = generator.integers(0, 3, 600).tolist()
    images = grouped(labels, groups)
    taken, left = take(images, [40, 40, 40], seed)
    assert not set(images.groups[taken]) & set(images.groups[left])
    assert all(30 <= number <= 60 for number in counts(images, taken))


def test_a_class_in_one_group_only_is_not_taken_away() -> None:
    images = grouped([0] * 6 + [1] * 3, [0, 0, 1, 1, 2, 2, 9, 9, 9])
    for seed in range(10):
        taken, left = take(images, [2, 3], seed)
        assert counts(images, taken) == [2, 0]
        assert counts(images, left) == [4, 3]


def test_a_class_in_large_groups_gets_its_smallest_one() -> None:
    images = grouped([0] * 10 + [1] * 30, [*range(10), *[20] * 9, *[21] * 8, *[22] * 13])
    for seed in range(10):
        taken, _ = take(images, [2, 3], seed)
        assert counts(images, taken) == [2, 8]


def test_nothing_wanted_takes_nothing() -> None:
    for images in (image_set([3, 3]), grouped([0, 0, 1, 1], [0, 1, 0, 1])):
        taken, left = take(images, [0, 0])
        assert len(taken) == 0
        assert (left == images.train).all()
