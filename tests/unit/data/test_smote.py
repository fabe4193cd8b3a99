import tracemalloc

import numpy as np
import pytest

from imbalance_study.data.smote import counts_after, estimate_bytes, smote


def image_set(counts, size=4, seed=0):
    """Random images, their labels in random order; each class around a grey of its own."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    noise = rng.normal(0, 30, (len(labels), size, size, 3))
    grey = (40 + 50 * labels)[:, None, None, None]
    return np.clip(grey + noise, 0, 255).astype(np.uint8), labels


def test_every_class_gets_as_large_as_the_largest_and_the_given_images_come_first():
    images, labels = image_set([30, 12, 6])
    new_images, new_labels = smote(images, labels, 0)
    assert np.bincount(new_labels).tolist() == [30, 30, 30]
    assert (new_images.dtype, new_images.shape) == (np.uint8, (90, 4, 4, 3))
    assert new_labels.dtype == np.int64
    assert np.array_equal(new_images[:48], images)
    assert np.array_equal(new_labels[:48], labels)


@pytest.mark.parametrize("k", [1, 3])
def test_a_new_image_lies_between_an_image_of_its_class_and_one_of_its_neighbours(k):
    images, labels = image_set([20, 9, 5])
    new_images, new_labels = smote(images, labels, 0, k=k)
    for image, label in zip(new_images[34:], new_labels[34:], strict=True):
        members = images[labels == label].reshape(-1, 48).astype(float)
        distances = ((members[:, None] - members) ** 2).sum(2)
        neighbours = distances.argsort(1)[:, 1 : k + 1]
        origin = np.repeat(members[:, None], k, 1)
        step = members[neighbours] - origin
        target = image.reshape(-1).astype(float) - origin
        share = ((target * step).sum(2) / (step**2).sum(2)).clip(0, 1)
        off_the_line = np.abs(target - share[..., None] * step).max(2)
        assert off_the_line.min() < 0.8  # 0.5 for rounding, and what that does to the share


def test_the_result_is_that_of_imbalanced_learn_rounded():
    from imblearn.over_sampling import SMOTE

    images, labels = image_set([20, 9, 7])
    pixels = images.reshape(len(images), -1).astype(np.float64)
    theirs, their_labels = SMOTE(k_neighbors=3, random_state=5).fit_resample(pixels, labels)
    ours, our_labels = smote(images, labels, 5, k=3)
    assert np.abs(ours.reshape(len(ours), -1) - theirs).max() <= 0.5 + 1e-4
    assert np.array_equal(our_labels, their_labels)


def test_a_seed_repeats_the_images_and_another_gives_others():
    images, labels = image_set([20, 9, 7])
    first = smote(images, labels, 1)[0]
    assert np.array_equal(first, smote(images, labels, 1)[0])
    assert not np.array_equal(first, smote(images, labels, 2)[0])


def test_equally_large_classes_stay_as_they_are():
    images, labels = image_set([7, 7])
    new_images, new_labels = smote(images, labels, 0)
    assert np.array_equal(new_images, images)
    assert np.array_equal(new_labels, labels)


def test_single_pixels_and_a_memory_map_pass(tmp_path):
    images, labels = image_set([9, 6], size=1)
    stored = np.memmap(tmp_path / "images", np.uint8, "w+", shape=images.shape)
    stored[:] = images
    assert smote(stored, labels, 0)[0].shape == (18, 1, 1, 3)


@pytest.mark.parametrize(("count", "way"), [(3, "resample=smote:k=2 goes with 3, "), (1, "")])
def test_a_class_of_no_more_than_k_images_is_named_with_the_ways_out(count, way):
    images, labels = image_set([9, 6, count])
    with pytest.raises(ValueError, match=f"class 'scab' has {count} image") as caught:
        smote(images, labels, 0, k=3, class_names=("healthy", "rust", "scab"))
    assert f"; {way}sampler=random_over with any number" in str(caught.value)


def test_a_class_without_a_name_is_named_by_its_number():
    images, labels = image_set([9, 6, 4])
    expected = r"^smote:k=5 needs at least 6 training images of each class, and class '2' has 4"
    with pytest.raises(ValueError, match=expected):
        smote(images, labels, 0)
    assert len(smote(images, labels, 0, k=3)[0]) == 27
    with pytest.raises(ValueError, match="smote:k=4 needs at least 5 training images"):
        smote(images, labels, 0, k=4)


def test_no_neighbours_at_all_are_refused():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        smote(*image_set([9, 6]), 0, k=0)


def test_more_memory_than_allowed_is_refused_before_anything_is_made():
    images, labels = image_set([300, 10], size=64)
    needed = estimate_bytes(images.shape, np.array([300, 10]))
    limit = 0.9 * needed / 1e9
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"smote needs about .* GB for 600 images of 64x64 pixels"):
        smote(images, labels, 0, max_gb=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < needed / 20
    assert len(smote(images, labels, 0, max_gb=1.1 * needed / 1e9)[0]) == 600


@pytest.mark.parametrize("counts", [[400, 300, 50], [400, 6], [300] + [6] * 9, [150] * 5 + [90]])
def test_the_memory_that_is_taken_is_the_estimate_and_no_more(counts):
    images, labels = image_set(counts, size=32)
    smote(*image_set([8, 7]), 0)  # imports and caches are not counted
    tracemalloc.start()
    smote(images, labels, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimate = estimate_bytes(images.shape, np.array(counts))
    assert 0.6 * estimate < peak < 1.02 * estimate


def test_features_are_made_between_neighbours_without_rounding():
    images, labels = image_set([20, 9, 5])
    features = images.reshape(len(images), -1)[:, :7].astype(np.float32) / 255
    made, made_labels = smote(features, labels, 0, k=2)
    assert (made.dtype, made.shape) == (np.float32, (60, 7))
    assert np.array_equal(made[:34], features)
    assert np.bincount(made_labels).tolist() == counts_after(np.array([20, 9, 5])).tolist()
    assert not np.isin(made[34:] * 255, np.arange(256)).all()
    own = features[labels == 2]
    new = made[34:][made_labels[34:] == 2]
    assert (new >= own.min(0) - 1e-6).all()
    assert (new <= own.max(0) + 1e-6).all()


def test_too_little_memory_for_features_names_their_number():
    features, labels = np.zeros((30, 9), np.float32), np.repeat([0, 1], [20, 10])
    with pytest.raises(ValueError, match="for 40 images of 9 features, it may take"):
        smote(features, labels, 0, k=2, max_gb=1e-9)
