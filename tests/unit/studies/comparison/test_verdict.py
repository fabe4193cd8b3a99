import pytest
from scipy import stats

from imbalance_study.studies.comparison import grouping, verdict

CE = [0.50, 0.52, 0.51]
BETTER = [0.60, 0.621, 0.612]


@pytest.fixture
def said(outcome):
    """A function that writes the verdict on rows of values, the first as baseline."""

    def make(rows, metric="test/balanced_accuracy", **fields):
        name = metric.rpartition("/")[2]
        given = [
            outcome(
                configuration,
                seed,
                {name: value} | fields.get(configuration, {}).get("values", {}),
                **fields.get(configuration, {}).get("fields", {}),
            )
            for configuration, row in rows.items()
            for seed, value in enumerate(row)
        ]
        return verdict.verdict(grouping.group_outcomes(given, next(iter(rows)), metric))

    return make


def test_a_winner_stands_with_points_interval_p_and_cost(said):
    network = {"cost/parameters": 10.0, "cost/macs": 1e6}
    low, high = stats.ttest_rel(BETTER, CE).confidence_interval()
    text = said({"ce": CE, "focal": BETTER}, ce={"values": network}, focal={"values": network})
    assert text == (
        f"focal beats ce by 10.1 points of balanced accuracy ({100 * low:.1f} to {100 * high:.1f})"
        ", p < 0.001, 3 seeds; same cost at inference."
    )


def test_a_larger_network_and_the_others_that_win_are_named(said):
    costs = [{"cost/parameters": 10.0 * size, "cost/macs": 1e6 * size} for size in (1, 3)]
    rows = {"ce": CE, "deep": BETTER, "focal": [0.58, 0.601, 0.592]}
    text = said(rows, ce={"values": costs[0]}, deep={"values": costs[1]})
    assert "; 3 times the multiply-accumulates. 1 more beats it, too." in text


def test_less_of_a_loss_is_a_win_with_a_rising_interval(said):
    text = said({"ce": [1.0, 1.1, 1.2], "focal": [0.5, 0.61, 0.69]}, metric="test/loss")
    assert text.startswith("focal beats ce by 0.500 of loss (0.475 to 0.525), p ")


def test_without_a_winner_stands_what_would_have_been_shown(said):
    # Differences .08, -.05, .01: deviation .0651, times 3.26 for three seeds and one test.
    text = said({"ce": [0.5, 0.6, 0.55], "focal": [0.58, 0.55, 0.56]})
    assert text == (
        "No configuration is shown to beat ce in balanced accuracy; a difference would have been "
        "shown (80 % power) from 21.2 points on."
    )
    text = said({"ce": BETTER, "focal": CE})
    assert text == ("No configuration is shown to beat ce in balanced accuracy; 1 of 1 is worse.")


def test_what_cannot_be_ranked_or_tested_is_no_winner(said):
    text = said({"ce": CE, "focal": BETTER}, focal={"fields": {"epochs": 50}})
    assert text == "Nothing is tested against ce: no configuration can be ranked with it."
    text = said({"ce": CE[:2], "focal": BETTER[:2]})
    assert text == "Nothing is tested against ce: 3 seeds are needed, there are 2."


def test_one_configuration_has_its_mean_and_nothing_to_beat(said):
    text = said({"ce": CE})
    assert text.startswith("ce reaches balanced accuracy 0.510 (0.48")
    assert text.endswith(" over 3 seeds; there is nothing to compare it with.")
    assert said({"ce": CE[:1]}).startswith("ce reaches balanced accuracy 0.500 over 1 seed;")
