"""Comparisons without training; whole ones are in tests/integration/studies."""

import pytest

from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.run import compare

DIGITS = {"dataset": "digits", "image_size": "8", "model": "resnet20", "device": "cpu"}


def test_a_dry_run_prints_the_plan_and_makes_no_store(own_place, tmp_path):
    messages = []
    store = {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    settings = ComparisonSettings(vary="lr=0.1|0.2", seeds=1)
    assert compare(settings, DIGITS | store, dry_run=True, echo=messages.append) is None
    (plan,) = messages
    assert "2 configurations x 1 seeds (0): 2 runs" in plan
    assert not (tmp_path / "mlflow.db").exists()


def test_a_mistake_comes_before_a_store_is_made(own_place, tmp_path):
    store = {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    settings = ComparisonSettings(vary="lr=0.1|x", seeds=1)
    with pytest.raises(ValueError, match="configuration lr=x: lr must be a number"):
        compare(settings, DIGITS | store)
    assert not (tmp_path / "mlflow.db").exists()
