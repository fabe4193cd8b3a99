import numpy as np
import pytest

from imbalance_study.evaluation.learning_curve import gain


def test_a_score_on_the_curve_gains_what_the_curve_says():
    sizes = np.array([10, 15, 20])
    scores = np.tile(0.9 - 0.5 / np.sqrt(sizes), (6, 1))
    found = gain(scores, sizes, 25, 75, 0.25)
    assert found.mean == pytest.approx(0.5 / 5 - 0.5 / 10)
    assert found.low == pytest.approx(found.high)


def test_a_flat_curve_promises_nothing():
    generator = np.random.default_rng(0)
    scores = 0.7 + 0.01 * generator.normal(size=(15, 3))
    found = gain(scores, np.array([10, 15, 20]), 25, 100, 0.25)
    assert found.low < 0 < found.high


def test_more_images_promise_more_but_the_gain_is_bounded():
    sizes = np.array([10, 15, 20])
    scores = np.tile(0.9 - 0.5 / np.sqrt(sizes), (6, 1))
    some, many, all_ = (gain(scores, sizes, 25, more, 0.25).mean for more in (20, 100, 10**9))
    assert some < many < all_ == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("sizes", [[10, 10], [0, 5]])
def test_a_curve_needs_two_numbers_of_images(sizes):
    with pytest.raises(ValueError, match="two different numbers of images"):
        gain(np.zeros((3, 2)), np.array(sizes), 10, 20, 0.25)
