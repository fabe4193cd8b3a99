import numpy as np
import pytest

from imbalance_study.evaluation import metrics
from imbalance_study.studies.comparison import grouping, predictions
from imbalance_study.studies.comparison.outcome import StoredPredictions

METRIC = "test/balanced_accuracy"


def grouped(given):
    return grouping.group_outcomes(given, given[0].configuration, METRIC)


def of(name, seeds, outcome, **fields):
    return [outcome(name, seed, images=60, **fields) for seed in range(seeds)]


def test_each_seed_is_paired_with_the_baselines_of_the_same_seed(outcome):
    given = [*of("a", 2, outcome), *of("b", 3, outcome, skill=4.0)]
    table = predictions.paired_tests(grouped(given), resamples=200)
    assert table["seed"] == [0, 1]
    ours, theirs = given[2].test, given[0].test
    right, wrong = (one.probs.argmax(1) == one.targets for one in (ours, theirs))
    assert table["only_it_is_right"][0] == (right & ~wrong).sum()
    assert table["only_baseline_is_right"][0] == (wrong & ~right).sum()
    gain = given[2].metrics[METRIC] - given[0].metrics[METRIC]
    assert table["balanced_accuracy_difference"][0] == pytest.approx(gain)
    assert table["bootstrap_low_95"][0] < gain < table["bootstrap_high_95"][0]
    assert set(table["speaks_of"]) == {"these two trained models only, not the next training"}


def test_predictions_of_other_images_are_not_paired_but_named(outcome):
    other = outcome("b", 0, images=63)
    given = [*of("a", 1, outcome), other]
    assert predictions.paired_tests(grouped(given)) == {}
    assert predictions.unpaired(grouped(given)) == ["b"]


def test_the_same_comparison_gives_the_same_bootstrap(outcome):
    given = grouped([*of("a", 1, outcome), *of("b", 1, outcome)])
    assert predictions.paired_tests(given, 100) == predictions.paired_tests(given, 100)


def certain(probs, targets):
    return StoredPredictions(
        np.arange(len(targets)), np.array(targets), np.array(probs, np.float32)
    )


def test_an_ensemble_is_the_mean_of_the_probabilities(outcome):
    # The first is sure and wrong on image 1, the second a little right: the mean stays wrong; on
    # image 2 the second is sure and right, the first a little wrong: the mean is right.
    first = certain([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], [0, 1, 1])
    second = certain([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], [0, 1, 1])
    given = [
        outcome("a", seed, {"balanced_accuracy": value}, classes=2, test=test)
        for seed, (value, test) in enumerate([(0.5, first), (1.0, second)])
    ]
    table = predictions.ensembles(grouped(given))
    assert (table["ensemble"], table["members"], table["of"]) == (["a"], [2], ["its seeds"])
    assert table["balanced_accuracy"] == [0.75]
    assert table["members_mean"] == [0.75]
    assert table["gain"] == [0.0]
    assert table["accuracy"] == [pytest.approx(2 / 3)]
    expected = -np.log([0.85, 0.35, 0.65]).mean()
    assert table["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_the_best_configurations_are_those_of_validation_not_of_the_test_set(outcome):
    given = []
    for name, validation, skill in (("a", 0.1, 9), ("b", 0.9, 1), ("c", 0.8, 1), ("d", 0.7, 1)):
        values = {"selected_val/balanced_accuracy": validation}
        given += [outcome(name, seed, values, images=60, skill=skill) for seed in range(2)]
    table = predictions.ensembles(grouped(given))
    assert table["ensemble"][-1] == "b + c + d"
    assert table["of"][-1] == "the 3 best on validation"
    assert table["members"] == [2, 2, 2, 2, 6]
    probs = np.mean([one.test.probs.astype(float) for one in given[2:]], axis=0)
    expected = metrics.quick_metrics(given[0].test.targets, probs.argmax(1), 3)
    assert table["macro_f1"][-1] == pytest.approx(expected["macro_f1"])


def test_there_is_no_ensemble_of_one_of_different_images_or_without_validation(outcome):
    assert predictions.ensembles(grouped(of("a", 1, outcome))) == {}
    different = [outcome("a", 0, images=60), outcome("a", 1, images=63)]
    assert predictions.ensembles(grouped(different)) == {}
    table = predictions.ensembles(grouped([*of("a", 2, outcome), *of("b", 2, outcome)]))
    assert table["ensemble"] == ["a", "b"]


def test_confusion_shares_are_over_all_seeds_and_empty_without_images(outcome):
    first = certain([[1, 0, 0], [0, 1, 0]], [0, 0])
    second = certain([[1, 0, 0], [1, 0, 0]], [0, 1])
    given = grouped(
        [
            outcome("a", seed, {"balanced_accuracy": 0}, test=test)
            for seed, test in enumerate((first, second))
        ]
    )
    shares = predictions.confusion_shares(given.baseline)
    np.testing.assert_allclose(shares[0], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(shares[1], [1, 0, 0])
    assert np.isnan(shares[2]).all()
    bare = grouped([outcome("a", 0, {"balanced_accuracy": 0})])
    assert predictions.confusion_shares(bare.baseline) is None
