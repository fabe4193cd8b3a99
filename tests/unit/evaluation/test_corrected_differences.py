import numpy as np
import pytest
from scipy import stats

from imbalance_study.evaluation import corrected_differences
from imbalance_study.evaluation.corrected_differences import (
    above_zero,
    corrected,
    standing,
    test_to_train,
)

test_to_train.__test__ = False


def test_the_interval_is_that_of_nadeau_and_bengio_by_hand():
    values = np.array([0.01, 0.02, 0.03, 0.06])
    found = corrected(values, 0.25)
    error = np.sqrt((1 / 4 + 0.25) * values.var(ddof=1))
    half = stats.t.ppf(0.975, 3) * error
    assert found.mean == pytest.approx(0.03)
    assert (found.low, found.high) == pytest.approx((0.03 - half, 0.03 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(0.03 / error, 3))


def test_without_shared_images_it_is_the_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, 12)
    assert corrected(values, 0.0).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_the_correction_holds_its_level_where_the_plain_test_does_not():
    generator = np.random.default_rng(1)
    false = {0.0: 0, 0.25: 0}
    for _ in range(200):  # repeats that share images: rho = n_test / (n_test + n_train)
        shared = generator.normal()
        values = np.sqrt(0.2) * shared + np.sqrt(0.8) * generator.normal(size=15)
        for ratio in false:
            false[ratio] += corrected(values, ratio).p < 0.05
    assert false[0.25] <= 16
    assert false[0.0] > 40


def test_a_constant_difference_has_an_interval_without_width():
    assert corrected(np.zeros(5), 0.25) == (0, 0, 0, 1)
    assert corrected(np.full(5, 0.1), 0.25).p == 0


def test_the_probability_of_a_gain_is_that_of_the_one_sided_test():
    values = np.array([0.01, 0.02, 0.03, -0.01, 0.02])
    found = corrected(values, 0.25)
    t = found.mean / np.sqrt((1 / 5 + 0.25) * values.var(ddof=1))
    assert above_zero(found) == pytest.approx(stats.t.cdf(t, 4))
    assert above_zero(corrected(-values, 0.25)) == pytest.approx(1 - stats.t.cdf(t, 4))
    assert above_zero(corrected(np.zeros(5), 0.25)) == 0.5


def test_one_repeat_has_no_interval():
    found = corrected(np.array([0.1]), 0.25)
    assert found.mean == pytest.approx(0.1)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert np.isnan(corrected(np.array([]), 0.25).mean)


def test_a_class_of_few_images_weighs_as_much_as_a_class_of_many():
    assert test_to_train([20, 1, 0], [80, 2, 1]) == pytest.approx((0.25 + 0.5) / 2)
    with pytest.raises(ValueError, match="no class has both"):
        test_to_train([0, 1], [1, 0])


def test_the_better_method_is_the_best_with_the_larger_probability():
    generator = np.random.default_rng(2)
    scores = np.array([0.5, 0.52, 0.7]) + 0.02 * generator.normal(size=(15, 3))
    found = standing(scores, 0.25, generator)
    assert found.best.sum() == pytest.approx(1)
    assert found.best[2] > 0.99
    assert found.near[2] > 0.99
    assert found.near[0] < 0.01


def test_equal_methods_share_the_probability():
    scores = np.repeat(np.random.default_rng(3).normal(size=(10, 1)), 4, axis=1)
    found = standing(scores, 0.25, np.random.default_rng(0))
    assert found.best == pytest.approx([0.25] * 4)
    assert found.near == pytest.approx([1.0] * 4)


def test_what_moves_all_methods_alike_does_not_matter():
    generator = np.random.default_rng(4)
    own = np.array([0.0, 0.05]) + 0.01 * generator.normal(size=(15, 2))
    common = generator.normal(size=(15, 1))
    one = standing(own, 0.25, np.random.default_rng(0))
    other = standing(own + common, 0.25, np.random.default_rng(0))
    assert one.best == pytest.approx(other.best)


def test_a_closer_race_is_less_certain():
    generator = np.random.default_rng(5)
    noise = 0.03 * generator.normal(size=(15, 2))
    near, far = (
        standing(noise - noise.mean(0) + [0, gap], 0.25, np.random.default_rng(0)).best[1]
        for gap in (0.01, 0.05)
    )
    assert 0.5 < near < far < 1


def test_a_standing_needs_two_repeats():
    with pytest.raises(ValueError, match="at least 2 repeats, got 1"):
        standing(np.zeros((1, 3)), 0.25, np.random.default_rng(0))
    assert corrected_differences.CONFIDENCE == 0.95
