import numpy as np
import pytest

from imbalance_study.evaluation import bootstrap, metrics


def some_predictions(size, num_classes, seed=0, strength=1.5):
    generator = np.random.default_rng(seed)
    targets = generator.integers(num_classes, size=size)
    logits = generator.normal(size=(size, num_classes))
    logits[np.arange(size), targets] += strength
    probs = np.exp(logits)
    return targets, probs / probs.sum(1, keepdims=True)


def test_resampled_areas_spread_as_those_of_resampling_the_images_one_by_one():
    targets, probs = some_predictions(300, 4)
    groups = [np.flatnonzero(targets == label) for label in range(4)]
    generator = np.random.default_rng(1)
    plain = []
    for _ in range(1_000):
        picks = np.concatenate([generator.choice(group, len(group)) for group in groups])
        plain.append(metrics.auc_means(metrics.ranking_scores(targets[picks], probs[picks])))
    drawn = bootstrap.resampled_aucs(targets, probs, 1_500, np.random.default_rng(2))
    for name in metrics.AUC_NAMES:
        alone = np.array([each[name] for each in plain])
        assert drawn[name].mean() == pytest.approx(alone.mean(), abs=0.1 * alone.std())
        assert drawn[name].std() == pytest.approx(alone.std(), rel=0.1)


def test_weighted_areas_are_those_of_the_repeated_images():
    targets, probs = some_predictions(60, 3, strength=0.5)
    probs = np.round(probs, 1)  # ties
    multiplicity = np.random.default_rng(0).integers(0, 4, size=(60, 5))
    for column in range(5):
        repeated = np.repeat(np.arange(60), multiplicity[:, column])
        expected = metrics.ranking_scores(targets[repeated], probs[repeated])
        for label in range(3):
            roc, precision = bootstrap._weighted_areas(
                probs[:, label], targets == label, multiplicity
            )
            assert roc[column] == pytest.approx(expected.roc_auc[label], abs=1e-12)
            assert precision[column] == pytest.approx(expected.average_precision[label], abs=1e-12)


def _shares(confusion):
    """The observed shares; of a class without images any."""
    support = confusion.sum(1, keepdims=True)
    return np.where(support, confusion / np.maximum(support, 1), 1 / len(confusion))


def test_resamples_keep_the_number_of_images_of_each_class():
    confusion = np.array([[50, 0, 7], [0, 0, 0], [1, 2, 3]])
    drawn = np.concatenate(
        list(
            bootstrap.resampled_confusions(
                confusion, 500, np.random.default_rng(0), shares=_shares(confusion)
            )
        )
    )
    assert drawn.shape == (500, 3, 3)
    np.testing.assert_array_equal(drawn.sum(2), np.broadcast_to([57, 0, 6], (500, 3)))
    assert (drawn[:, confusion == 0] == 0).all()
    np.testing.assert_allclose(drawn.mean(0), confusion, atol=0.4)


def test_resamples_come_in_chunks_that_add_up(monkeypatch):
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 30)
    drawn = list(
        bootstrap.resampled_confusions(
            np.eye(3, dtype=int) * 5, 10, np.random.default_rng(0), shares=np.eye(3)
        )
    )
    assert [len(part) for part in drawn] == [3, 3, 3, 1]


def test_the_standard_error_of_balanced_accuracy_by_hand():
    targets = np.array([0, 0, 0, 0, 1, 1])
    predictions = np.array([0, 0, 0, 1, 1, 0])
    expected = np.sqrt(0.75 * 0.25 / 3 + 0.5 * 0.5 / 1) / 2
    found = bootstrap.standard_error_of_balanced_accuracy(targets, predictions, 2)
    assert found == pytest.approx(expected)


def test_the_standard_error_is_the_spread_over_test_sets():
    generator = np.random.default_rng(0)
    targets, recall = np.repeat([0, 1, 2], [200, 50, 20]), np.array([0.9, 0.6, 0.4])
    scores, errors = [], []
    for _ in range(2_000):
        right = generator.random(270) < recall[targets]
        predictions = np.where(right, targets, (targets + 1) % 3)
        scores.append(metrics.quick_metrics(targets, predictions, 3)["balanced_accuracy"])
        errors.append(bootstrap.standard_error_of_balanced_accuracy(targets, predictions, 3))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(scores), rel=0.05)


def test_a_class_with_a_single_image_counts_as_knowing_nothing():
    one = bootstrap.standard_error_of_balanced_accuracy(np.array([0]), np.array([0]), 3)
    assert one == pytest.approx(0.5)


def test_without_images_the_standard_error_is_undefined():
    empty = np.zeros(0, dtype=int)
    assert np.isnan(bootstrap.standard_error_of_balanced_accuracy(empty, empty, 3))


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0004, "p < 0.001"),
        (0.0123, "p = 0.012"),
        (0.04999, "p < 0.050"),
        (0.05, "p = 0.050"),
        (0.0504, "p = 0.050"),
        (0.234, "p = 0.23"),
        (1.0, "p = 1.00"),
    ],
)
def test_a_p_value_below_5_percent_never_reads_as_5_percent(p, text):
    assert bootstrap.p_text(p) == text
