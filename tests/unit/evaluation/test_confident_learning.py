import numpy as np
import pytest

from imbalance_study.evaluation.confident_learning import suspicious_labels


def test_an_image_above_the_mean_of_another_class_is_suspicious_by_hand():
    # Means of the labelled: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.7) / 2 = 0.7.
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.3, 0.7]])
    found = suspicious_labels(np.array([0, 0, 0, 1, 1]), probs)
    assert found.rows.tolist() == [2]
    assert found.suggested.tolist() == [1]
    assert found.margin == pytest.approx([0.1 - 0.9])


def test_a_rare_class_has_a_threshold_of_its_own():
    # A model that is unsure of the rare class: 0.4 is much for it.
    probs = np.array([[0.9, 0.1]] * 5 + [[0.45, 0.55]] + [[0.7, 0.3], [0.5, 0.5]])
    found = suspicious_labels(np.array([0] * 6 + [1, 1]), probs)
    assert found.rows.tolist() == [5]


def test_the_most_suspicious_label_comes_first():
    probs = np.array([[0.9, 0.1]] * 8 + [[0.2, 0.8], [0.05, 0.95]] + [[0.4, 0.6]] * 4)
    labels = np.array([0] * 10 + [1] * 4)
    assert suspicious_labels(labels, probs).rows.tolist() == [9, 8]


def test_planted_errors_are_found():
    generator = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], [300, 100, 30])
    probs = 0.1 * generator.random((430, 3))
    probs[np.arange(430), true] += 0.6 + 0.2 * generator.random(430)
    probs /= probs.sum(1, keepdims=True)
    labels = true.copy()
    wrong = generator.choice(430, 20, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    found = set(suspicious_labels(labels, probs).rows)
    assert found <= set(wrong)
    assert len(found) >= 16  # numbers of pairs are rounded


def test_clean_labels_are_not_listed():
    probs = np.full((9, 3), 0.1)
    labels = np.arange(9) % 3
    probs[np.arange(9), labels] = 0.8
    assert not len(suspicious_labels(labels, probs).rows)


def test_labels_and_probabilities_are_of_the_same_images():
    with pytest.raises(ValueError, match="differ in length: 3 and 2"):
        suspicious_labels(np.zeros(3, int), np.ones((2, 2)))
