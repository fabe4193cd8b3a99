import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import deciding, metric


def _probs(images, tilt):
    """Probabilities that prefer the frequent class."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(len(images.labels), 2))
    scores[np.arange(len(images.labels)), images.labels] += 1.5
    scores[:, 0] += tilt
    powers = np.exp(scores)
    return powers / powers.sum(1, keepdims=True)


def test_rules_mend_a_bias_and_are_measured_on_other_images():
    images = feature_set([300, 60])
    plain, better = _probs(images, 2.0), _probs(images, 0.0)
    decides = metric.Metric("balanced_accuracy", "balanced accuracy")
    found = deciding.decide(images, {"plain": plain, "better": better}, "plain", "better", decides)
    scores = found.rules.set_index("rule")["score"]
    assert scores["plain, thresholds"] > scores["plain, as it is"] + 0.05
    assert scores["plain, logit adjustment"] > scores["plain, as it is"] + 0.05
    assert scores["better, as it is"] > scores["plain, as it is"]
    assert found.rules["difference"][0] == 0
    assert list(found.thresholds["class"]) == ["class 0", "class 1"]


def test_the_surest_images_are_right_more_often():
    images = feature_set([300, 60])
    decides = metric.Metric("balanced_accuracy", "balanced accuracy")
    probs = _probs(images, 0.0)
    table = deciding.decide(images, {"plain": probs}, "plain", "plain", decides).rejection
    assert table["kept"][0] == 1
    assert table["accuracy"].iloc[-1] > table["accuracy"][0]
    assert table["least_probability"].is_monotonic_increasing


def test_sets_cover_each_class_and_a_tiny_class_is_in_all():
    images = feature_set([200, 6])
    decides = metric.Metric("balanced_accuracy", "balanced accuracy")
    sets = deciding.decide(images, {"plain": _probs(images, 1.0)}, "plain", "plain", decides).sets
    assert sets["always"].tolist() == [False, True]
    assert sets["coverage"][0] == pytest.approx(0.9, abs=0.05)
    assert sets["coverage"][1] == 1


def test_costs_are_met_by_the_least_expected_cost():
    images = feature_set([300, 60])
    generator = np.random.default_rng(0)
    score = 1.5 * images.labels + generator.normal(size=360)
    logit = 1.5 * score - 1.125 - np.log(5)  # Bayes' rule with the share of the classes
    rare = 1 / (1 + np.exp(-logit))
    probs = np.stack([1 - rare, rare], 1)
    decides = metric.Metric("cost", "cost of an image", np.array([[0.0, 1], [10, 0]]))
    rules = deciding.decide(images, {"plain": probs}, "plain", "plain", decides).rules
    scores = rules.set_index("rule")["score"]
    assert scores["plain, least expected cost"] > scores["plain, as it is"] + 0.1
