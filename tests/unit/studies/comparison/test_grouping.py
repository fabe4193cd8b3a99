import numpy as np
import pytest

from imbalance_study.studies.comparison import grouping
from imbalance_study.studies.comparison.outcome import StoredPredictions

METRIC = "test/balanced_accuracy"


def runs(outcome, name, seeds=3, **fields):
    return [outcome(name, seed, {"balanced_accuracy": 0.5}, **fields) for seed in range(seeds)]


def test_the_baseline_comes_first_and_the_seeds_in_order(outcome):
    given = [*runs(outcome, "b")[::-1], *runs(outcome, "a"), *runs(outcome, "c")]
    grouped = grouping.group_outcomes(given, "a", METRIC)
    assert [group.name for group in grouped.groups] == ["a", "b", "c"]
    assert [one.seed for one in grouped.groups[1].outcomes] == [0, 1, 2]
    assert all(group.comparable for group in grouped.groups)
    assert grouped.notes == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"baseline": "z"}, "unknown baseline 'z'; known: a"),
        ({"metric": "test/speed"}, "no run has the metric 'test/speed'; known: test/balanced"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(outcome, given, message):
    asked = {"baseline": "a", "metric": METRIC} | given
    with pytest.raises(ValueError, match=message):
        grouping.group_outcomes(runs(outcome, "a"), asked["baseline"], asked["metric"])
    with pytest.raises(ValueError, match="at least 1 finished run, got 0"):
        grouping.group_outcomes([], "a", METRIC)


@pytest.mark.parametrize(
    ("field", "value", "mark"),
    [
        ("fingerprint", "other", "other data than the baseline's"),
        ("epochs", 6, "6 epochs where the baseline has 5"),
        ("images_seen", 4000, "4,000 images seen where the baseline has 1,000"),
        ("steps", 70, "70 updates where the baseline has 50"),
    ],
)
def test_a_run_with_other_data_or_another_amount_of_training_is_marked(outcome, field, value, mark):
    given = [*runs(outcome, "a"), *runs(outcome, "b"), *runs(outcome, "c", **{field: value})]
    grouped = grouping.group_outcomes(given, "a", METRIC)
    assert [group.marks for group in grouped.groups] == [(), (), (mark,)]


def test_one_seed_that_stopped_early_is_enough_for_a_mark(outcome):
    given = [*runs(outcome, "a"), *runs(outcome, "b")[:2], outcome("b", 2, epochs=3)]
    assert grouping.group_outcomes(given, "a", METRIC).groups[1].marks == (
        "epochs differ in some seeds",
    )


def test_data_that_vary_with_the_seed_are_the_same_data_seed_by_seed(outcome):
    given = [
        outcome(name, seed, {"balanced_accuracy": 0.5}, fingerprint=f"data {seed}")
        for name in "ab"
        for seed in range(3)
    ]
    assert grouping.group_outcomes(given, "a", METRIC).groups[1].comparable
    shifted = [outcome("c", seed + 5, fingerprint=f"data {seed}") for seed in range(3)]
    assert grouping.group_outcomes([*given, *shifted], "a", METRIC).groups[2].comparable


def test_repeated_and_missing_seeds_are_said(outcome):
    again = outcome("a", 1, {"balanced_accuracy": 0.9})
    grouped = grouping.group_outcomes(
        [*runs(outcome, "a"), again, *runs(outcome, "b", 2)], "a", METRIC
    )
    assert grouped.baseline.values(METRIC) == {0: 0.5, 1: 0.9, 2: 0.5}
    assert grouped.notes == (
        "a: 1 runs repeat a seed; the last one counts",
        "b: no finished run with seed 2",
    )


def test_the_same_images_are_those_with_the_same_indices_targets_and_classes():
    one = StoredPredictions(np.arange(3), np.array([0, 1, 1]), np.ones((3, 2)))
    assert grouping.same_images([one, one])
    assert not grouping.same_images([one, one._replace(indices=np.array([0, 1, 3]))])
    assert not grouping.same_images([one, one._replace(targets=np.array([0, 0, 1]))])
    assert not grouping.same_images([one, one._replace(probs=np.ones((3, 4)))])


def test_runs_of_mixed_numbers_of_threads_are_told(outcome):
    given = [
        outcome(name, seed, {"balanced_accuracy": 0.5}, threads=threads)
        for name, row in {"a": (1, 1), "b": (1, 1), "c": (1, 2), "d": (2, 2), "gpu": (0, 0)}.items()
        for seed, threads in enumerate(row)
    ]
    found = grouping.group_outcomes(given, "a", "test/balanced_accuracy")
    assert [note.split(", not")[0] for note in found.notes] == [
        "c: computed by 1 and 2 threads",
        "d: computed by 2 threads",
    ]
    assert all(group.comparable for group in found.groups)
