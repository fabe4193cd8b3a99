import pytest

from imbalance_study.studies.search.settings import Objective, StudySettings, objectives


def test_objectives_are_a_validation_metric_and_a_cost():
    assert objectives("val/loss") == (Objective("val/loss", False),)
    assert objectives("val/balanced_accuracy|latency_ms") == (
        Objective("val/balanced_accuracy", True),
        Objective("latency_ms", False),
    )
    for text, reason in {
        "test/accuracy": "must be a validation metric",
        "val/acuracy": "did you mean val/accuracy",
        "val/accuracy|val/loss": "unknown objective",
        "val/accuracy|macs|macs": "one metric, or a metric and a cost",
    }.items():
        with pytest.raises(ValueError, match=reason):
            objectives(text)


def test_settings_refuse_what_makes_no_study():
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        StudySettings(trials=0)
    with pytest.raises(ValueError, match="unknown search group 'x'"):
        StudySettings(search="x")
    with pytest.raises(ValueError, match="pruner=median needs one objective"):
        StudySettings(objective="val/accuracy|macs", pruner="median")
    assert StudySettings(objective="val/accuracy|macs").pruning == "none"


def test_the_pruner_of_one_objective_is_hyperband_unless_given():
    assert StudySettings().pruning == "hyperband"
    assert StudySettings(pruner="median").pruning == "median"
