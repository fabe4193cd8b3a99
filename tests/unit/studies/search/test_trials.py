import dataclasses
import math

import pytest

from imbalance_study.studies.search import trials
from imbalance_study.studies.search.settings import objectives


@pytest.fixture(scope="module")
def result(tiny_run):
    """The result of a small training."""
    return tiny_run.result


def _with_metrics(result, **metrics):
    """The result with other values after its epoch."""
    changed = {f"val/{name}": value for name, value in metrics.items()}
    history = [
        dataclasses.replace(epoch, metrics=epoch.metrics | changed) for epoch in result.history
    ]
    stage = result.stage._replace(fit=result.fit._replace(history=history))
    return dataclasses.replace(result, stage=stage)


def test_a_trial_has_the_value_of_its_kept_epoch(result):
    (value,), error = trials.judge(result, objectives("val/balanced_accuracy"))
    assert value == result.history[result.fit.best_epoch - 1].metrics["val/balanced_accuracy"]
    assert error == result.metrics["selected_val/balanced_accuracy_standard_error"]


def test_the_error_of_an_accuracy_is_binomial(result):
    (value,), error = trials.judge(result, objectives("val/accuracy"))
    count = len(result.data.split.val)
    assert error == pytest.approx(math.sqrt(value * (1 - value) / count))


def test_other_metrics_have_no_standard_error(result):
    (value,), error = trials.judge(result, objectives("val/macro_f1"))
    assert 0 <= value <= 1
    assert math.isnan(error)


def test_a_second_objective_is_a_cost_of_the_model(result):
    (_, macs), _ = trials.judge(result, objectives("val/accuracy|macs"))
    assert macs > 1e6
    (_, latency), _ = trials.judge(result, objectives("val/accuracy|latency_ms"))
    assert 0 < latency < 10_000


def test_an_objective_that_is_not_finite_is_refused(result):
    broken = _with_metrics(result, macro_f1=math.nan)
    with pytest.raises(ValueError, match="val/macro_f1 is nan, which ranks no trial"):
        trials.judge(broken, objectives("val/macro_f1"))
