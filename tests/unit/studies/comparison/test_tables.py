import math

import numpy as np
import pytest

from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison import grouping, tables

METRIC = "test/balanced_accuracy"


def grouped(given):
    return grouping.group_outcomes(given, given[0].configuration, METRIC)


def runs(outcome, name, values, **fields):
    return [
        outcome(name, seed, {"balanced_accuracy": value}, **fields)
        for seed, value in enumerate(values)
    ]


def row_of(table, name):
    at = table["configuration"].index(name)
    return {key: column[at] for key, column in table.items()}


def test_the_summary_is_the_hand_computed_one_with_the_best_on_top(outcome):
    given = [*runs(outcome, "a", [0.4, 0.5, 0.6]), *runs(outcome, "b", [0.5, 0.7, 0.9])]
    table = tables.summary(grouped(given))
    assert table["configuration"] == ["b", "a"]
    assert table["best"] == [True, False]
    row = row_of(table, "b")
    # Differences .1, .2, .3: t = .2 / (.1 / sqrt 3) = 3.4641, p = 0.0742 with 2 degrees of freedom.
    assert (row["seeds"], row["pairs"]) == (3, 3)
    assert row["balanced_accuracy"] == pytest.approx(0.7)
    assert row["sd"] == pytest.approx(0.2)
    # On the logit, with the error divided by 0.7 * 0.3: within 0 and 1.
    reach = 4.302653 * 0.2 / math.sqrt(3) / 0.21
    ends = [1 / (1 + 3 / 7 * math.exp(sign * reach)) for sign in (1, -1)]
    assert [row["low_95"], row["high_95"]] == pytest.approx(ends, rel=1e-6)
    assert row["shown_from"] == pytest.approx(3.26 * 0.1, rel=1e-2)
    assert row["difference"] == pytest.approx(0.2)
    half = 4.302653 * 0.1 / math.sqrt(3)
    ends = [row["difference_low_95"], row["difference_high_95"]]
    assert ends == pytest.approx([0.2 - half, 0.2 + half], rel=1e-6)
    assert row["p"] == row["p_holm"] == pytest.approx(0.07418, rel=1e-4)
    assert row["verdict"] == "no difference shown"
    assert row_of(table, "a")["verdict"] == "baseline"
    assert math.isnan(row_of(table, "a")["p"])


def test_with_too_few_seeds_the_verdict_says_so(outcome):
    given = [*runs(outcome, "a", [0.4, 0.5]), *runs(outcome, "b", [0.5, 0.7])]
    assert tables.summary(grouped(given))["verdict"] == [
        "no test: 3 seeds are needed, there are 2",
        "baseline",
    ]


def test_a_marked_run_on_top_is_not_the_best_and_says_why(outcome):
    given = [*runs(outcome, "a", [0.4] * 3), *runs(outcome, "long", [0.9] * 3, epochs=50)]
    table = tables.summary(grouped(given))
    assert table["configuration"] == ["long", "a"]
    assert table["best"] == [False, True]
    assert table["comparable"] == [False, True]
    assert table["mark"] == ["50 epochs where the baseline has 5", ""]


def test_the_headline_metrics_are_each_a_family_of_their_own(outcome):
    given = [
        outcome(name, seed, {"balanced_accuracy": 0.5 + shift, "macro_f1": 0.4 - shift**2})
        for name, step in (("a", 0.0), ("b", 0.1), ("c", 0.2))
        for seed, shift in enumerate((step, step + 0.01, step - 0.02))
    ]
    table = tables.headline(grouped(given))
    assert table["metric"] == [METRIC] * 3 + ["test/macro_f1"] * 3
    for start in (0, 3):
        p, holm = (table[name][start : start + 3] for name in ("p", "p_holm"))
        np.testing.assert_allclose(holm, significance.holm(p))


def test_the_best_per_metric_is_chosen_on_validation_and_reported_on_the_test_set(outcome):
    given = []
    for name, validation, test in (("a", 0.3, 0.5), ("b", 0.6, 0.55), ("c", 0.5, 0.7)):
        values = {"selected_val/balanced_accuracy": validation, "balanced_accuracy": test}
        given += [outcome(name, seed, values | {"tail_recall": test}) for seed in range(2)]
    table = tables.best_by_metric(grouped(given))
    assert table["metric"] == [METRIC, "test/tail_recall"]
    assert table["configuration"] == ["b", "c"]
    assert table["test_mean"] == pytest.approx([0.55, 0.7])
    assert table["chosen_by"] == [
        "selected_val/balanced_accuracy",
        "the test set itself: too good",
    ]
    assert table["best_on_test"] == ["c", "c"]
    assert table["same"] == [False, True]


def test_a_configuration_without_validation_ends_choosing_by_it(outcome):
    given = [
        outcome("a", 0, {"selected_val/balanced_accuracy": 0.9, "balanced_accuracy": 0.5}),
        outcome("b", 0, {"balanced_accuracy": 0.6}),
    ]
    assert tables.best_by_metric(grouped(given))["configuration"] == ["b"]
    assert tables.by_validation(grouped(given), "selected_val/balanced_accuracy") == []


def test_a_run_that_lacks_a_metric_has_a_nan_in_its_row(outcome):
    given = [outcome("a", 0, {"balanced_accuracy": 0.5, "macro_f1": 0.3}), outcome("a", 1, {})]
    table = tables.per_seed(grouped([*given, outcome("b", 0, {"balanced_accuracy": 0.1})]))
    assert table["run_id"] == ["run-a-0", "run-a-1", "run-b-0"]
    np.testing.assert_array_equal(table["macro_f1"], [0.3, np.nan, np.nan])
    np.testing.assert_array_equal(table["balanced_accuracy"], [0.5, np.nan, 0.1])


def test_the_recall_table_goes_from_the_most_to_the_fewest_training_images(outcome):
    given = [outcome("a", seed, images=30, train_counts=np.array([5, 50, 20])) for seed in (0, 1)]
    table = tables.recall_by_class(grouped(given))
    assert table["class"] == ["class 1", "class 2", "class 0"]
    assert table["train_count"] == [50, 20, 5]
    expected = [
        np.mean(
            [(one.test.probs.argmax(1) == label)[one.test.targets == label].mean() for one in given]
        )
        for label in (1, 2, 0)
    ]
    assert table["a"] == pytest.approx(expected)
    assert tables.recall_by_class(grouped([outcome("a", 0, {"balanced_accuracy": 0})])) == {}


def test_all_metrics_leave_out_what_repeats_and_know_their_direction(outcome):
    table = tables.all_metrics(grouped([outcome("a", 0, images=30)]))
    assert "test/micro_f1" not in table["metric"]
    better = dict(zip(table["metric"], table["better"], strict=True))
    assert (better["test/loss"], better["test/accuracy"]) == ("lower", "higher")
