import math

import pytest

from imbalance_study.studies.comparison import costs, grouping

METRIC = "test/balanced_accuracy"


@pytest.fixture
def grouped(outcome):
    """A function that groups runs: configuration to the metrics of each seed."""

    def make(rows, **fields):
        given = [
            outcome(name, seed, {"balanced_accuracy": 0.5} | values, **fields)
            for name, seeds in rows.items()
            for seed, values in enumerate(seeds)
        ]
        return grouping.group_outcomes(given, given[0].configuration, METRIC)

    return make


def network(macs, latency, parameters=1000.0):
    """The costs of a network as one run measured them."""
    values = {"parameters": parameters, "macs": macs, "latency_ms_b1": latency}
    return {f"cost/{name}": value for name, value in values.items()}


def row_of(table, name):
    at = table["configuration"].index(name)
    return {key: column[at] for key, column in table.items()}


def test_equal_networks_cost_the_same_at_inference_whatever_was_measured(grouped):
    found = grouped({"ce": [network(1e6, 18.8)], "focal": [network(1e6, 11.2)]})
    table = costs.table(found)
    assert table["latency_ms_b1"] == [15.0, 15.0]
    assert table["network"] == [1, 1]
    assert costs.one_network(found)
    assert costs.at_inference(found) == (
        "All are the same network and cost the same at inference: 1,000 parameters, 1M "
        "multiply-accumulates an image, 15 ms for one image."
    )


def test_a_head_without_bias_is_the_same_network_and_a_deeper_one_is_not(grouped):
    found = grouped(
        {
            "ce": [network(1e6, 2.0)],
            "ldam": [network(1e6, 4.0, 995.0)],
            "deep": [network(2e6, 5.0, 1900.0)],
        }
    )
    assert costs.table(found)["network"] == [1, 1, 2]
    assert costs.table(found)["latency_ms_b1"] == [3.0, 3.0, 5.0]
    assert not costs.one_network(found)
    text = costs.at_inference(found)
    assert text.startswith("At inference ce, ldam: 1,000 parameters")
    assert "deep: 1,900 parameters, 2M multiply-accumulates an image, 5 ms" in text


def test_nothing_is_said_of_networks_that_nobody_measured(grouped):
    found = grouped({"ce": [network(1e6, 2.0)], "focal": [{}]})
    assert costs.at_inference(found) == ""
    assert not costs.one_network(found)
    assert costs.table(found)["network"] == [1, None]
    assert "latency_ms_b1" not in costs.table(grouped({"ce": [{}]}))


def test_training_has_its_spread_over_seeds_and_the_test_of_its_time(outcome):
    seconds = {"ce": [10.0, 11.0, 12.0], "slow": [20.0, 21.5, 22.0]}
    given = [
        outcome(
            name,
            seed,
            {"balanced_accuracy": 0.5, "time/train_seconds": value},
            seconds=value,
        )
        for name, row in seconds.items()
        for seed, value in enumerate(row)
    ]
    row = row_of(costs.table(grouping.group_outcomes(given, "ce", METRIC)), "slow")
    assert row["train_seconds"] == pytest.approx(63.5 / 3)
    assert row["train_seconds_sd"] == pytest.approx(1.0408, rel=1e-4)
    assert row["times_baseline_seconds"] == pytest.approx(63.5 / 33)
    assert row["time_verdict"] == "worse"


def test_energy_becomes_money_by_its_price(grouped):
    found = grouped({"ce": [{"cost/train_kwh": 0.5}, {"cost/train_kwh": 1.5}]})
    row = row_of(costs.table(found, 0.3), "ce")
    assert row["train_kwh"] == 1.0
    assert row["train_kwh_sd"] == pytest.approx(math.sqrt(0.5))
    assert row["train_price"] == pytest.approx(0.3)
    assert "train_price" not in costs.table(found)
    assert "train_kwh" not in costs.table(grouped({"ce": [{}]}))


def test_the_memory_of_a_process_that_trained_others_before_is_no_cost(grouped):
    rows = {"ce": [{"cost/peak_memory_mb": 100.0}, {"cost/peak_memory_mb": 140.0}]}
    row = row_of(costs.table(grouped(rows)), "ce")
    assert row["peak_memory_mb"] == 120.0
    assert row["peak_memory_mb_sd"] == pytest.approx(math.sqrt(800))
    assert "peak_memory_mb" not in costs.table(grouped(rows, threads=1))


def test_a_spread_is_written_to_two_digits_of_the_deviation():
    assert costs.spread(12.346, 0.67) == "12.35 ± 0.67"
    assert costs.spread(75.18, 25.3) == "75 ± 25"
    assert costs.spread(12345.6, 234.5) == "12,346 ± 234"
    assert costs.spread(0.01234, 0.00057) == "0.01234 ± 0.00057"
    assert costs.spread(12.346, math.nan) == "12.3"
    assert costs.spread(0.00123, math.nan) == "0.00123"
    assert costs.spread(10.0, 0.0) == "10 ± 0"
    assert costs.spread(math.nan, math.nan) == ""
