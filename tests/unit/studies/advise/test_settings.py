import dataclasses

import pytest

from imbalance_study.config.schema import Config
from imbalance_study.studies.advise.settings import OF_RUNS, AdviceSettings


def test_the_options_of_runs_exist_and_are_not_options_of_advice_as_well():
    names = {field.name for field in dataclasses.fields(Config)}
    own = {field.name for field in dataclasses.fields(AdviceSettings)}
    assert set(OF_RUNS) <= names
    assert not set(OF_RUNS) & own


def test_minutes_are_positive():
    with pytest.raises(ValueError, match="minutes must be larger than 0, got 0"):
        AdviceSettings(minutes=0.0)
