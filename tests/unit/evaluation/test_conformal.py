import numpy as np
import pytest

from imbalance_study.evaluation.conformal import least_probabilities, quality, sets


def _probs(generator, count):
    """Probabilities of three classes, and targets that have them."""
    probs = generator.dirichlet([1, 1, 1], count)
    targets = (generator.random((count, 1)) > probs.cumsum(1)).sum(1).clip(max=2)
    return probs, targets


def test_the_least_probability_is_that_of_the_right_image_by_hand():
    own = np.array([0.9, 0.5, 0.7, 0.3, 0.8, 0.6, 0.2, 0.4, 0.95])
    probs = np.stack([own, 1 - own], 1)
    # floor(0.2 * 10) = 2: the second smallest.
    assert least_probabilities(probs, np.zeros(9, int), 0.2)[0] == pytest.approx(0.3)
    assert least_probabilities(probs, np.zeros(9, int), 0.1)[0] == pytest.approx(0.2)


def test_a_class_of_too_few_images_is_in_every_set():
    probs = np.full((10, 2), 0.5)
    least = least_probabilities(probs, np.array([0] * 9 + [1]), 0.1)
    assert np.isneginf(least[1])
    assert sets(np.array([[1.0, 0.0]]), least).tolist() == [[True, True]]


def test_each_class_is_covered_as_often_as_promised():
    generator = np.random.default_rng(0)
    probs, targets = _probs(generator, 3_000)
    found = quality(probs, targets, 0.1, generator, repeats=20)
    assert found.coverage == pytest.approx([0.9] * 3, abs=0.02)
    assert not found.always.any()
    assert ((found.size > 1) & (found.size < 3)).all()


def test_a_smaller_alpha_makes_larger_sets():
    generator = np.random.default_rng(1)
    probs, targets = _probs(generator, 1_000)
    sizes = [sets(probs, least_probabilities(probs, targets, alpha)).sum() for alpha in (0.2, 0.05)]
    assert sizes[1] > sizes[0]


def test_a_class_without_images_has_no_coverage():
    probs = np.full((20, 3), 1 / 3)
    found = quality(probs, np.arange(20) % 2, 0.2, np.random.default_rng(0), repeats=2)
    assert np.isnan(found.coverage[2])
    assert found.always[2]


@pytest.mark.parametrize("alpha", [0, 1, -0.1])
def test_alpha_is_between_0_and_1(alpha):
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        least_probabilities(np.ones((2, 2)), np.zeros(2, int), alpha)
