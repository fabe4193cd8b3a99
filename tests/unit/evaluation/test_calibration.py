import numpy as np
import pytest
from sklearn import metrics as reference

from imbalance_study.evaluation import calibration

# Confidences 0.9, 0.6, 0.8, 0.6; right, wrong, right, right.
TARGETS = np.array([0, 1, 1, 2])
PROBS = np.array([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])


def some_predictions(size=200, num_classes=4):
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.ones(num_classes), size=size)
    return generator.integers(num_classes, size=size), probs


def test_the_calibration_error_by_hand():
    # Bins of 1/15: 0.6 closes bin 9 (both 0.6), 0.8 closes bin 12, 0.9 is in bin 14.
    expected = (2 * abs(0.5 - 0.6) + abs(1 - 0.8) + abs(1 - 0.9)) / 4
    found = calibration.expected_calibration_error(TARGETS, PROBS)
    assert found == pytest.approx(expected)
    one_bin = calibration.expected_calibration_error(TARGETS, PROBS, bins=1)
    assert one_bin == pytest.approx(abs(3 / 4 - (0.9 + 0.6 + 0.8 + 0.6) / 4))


def test_the_classwise_calibration_error_by_hand():
    columns = [
        abs(1 - 0.9) + abs(0 - 0.6) + abs(0 - 0.1) + abs(0 - 0.2),
        abs(0 - 0.1) + abs(1 - 0.3) + abs(1 - 0.8) + abs(0 - 0.2),
        2 * abs(0 - 0.1) + abs(1 - 0.6) + 0,
    ]
    found = calibration.classwise_calibration_error(TARGETS, PROBS)
    assert found == pytest.approx(np.mean(columns) / 4)


def test_the_brier_score_by_hand():
    squares = [
        0.1**2 + 0.1**2,
        0.6**2 + 0.7**2 + 0.1**2,
        0.1**2 + 0.2**2 + 0.1**2,
        0.2**2 + 0.2**2 + 0.4**2,
    ]
    assert calibration.brier_score(TARGETS, PROBS) == pytest.approx(sum(squares) / 4)
    assert calibration.brier_score(np.array([0]), np.array([[0.0, 1.0]])) == 2


def test_the_brier_score_of_two_classes_is_twice_that_of_scikit_learn():
    targets, probs = some_predictions(num_classes=2)
    expected = 2 * reference.brier_score_loss(targets, probs[:, 1])
    assert calibration.brier_score(targets, probs) == pytest.approx(expected)


def test_the_likelihood_is_that_of_scikit_learn_and_finite_for_a_probability_of_zero():
    targets, probs = some_predictions()
    expected = reference.log_loss(targets, probs)
    assert calibration.negative_log_likelihood(targets, probs) == pytest.approx(expected)
    impossible = calibration.negative_log_likelihood(np.array([0]), np.array([[0.0, 1.0]]))
    assert impossible == pytest.approx(-np.log(1e-12))
    low = calibration.negative_log_likelihood(targets, probs.astype(np.float32))
    assert low == pytest.approx(expected, rel=1e-5)


def test_bins_are_closed_on_the_right_and_keep_every_prediction():
    bins = calibration.reliability(np.array([0, 0.2, 0.21, 0.4, 1.0]), np.array([1, 0, 1, 1, 0]), 5)
    assert bins.counts.tolist() == [2, 2, 0, 0, 1]
    np.testing.assert_allclose(bins.confidence, [0.1, 0.305, np.nan, np.nan, 1.0])
    np.testing.assert_allclose(bins.accuracy, [0.5, 1.0, np.nan, np.nan, 0.0])


def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_its_gap():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, size=50_000)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    targets = (generator.random(50_000) > confidence).astype(int)
    assert calibration.expected_calibration_error(targets, probs) < 0.01
    sure = np.eye(2)[np.zeros(50_000, int)]
    wrong = (targets == 1).mean()
    assert calibration.expected_calibration_error(targets, sure) == pytest.approx(wrong)


def test_rejecting_keeps_the_surest_and_ties_together():
    curve = calibration.accuracy_by_coverage(TARGETS, PROBS)
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 1.0])
    np.testing.assert_allclose(curve.accuracy, [1, 1, 0.75])
    assert calibration.area_under_risk(curve) == pytest.approx(0.5 * 0.25)


def test_without_any_knowledge_the_risk_is_the_error_rate():
    probs = np.full((10, 2), 0.5)
    curve = calibration.accuracy_by_coverage(np.array([0] * 7 + [1] * 3), probs)
    assert calibration.area_under_risk(curve) == pytest.approx(0.3)


def test_the_numbers_come_under_their_names():
    found = calibration.calibration_metrics(TARGETS, PROBS)
    assert found["confidence_right_mean"] == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    assert found["confidence_right_std"] == pytest.approx(np.std([0.9, 0.8, 0.6]))
    assert found["confidence_wrong_mean"] == pytest.approx(0.6)
    assert found["confidence_wrong_std"] == 0
    assert found["brier"] == calibration.brier_score(TARGETS, PROBS)
    assert {"ece", "classwise_ece", "nll", "brier", "aurc"} < set(found)


def test_nothing_wrong_leaves_the_confidence_of_wrong_predictions_undefined():
    found = calibration.calibration_metrics(np.array([1]), np.array([[0.2, 0.8]]))
    assert np.isnan(found["confidence_wrong_mean"])
    assert found["ece"] == pytest.approx(0.2)


def test_no_prediction_is_refused():
    with pytest.raises(ValueError, match="at least 1 prediction, got 0"):
        calibration.calibration_metrics(np.zeros(0, int), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        calibration.reliability(np.ones(2), np.ones(2), 0)
