import numpy as np
import pytest
from sklearn import metrics as reference

from imbalance_study.evaluation import errors


def some_predictions(size=300, num_classes=4, seed=0):
    generator = np.random.default_rng(seed)
    targets = generator.integers(num_classes, size=size)
    logits = generator.normal(size=(size, num_classes)) + 1.5 * np.eye(num_classes)[targets]
    probs = np.exp(logits)
    return targets, probs / probs.sum(1, keepdims=True)


def test_errors_are_counted_and_their_rate_taken():
    found = errors.error_counts(np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1]))
    assert found == {"errors": 2.0, "error_rate": 0.5}
    assert np.isnan(errors.error_counts(np.zeros(0, int), np.zeros(0, int))["error_rate"])


def test_the_most_confused_pairs_come_by_images_and_then_by_share():
    confusion = np.array([[5, 3, 0], [3, 0, 0], [7, 0, 90]])
    table = errors.most_confused(confusion, ["cat", "dog", "ship"], count=3)
    assert table == {
        "true": ["ship", "dog", "cat"],
        "predicted": ["cat", "cat", "dog"],
        "images": [7, 3, 3],
        "share": pytest.approx([7 / 97, 1.0, 3 / 8]),
    }


def test_pairs_that_are_never_confused_are_not_listed():
    assert errors.most_confused(np.diag([3, 4]), ["a", "b"])["images"] == []


def test_misclassified_images_are_wrong_and_spread_over_the_classes():
    targets = np.array([0] * 100 + [1] * 3 + [2] * 50)
    predictions = np.zeros(153, int)
    predictions[:90] = 1
    chosen = errors.misclassified(targets, predictions, np.random.default_rng(0), count=13)
    assert len(set(chosen.tolist())) == 13
    assert (targets[chosen] != predictions[chosen]).all()
    assert np.bincount(targets[chosen]).tolist() == [5, 3, 5]
    assert (np.diff(targets[chosen]) >= 0).all()


def test_the_choice_depends_on_the_generator_alone():
    targets, probs = some_predictions()
    predictions = probs.argmax(1)
    one, two, other = (
        errors.misclassified(targets, predictions, np.random.default_rng(seed), count=9)
        for seed in (1, 1, 2)
    )
    assert one.tolist() == two.tolist() != other.tolist()


def test_with_more_classes_than_images_each_image_has_a_class_of_its_own():
    targets = np.arange(102).repeat(3)
    chosen = errors.misclassified(targets, (targets + 1) % 102, np.random.default_rng(0))
    assert len(np.unique(targets[chosen])) == 25


def test_a_perfect_model_has_no_misclassified_images():
    targets = np.array([0, 1])
    assert errors.misclassified(targets, targets, np.random.default_rng(0)).size == 0


def test_the_surest_images_of_each_class_are_right():
    targets, probs = some_predictions()
    targets[targets == 3] = 0
    for label, chosen in enumerate(errors.surest_of_each_class(targets, probs, count=2)):
        right = (probs.argmax(1) == targets) & (targets == label)
        best = np.sort(probs.max(1)[right])[::-1][:2]
        np.testing.assert_array_equal(probs.max(1)[chosen], best)
        assert right[chosen].all()
    assert chosen.size == 0


def test_the_most_confident_errors_are_wrong_and_sorted():
    targets, probs = some_predictions()
    chosen = errors.most_confident_errors(targets, probs, count=6)
    wrong = probs.argmax(1) != targets
    assert wrong[chosen].all()
    expected = np.sort(probs.max(1)[wrong])[::-1][:6]
    np.testing.assert_array_equal(probs.max(1)[chosen], expected)


def test_the_least_certain_images_have_the_lowest_confidence():
    _, probs = some_predictions()
    expected = np.sort(probs.max(1))[:4]
    np.testing.assert_array_equal(probs.max(1)[errors.least_certain(probs, 4)], expected)


def test_the_curves_are_those_of_scikit_learn():
    targets, probs = some_predictions()
    for label, curve in enumerate(errors.class_curves(targets, probs)):
        positive = targets == label
        false_rate, true_rate, _ = reference.roc_curve(
            positive, probs[:, label], drop_intermediate=False
        )
        np.testing.assert_allclose(curve.false_positive_rate, false_rate)
        np.testing.assert_allclose(curve.true_positive_rate, true_rate)
        precision, recall, _ = reference.precision_recall_curve(positive, probs[:, label])
        np.testing.assert_allclose(curve.precision, precision[-2::-1])
        np.testing.assert_allclose(curve.recall, recall[-2::-1])
        assert curve.roc_auc == pytest.approx(reference.auc(false_rate, true_rate))


def test_long_curves_are_thinned_without_moving_them():
    targets, probs = some_predictions(20_000, 2)
    thin, full = (errors.class_curves(targets, probs, points)[0] for points in (100, 10**6))
    assert len(thin.recall) <= 102 < len(full.recall)
    assert (thin.recall[-1], thin.false_positive_rate[-1]) == (1, 1)
    assert thin.roc_auc == full.roc_auc
    area = reference.auc(thin.false_positive_rate, thin.true_positive_rate)
    assert area == pytest.approx(full.roc_auc, abs=2e-3)


def test_a_class_without_images_has_no_curve():
    probs = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    curves = errors.class_curves(np.array([0, 1]), probs)
    assert curves[2] is None
    assert curves[0].roc_auc == 1
    assert errors.class_curves(np.array([0, 0]), probs) == [None, None, None]
