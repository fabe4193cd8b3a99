import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from imbalance_study.evaluation import metrics, significance

NAN = float("nan")


def by_seed(values):
    return dict(enumerate(values))


def test_a_summary_is_the_textbooks():
    # 2, 4, 9: mean 5, sd sqrt(13); t with 2 degrees of freedom is 4.302653.
    found = significance.summarise([2.0, 4.0, 9.0])
    half = 4.302652729911275 * math.sqrt(13 / 3)
    assert found.seeds == 3
    np.testing.assert_allclose(found[1:], [5, math.sqrt(13), 5 - half, 5 + half])


def test_a_summary_leaves_nan_out_and_knows_when_there_is_nothing_to_say():
    assert significance.summarise([NAN, 2.0, 4.0]).seeds == 2
    assert significance.summarise([NAN, 2.0, 4.0]).mean == 3
    one = significance.summarise([0.5])
    assert one.mean == 0.5
    assert np.isnan(one[2:]).all()
    assert significance.summarise([]).seeds == 0
    assert np.isnan(significance.summarise([NAN])[1:]).all()


def test_the_interval_covers_the_mean_in_95_of_100_samples():
    draws = np.random.default_rng(0).normal(3, 2, size=(4000, 4))
    found = [significance.summarise(row) for row in draws]
    covered = np.mean([one.low <= 3 <= one.high for one in found])
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 4000)


def test_the_interval_of_a_share_stays_within_0_and_1_and_covers_the_mean():
    """Accuracies near 1 that vary much: the plain interval leaves 0 to 1, and covers too little."""
    draws = np.random.default_rng(0).beta(0.95 * 30, 0.05 * 30, size=(2000, 5))
    plain, found = (
        [significance.summarise(row, share=share) for row in draws] for share in (False, True)
    )
    assert np.mean([one.high > 1 for one in plain]) > 0.1
    assert all(0 <= one.low <= one.mean <= one.high <= 1 for one in found)
    before, now = (np.mean([one.low <= 0.95 <= one.high for one in of]) for of in (plain, found))
    assert before < 0.925 < now < 0.965


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1e-9]])
def test_the_interval_of_a_share_at_an_end_is_finite(values):
    found = significance.summarise(values, share=True)
    assert 0 <= found.low <= found.mean <= found.high <= 1


@pytest.mark.parametrize(("pairs", "tests"), [(3, 1), (3, 6), (5, 3), (10, 1)])
def test_what_is_detectable_is_shown_in_80_of_100_comparisons(pairs, tests):
    size = significance.detectable(pairs, tests)
    draws = np.random.default_rng(0).normal(size, 1, (20_000, pairs))
    p = stats.ttest_1samp(draws, 0, axis=1).pvalue
    assert np.mean(p * tests < 0.05) == pytest.approx(0.8, abs=0.01)


def test_with_two_seeds_or_no_test_nothing_is_detectable():
    assert math.isnan(significance.detectable(2))
    assert math.isnan(significance.detectable(3, 0))


values = st.floats(-1, 1).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(values, values), min_size=3, max_size=12))
def test_the_paired_t_test_is_scipys(pairs):
    ours, theirs = np.array(pairs).T
    found = significance.paired_t_test(by_seed(ours), by_seed(theirs))
    assert found.difference == pytest.approx((ours - theirs).mean(), abs=1e-12)
    if np.ptp(ours - theirs) < 1e-9:
        assert found.p == 1.0 or (math.isnan(found.p) and found.reason)
        return
    expected = stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.t == pytest.approx(expected.statistic, rel=1e-6, abs=1e-9)
    interval = expected.confidence_interval()
    np.testing.assert_allclose(found[2:4], interval, rtol=1e-6, atol=1e-9)
    assert not found.reason


def test_pairs_are_made_by_seed_and_a_seed_without_its_twin_is_left_out():
    ours = {3: 0.9, 0: 0.5, 1: 0.7, 2: 0.4, 9: 0.1}
    theirs = {0: 0.4, 1: 0.5, 2: 0.1, 3: 0.5, 7: 0.99}
    found = significance.paired_t_test(ours, theirs)
    expected = stats.ttest_rel([0.5, 0.7, 0.4, 0.9], [0.4, 0.5, 0.1, 0.5])
    assert found.pairs == 4
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_give_a_difference_but_no_test(count):
    found = significance.paired_t_test(by_seed([0.5, 0.7][:count]), by_seed([0.4, 0.4][:count]))
    assert found.difference == pytest.approx([0.1, 0.2][count - 1])
    assert np.isnan([found.p, found.low, found.high, found.t]).all()
    assert found.reason == f"3 seeds are needed, there {'is' if count == 1 else 'are'} {count}"


def test_seeds_that_never_meet_give_no_difference():
    found = significance.paired_t_test({0: 1.0}, {1: 1.0})
    assert math.isnan(found.difference)
    assert found.reason == "no seed in common with the baseline"


def test_a_nan_takes_its_pair_out():
    found = significance.paired_t_test(by_seed([0.5, NAN, 0.7]), by_seed([0.1, 0.2, 0.3]))
    assert found.pairs == 2
    assert found.reason


def test_equal_values_are_no_difference_and_a_constant_one_no_proof():
    same = significance.paired_t_test(by_seed([0.1, 0.2, 0.3]), by_seed([0.1, 0.2, 0.3]))
    assert (same.difference, same.low, same.high, same.p, same.reason) == (0, 0, 0, 1, "")
    shifted = significance.paired_t_test(by_seed([0.4, 0.5, 0.6]), by_seed([0.1, 0.2, 0.3]))
    assert shifted.difference == pytest.approx(0.3)
    assert math.isnan(shifted.p)
    assert shifted.reason == "the difference is the same for every seed"


def test_holm_multiplies_by_what_is_left_and_never_falls():
    # Sorted .005, .01, .03, .04, times 4, 3, 2, 1, and the running maximum.
    adjusted = significance.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])


def test_holm_does_not_count_what_was_not_tested():
    np.testing.assert_allclose(significance.holm([0.02, NAN, 0.01]), [0.02, NAN, 0.02])
    assert significance.holm([]) == []
    assert significance.holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    order = np.argsort(p_values, kind="stable")
    rejected = set()
    for rank, index in enumerate(order):
        if not p_values[index] * (len(p_values) - rank) < significance.ALPHA:
            break
        rejected.add(int(index))
    adjusted = significance.holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p < significance.ALPHA} == rejected
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))


@pytest.mark.parametrize("seeds", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_under_the_null_a_false_claim_is_made_in_at_most_5_of_100_comparisons(seeds):
    """Seven remedies that do nothing; a seed shifts all configurations alike."""
    generator = np.random.default_rng(seeds)
    comparisons, remedies = 1500, 7
    any_claim = single = 0
    for _ in range(comparisons):
        shift = generator.normal(0, 0.02, seeds)
        noise = generator.normal(0, 0.01, (remedies + 1, seeds))
        base, *others = 0.5 + shift + noise
        p = [significance.paired_t_test(by_seed(one), by_seed(base)).p for one in others]
        single += p[0] < 0.05
        any_claim += min(significance.holm(p)) < 0.05
    error = math.sqrt(0.05 * 0.95 / comparisons)
    assert any_claim / comparisons < 0.05 + 3 * error
    assert abs(single / comparisons - 0.05) < 3 * error


def right(only_first, only_second, both=30):
    first = np.r_[np.ones(only_first), np.zeros(only_second), np.ones(both)].astype(bool)
    second = np.r_[np.zeros(only_first), np.ones(only_second), np.ones(both)].astype(bool)
    return first, second


@pytest.mark.parametrize(("b", "c"), [(1, 6), (10, 10), (0, 5), (40, 59)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_images(b, c):
    found = significance.mcnemar(*right(b, c))
    expected = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert found[:2] == (b, c)
    assert found.exact
    assert found.p == pytest.approx(min(1, 2 * expected))


def test_mcnemar_of_many_images_is_edwards_chi_squared_and_near_the_exact_one():
    found = significance.mcnemar(*right(120, 80))
    assert not found.exact
    assert found.p == pytest.approx(stats.chi2.sf(39**2 / 200, 1))
    assert found.p == pytest.approx(stats.binomtest(120, 200).pvalue, rel=0.05)


def test_mcnemar_without_a_discordant_image_finds_nothing():
    assert significance.mcnemar([True, False], [True, False]) == (0, 0, 1.0, True)
    with pytest.raises(ValueError, match="same images, got 2 and 3"):
        significance.mcnemar([True, False], [True, False, True])


def test_mcnemar_keeps_its_false_positive_rate():
    generator = np.random.default_rng(1)
    rejected = sum(
        significance.mcnemar(*(generator.random((2, 400)) < 0.8)).p < 0.05 for _ in range(800)
    )
    assert rejected / 800 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)


def test_the_paired_bootstrap_is_that_of_drawing_images():
    generator = np.random.default_rng(0)
    targets = np.sort(generator.integers(0, 3, 120))
    first = np.where(generator.random(120) < 0.7, targets, generator.integers(0, 3, 120))
    second = np.where(generator.random(120) < 0.8, first, generator.integers(0, 3, 120))
    counts = np.array([50, 20, 5])
    found = significance.paired_bootstrap(targets, first, second, counts, generator, resamples=4000)
    drawn = []
    for _ in range(2000):
        rows = np.concatenate(
            [
                generator.choice(np.flatnonzero(targets == label), (targets == label).sum())
                for label in range(3)
            ]
        )
        ours, theirs = (
            metrics.quick_metrics(targets[rows], predicted[rows], 3)["macro_f1"]
            for predicted in (first, second)
        )
        drawn.append(ours - theirs)
    np.testing.assert_allclose(found["macro_f1"], np.percentile(drawn, [2.5, 97.5]), atol=0.012)


def test_the_paired_bootstrap_of_equal_predictions_is_zero_also_where_a_class_is_missing():
    targets = np.array([0, 0, 2, 2])
    same = np.array([0, 1, 2, 0])
    found = significance.paired_bootstrap(
        targets, same, same, np.array([3, 2, 1]), np.random.default_rng(0), resamples=50
    )
    assert found["balanced_accuracy"] == (0, 0)
    assert found["macro_f1"] == (0, 0)


def test_the_paired_bootstrap_copes_with_102_classes():
    generator = np.random.default_rng(0)
    targets = np.arange(1020) % 102
    first, second = generator.integers(0, 102, (2, 1020))
    found = significance.paired_bootstrap(
        targets, first, second, np.arange(102) + 1, generator, resamples=200
    )
    low, high = found["balanced_accuracy"]
    assert low < (first == targets).mean() - (second == targets).mean() < high
