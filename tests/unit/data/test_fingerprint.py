import dataclasses

import numpy as np
import pytest

from imbalance_study.data.fingerprint import channel_statistics, fingerprint
from imbalance_study.data.image_set import ImageSet, Split

NONE = np.empty(0, np.int64)
SPLIT = Split(np.array([0, 1, 5]), np.array([2]), np.array([3, 7]))


def images(count: int = 10) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), np.uint8)
    labels = np.arange(count) % 2
    files = tuple(map(str, range(count)))
    return ImageSet(
        "made", pixels, labels, ("a", "b"), files, np.arange(count), NONE, NONE, NONE, ()
    )


def test_a_fingerprint_tells_counts_and_hashes() -> None:
    found = fingerprint(images(), SPLIT, 3)
    assert found["class_counts"] == {"train": [1, 2], "val": [1, 0], "test": [0, 2]}
    assert found["data_seed"] == 3
    assert found["num_classes"] == 2
    assert found["image_size"] == 6
    assert len(found["pixels_sha256"]) == len(found["indices_sha256"]) == 64
    assert len(found["fingerprint"]) == 16
    assert found == fingerprint(images(), SPLIT, 3)


def test_every_change_that_matters_changes_the_fingerprint() -> None:
    made = images()
    pixels = made.images.copy()
    pixels[5, 0, 0, 0] ^= 1
    labels = made.labels.copy()
    labels[[0, 1]] = labels[[1, 0]]  # the counts stay
    variants = [
        fingerprint(made, SPLIT, 0),
        fingerprint(made, SPLIT, 1),
        fingerprint(made, Split(SPLIT.train, SPLIT.test, SPLIT.val), 0),
        fingerprint(made, SPLIT._replace(train=np.array([0, 1, 9])), 0),
        fingerprint(dataclasses.replace(made, images=pixels), SPLIT, 0),
        fingerprint(dataclasses.replace(made, labels=labels), SPLIT, 0),
        fingerprint(dataclasses.replace(made, name="other"), SPLIT, 0),
    ]
    assert len({found["fingerprint"] for found in variants}) == len(variants)


def test_images_that_are_not_used_leave_the_fingerprint_alone() -> None:
    made = images()
    pixels = made.images.copy()
    pixels[9] = 0
    changed = dataclasses.replace(made, images=pixels)
    assert fingerprint(made, SPLIT, 0) == fingerprint(changed, SPLIT, 0)


def test_a_memory_map_has_the_fingerprint_of_its_array(tmp_path: object) -> None:
    made = images()
    np.save(f"{tmp_path}/images.npy", made.images)
    mapped = np.load(f"{tmp_path}/images.npy", mmap_mode="r")
    again = fingerprint(dataclasses.replace(made, images=mapped), SPLIT, 0)
    assert again == fingerprint(made, SPLIT, 0)


def test_statistics_are_those_of_all_pixels_at_once() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (700, 20, 20, 3), np.uint8)
    pixels[..., 1] //= 3
    chosen = np.random.default_rng(2).permutation(700)[:650]
    mean, std = channel_statistics(pixels, chosen)  # in several chunks
    expected = pixels[chosen].reshape(-1, 3) / 255
    assert mean == pytest.approx(expected.mean(0), abs=1e-12)
    assert std == pytest.approx(expected.std(0), abs=1e-12)


def test_statistics_of_one_colour_have_no_deviation() -> None:
    mean, std = channel_statistics(np.full((3, 5, 5, 3), 255, np.uint8), np.arange(3))
    assert mean.tolist() == [1, 1, 1]
    assert std.tolist() == [0, 0, 0]


def test_statistics_of_half_black_half_white_are_a_half() -> None:
    pixels = np.zeros((4, 2, 2, 3), np.uint8)
    pixels[:2] = 255
    mean, std = channel_statistics(pixels, np.arange(4))
    assert mean.tolist() == [0.5, 0.5, 0.5]
    assert std.tolist() == [0.5, 0.5, 0.5]


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one image, got none"):
        channel_statistics(np.zeros((3, 2, 2, 3), np.uint8), NONE)
