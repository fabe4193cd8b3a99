import numpy as np
import pytest

from imbalance_study.studies.comparison import differences, grouping

METRIC = "test/balanced_accuracy"


@pytest.mark.parametrize(
    ("metric", "way"),
    [
        ("test/balanced_accuracy", 1),
        ("test/macro_precision", 1),
        ("test/tail_recall", 1),
        ("test/roc_auc_macro", 1),
        ("test/loss", -1),
        ("test_errors/rate", -1),
        ("test_calibration/classwise_ece", -1),
        ("test_calibration/aurc", -1),
        ("test_calibration/confidence_wrong_mean", 0),
        ("test_features/silhouette", 1),
        ("test_features/davies_bouldin", -1),
        ("cost/latency_ms_b128_p95", -1),
        ("cost/train_images_per_second", 1),
        ("cost/size_mb", -1),
        ("time/train_seconds", -1),
        ("selected_val/balanced_accuracy_standard_error", 0),
        ("posthoc/tau_norm_tau", 0),
        ("train/loss", 0),
    ],
)
def test_every_metric_knows_which_way_is_better(metric, way):
    assert differences.direction(metric) == way


def judgements(outcome, columns, metric=METRIC, **fields):
    name = metric.partition("/")[2]
    given = [
        outcome(configuration, seed, {name: value}, **fields.get(configuration, {}))
        for configuration, values in columns.items()
        for seed, value in enumerate(values)
    ]
    return differences.judge(grouping.group_outcomes(given, "base", metric), metric)


COLUMNS = {
    "base": [0.50, 0.52, 0.51],
    "up": [0.60, 0.621, 0.612],
    "down": [0.40, 0.421, 0.412],
    "same": [0.55, 0.47, 0.52],
    "one": [0.9],
}


def test_a_verdict_needs_a_corrected_p_below_5_percent(outcome):
    found = judgements(outcome, COLUMNS)
    assert [one.verdict for one in found] == [
        differences.BASELINE,
        differences.BETTER,
        differences.WORSE,
        differences.OPEN,
        differences.UNTESTED,
    ]
    assert np.isnan([found[0].p_holm, found[4].p_holm]).all()
    assert found[1].test.p * 3 == pytest.approx(found[1].p_holm)


def test_where_less_is_better_the_verdict_turns_round(outcome):
    found = judgements(outcome, COLUMNS, "test/loss")
    assert [one.verdict for one in found[1:3]] == [differences.WORSE, differences.BETTER]
    assert differences.best(found, "test/loss").group.name == "down"
    ranking = [one.group.name for one in differences.ranked(found, "test/loss")]
    assert ranking == ["down", "base", "same", "up", "one"]


def test_holm_can_take_back_what_a_single_test_shows(outcome):
    weak = {"base": [0.5, 0.5, 0.5, 0.5], "up": [0.52, 0.56, 0.53, 0.58]}
    assert judgements(outcome, weak)[1].verdict == differences.BETTER
    more = weak | {f"n{i}": [0.49 + i / 200, 0.5, 0.52, 0.48] for i in range(6)}
    assert judgements(outcome, more)[1].verdict == differences.OPEN


def test_what_cannot_be_compared_is_never_the_best(outcome):
    found = judgements(outcome, {"base": [0.5] * 3, "longer": [0.9] * 3}, longer={"epochs": 50})
    assert differences.best(found, METRIC).group.name == "base"


def test_a_configuration_without_the_metric_is_last(outcome):
    nan = float("nan")
    found = judgements(outcome, {"base": [0.5] * 3, "broken": [nan] * 3, "good": [0.7, 0.8, 0.9]})
    assert [one.group.name for one in differences.ranked(found, METRIC)] == [
        "good",
        "base",
        "broken",
    ]
    assert found[1].verdict == differences.UNTESTED
