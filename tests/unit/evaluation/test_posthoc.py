import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from imbalance_study.evaluation import bootstrap, calibration, metrics, posthoc


def biased_model(size=6_000, seed=0):
    """Bayes-optimal logits for a prior of 16:4:1 on data of equal classes."""
    generator = np.random.default_rng(seed)
    counts = np.array([1_600, 400, 100])
    targets = generator.integers(3, size=size)
    seen = generator.normal(size=(size, 3)) + 2 * np.eye(3)[targets]
    return 2 * seen + np.log(counts / counts.sum()), targets, counts


def balanced_accuracy(logits, targets):
    found = metrics.quick_metrics(targets, logits.argmax(1), logits.shape[1])
    return found["balanced_accuracy"]


def test_logit_adjustment_by_hand():
    found = posthoc.adjust_logits(np.array([[1.0, 2.0]]), np.array([3, 1]), 2.0)
    np.testing.assert_allclose(found, [[1 - 2 * np.log(0.75), 2 - 2 * np.log(0.25)]])


@pytest.mark.parametrize("correct", [posthoc.adjust_logits, posthoc.tau_normalise])
def test_a_tau_of_zero_changes_nothing(correct):
    logits = np.random.default_rng(0).normal(size=(5, 3))
    third = np.array([3, 2, 1]) if correct is posthoc.adjust_logits else np.diag([3.0, 2.0, 1.0])
    np.testing.assert_array_equal(correct(logits, third, 0.0), logits)


def test_a_tau_of_one_undoes_the_prior_of_an_ideal_model():
    logits, targets, counts = biased_model()
    search = posthoc.search_tau(lambda tau: posthoc.adjust_logits(logits, counts, tau), targets)
    assert search.best == pytest.approx(1, abs=0.3)
    adjusted = posthoc.adjust_logits(logits, counts, 1.0)
    np.testing.assert_allclose(
        adjusted - logits, np.log(counts.sum() / counts)[None].repeat(6_000, 0)
    )
    assert balanced_accuracy(adjusted, targets) > balanced_accuracy(logits, targets) + 0.05


def test_logit_adjustment_needs_an_image_of_every_class():
    with pytest.raises(ValueError, match=r"an image of every class, got class_counts \[5 0\]"):
        posthoc.adjust_logits(np.zeros((1, 2)), np.array([5, 0]), 1.0)


def test_tau_norm_with_one_makes_the_weights_equally_long():
    generator = np.random.default_rng(0)
    weight, features = (
        generator.normal(size=(3, 8)) * [[5], [1], [0.2]],
        generator.normal(size=(9, 8)),
    )
    found = posthoc.tau_normalise(features @ weight.T, weight, 1.0)
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    np.testing.assert_allclose(found, features @ unit.T)
    half = posthoc.tau_normalise(features @ weight.T, weight, 0.5)
    np.testing.assert_allclose(half, found * np.linalg.norm(weight, axis=1) ** 0.5)


def test_the_search_takes_the_smallest_of_the_best_taus():
    targets = np.array([0, 1])
    right, wrong = np.eye(2), np.eye(2)[::-1]
    search = posthoc.search_tau(lambda tau: right if tau >= 0.5 else wrong, targets)
    assert search.best == 0.5
    assert search.balanced_accuracy[search.taus == 0.4] == 0
    assert search.balanced_accuracy[search.taus == 2.0] == 1
    assert len(search.taus) == 21


def test_the_search_says_how_sure_each_balanced_accuracy_is():
    logits, targets, counts = biased_model(60)

    def corrected(tau):
        return posthoc.adjust_logits(logits, counts, tau)

    search = posthoc.search_tau(corrected, targets, (0.0, 1.0))
    expected = [
        bootstrap.standard_error_of_balanced_accuracy(targets, corrected(tau).argmax(1), 3)
        for tau in (0, 1)
    ]
    assert search.standard_error.tolist() == expected
    assert min(expected) > 0.02
    over = posthoc.balanced_accuracy_over(corrected, targets, (0.0, 1.0))
    assert over.tolist() == search.balanced_accuracy.tolist()


def test_thresholds_find_what_the_prior_took():
    logits, targets, counts = biased_model()
    probs = posthoc.softmax(logits)
    thresholds = posthoc.fit_thresholds(probs[:3_000], targets[:3_000])
    corrected = posthoc.apply_thresholds(probs[3_000:], thresholds)
    ideal = posthoc.adjust_logits(logits[3_000:], counts, 1.0)
    found = balanced_accuracy(corrected, targets[3_000:])
    assert found > balanced_accuracy(probs[3_000:], targets[3_000:]) + 0.05
    assert found == pytest.approx(balanced_accuracy(ideal, targets[3_000:]), abs=0.02)


def test_thresholds_of_one_change_nothing_and_divide_otherwise():
    probs = np.array([[0.5, 0.3, 0.2]])
    np.testing.assert_allclose(posthoc.apply_thresholds(probs, np.ones(3)), probs)
    found = posthoc.apply_thresholds(probs, np.array([1, 0.1, 1]))
    np.testing.assert_allclose(found, [[0.5 / 3.7, 3 / 3.7, 0.2 / 3.7]])


def test_a_perfect_model_keeps_thresholds_of_one():
    targets = np.arange(4).repeat(3)
    thresholds = posthoc.fit_thresholds(0.6 * np.eye(4)[targets] + 0.1, targets)
    np.testing.assert_array_equal(thresholds, np.ones(4))


def test_thresholds_count_each_class_alike_however_few_images_it_has():
    rare = np.array([0.3] * 4 + [0.1] * 4 + [0.25])
    probs, targets = np.stack([1 - rare, rare], axis=1), np.array([0] * 8 + [1])
    after = posthoc.apply_thresholds(probs, posthoc.fit_thresholds(probs, targets))
    assert balanced_accuracy(after, targets) == pytest.approx(0.75)


def test_a_class_without_validation_images_keeps_its_threshold():
    probs, targets = np.array([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]]), np.array([1, 2])
    thresholds = posthoc.fit_thresholds(probs, targets)
    assert thresholds[0] == 1
    after = posthoc.apply_thresholds(probs, thresholds)
    assert after.argmax(1).tolist() == targets.tolist()


def test_thresholds_never_make_validation_worse():
    generator = np.random.default_rng(0)
    for _ in range(20):
        probs = generator.dirichlet(np.ones(4), size=30)
        targets = generator.integers(4, size=30)
        after = posthoc.apply_thresholds(probs, posthoc.fit_thresholds(probs, targets))
        assert balanced_accuracy(after, targets) >= balanced_accuracy(probs, targets) - 1e-12


def test_the_temperature_has_the_least_likelihood_loss():
    logits, targets, _ = biased_model(500)
    for scale in (0.3, 1.0, 4.0):

        def loss(log_temperature, scale=scale):
            probs = log_softmax(scale * logits / np.exp(log_temperature), axis=1)
            return -probs[np.arange(500), targets].mean()

        expected = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
        found = posthoc.fit_temperature(scale * logits, targets)
        assert found == pytest.approx(expected, rel=1e-3)


def test_temperature_mends_an_overconfident_model_and_keeps_its_predictions():
    logits, targets, counts = biased_model()
    logits = 5 * posthoc.adjust_logits(logits, counts, 1.0)
    temperature = posthoc.fit_temperature(logits[:3_000], targets[:3_000])
    assert temperature == pytest.approx(5, rel=0.1)
    before, after = (posthoc.softmax(logits[3_000:] / by) for by in (1, temperature))
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
    errors = [
        calibration.expected_calibration_error(targets[3_000:], probs) for probs in (before, after)
    ]
    assert errors[1] < 0.03 < errors[0]


def test_the_temperature_stays_bounded_where_all_is_right_or_wrong():
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    low, high = posthoc.TEMPERATURES
    assert posthoc.fit_temperature(logits, np.array([0, 1])) == pytest.approx(low)
    assert posthoc.fit_temperature(logits, np.array([1, 0])) == pytest.approx(high)


def test_softmax_of_extreme_logits_is_finite():
    probs = posthoc.softmax(np.array([[1e4, -1e4, 1e4]], dtype=np.float32))
    np.testing.assert_allclose(probs, [[0.5, 0, 0.5]])


def test_without_validation_nothing_can_be_chosen():
    none, empty = np.zeros(0, int), np.zeros((0, 3))
    with pytest.raises(ValueError, match="tau is chosen on validation images, got none"):
        posthoc.search_tau(lambda tau: empty, none)
    with pytest.raises(ValueError, match="thresholds are chosen on validation images, got none"):
        posthoc.fit_thresholds(empty, none)
    with pytest.raises(ValueError, match="fitted on validation images, got none"):
        posthoc.fit_temperature(empty, none)


def test_thresholds_by_balanced_accuracy_are_those_of_the_fast_way():
    generator = np.random.default_rng(3)
    targets = np.repeat([0, 1, 2], [60, 20, 6])
    probs = generator.dirichlet([3, 2, 1], len(targets))
    probs[np.arange(len(targets)), targets] += 0.2
    probs /= probs.sum(1, keepdims=True)

    def score(confusion):
        return np.nanmean(metrics.class_scores(confusion).recall, -1)

    expected = posthoc.fit_thresholds(probs, targets)
    assert posthoc.fit_thresholds_by(score, probs, targets) == pytest.approx(expected)


def test_thresholds_follow_the_score_that_is_asked_for():
    generator = np.random.default_rng(4)
    targets = np.repeat([0, 1], [80, 20])
    probs = generator.dirichlet([3, 2], 100)

    def cost(confusion):  # a missed 1 costs ten times a false one
        return -(confusion[..., 0, 1] + 10 * confusion[..., 1, 0])

    def of(thresholds):
        predicted = (probs / thresholds).argmax(1)
        return cost(metrics.confusion_matrix(targets, predicted, 2))

    fitted = posthoc.fit_thresholds_by(cost, probs, targets)
    assert of(fitted) > of(posthoc.fit_thresholds(probs, targets))
    with pytest.raises(ValueError, match="got none"):
        posthoc.fit_thresholds_by(cost, probs[:0], targets[:0])
