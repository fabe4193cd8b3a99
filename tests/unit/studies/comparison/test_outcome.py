import dataclasses

import pytest

from imbalance_study.studies.comparison.outcome import Comparison


def test_an_outcome_cannot_be_changed(outcome):
    made = outcome("focal", 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 1


def test_predictions_and_an_embedding_are_optional(outcome):
    made = outcome("focal", 0)
    assert made.test is None
    assert made.tsne is None


def test_comparisons_share_no_tables():
    Comparison().tables["comparison/summary"] = {}
    assert Comparison().tables == {}
