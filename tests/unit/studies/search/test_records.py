import math

from imbalance_study.studies.search import records
from imbalance_study.studies.search.settings import Objective

UP = (Objective("val/balanced_accuracy", True),)
BOTH = (*UP, Objective("latency_ms", False))


def trial(number, values, error=math.nan, baseline="", state="complete"):
    options = {"loss": f"focal:gamma={number}"}
    values = tuple(values)
    return records.Trial(
        number, state, values, {"gamma": number}, {1: 0.1}, options, error, 2.0, baseline, math.nan
    )


def test_the_best_comes_first_and_the_earlier_of_equals():
    found = records.ranked([trial(0, [0.5]), trial(1, [0.7]), trial(2, [0.7])], UP)
    assert [one.number for one in found] == [1, 2, 0]
    down = (Objective("val/loss", False),)
    found = records.ranked([trial(0, [0.5]), trial(1, [0.7])], down)
    assert [one.number for one in found] == [0, 1]


def test_a_trial_that_was_pruned_never_wins():
    found = records.ranked([trial(0, [0.5]), trial(1, [], state="pruned")], UP)
    assert [one.number for one in found] == [0]


def test_the_best_two_within_the_standard_error_are_called_a_tie():
    close = [trial(0, [0.70], 0.02), trial(1, [0.71], 0.02), trial(2, [0.5], 0.02)]
    text = records.tie_sentence(close, UP)
    assert "trials (1 and 0)" in text
    assert "0.0100 apart" in text
    assert "2 trials of 3" in text
    assert records.tie_sentence([trial(0, [0.70], 0.02), trial(1, [0.73], 0.02)], UP) == ""
    assert records.tie_sentence([trial(0, [0.70]), trial(1, [0.70])], UP) == ""  # no error is known
    assert records.tie_sentence(close[:1], UP) == ""


def test_the_front_is_what_no_trial_beats_in_both():
    points = [(0.9, 5.0), (0.8, 2.0), (0.7, 3.0), (0.6, 1.0), (0.9, 5.0)]
    found = records.pareto_front([trial(i, point) for i, point in enumerate(points)], BOTH)
    assert [one.number for one in found] == [0, 1, 3, 4]


def test_the_command_trains_what_won():
    line = records.training_command({"dataset": "digits", "loss": "focal"}, trial(3, [0.5]))
    assert line == "imbalance-study train --dataset digits --loss focal:gamma=3"


def test_the_description_says_what_was_found_and_what_not():
    trials = [trial(0, [0.70], 0.02, "cross_entropy"), trial(1, [0.71], 0.02),
              trial(2, [], state="failed")]  # fmt: skip
    tests = [{f"test/{m}": v for m in ("balanced_accuracy", "accuracy", "macro_f1")}
             for v in (0.6, 0.7)]  # fmt: skip
    text = records.description("mine", trials, UP, "imbalance-study train", tests, "loss")
    for part in (
        *(
            "2 trials complete",
            "1 failed",
            "trial 1",
            "cross_entropy, has 0.7000, a difference of 0.0100",
        ),
        *("does not show which is better", "0.6500 ± 0.0707", "mean of 2 seeds"),
    ):
        assert part in text, part
    only = records.description("mine", trials[:1], UP, "", [], "loss")
    assert "the search found nothing better" in only
    assert "On the test set" not in only
    assert "No trial is complete" in records.description("mine", [], UP, "", [], "loss")


def test_the_table_has_a_column_for_each_option_of_any_trial():
    odd = trial(1, [0.7])._replace(options={"sampler": "power:q=0.5"})
    table = records.trials_table([trial(0, [0.5]), odd, trial(2, [], state="pruned")], UP)
    assert table["trial"] == [1, 0, 2]
    assert table["val/balanced_accuracy"] == [0.7, 0.5, None]
    assert table["sampler"] == ["power:q=0.5", "", ""]
    assert len({len(column) for column in table.values()}) == 1
