import dataclasses

import pytest

from imbalance_study.config import choices, spec
from imbalance_study.config.schema import Config
from imbalance_study.studies.search.axes import BASELINES, FORMS, GROUPS, OFF, SPACE, SPECS

OPTIONS = {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("axis", SPACE, ids=lambda axis: axis.name)
def test_a_dimension_writes_an_option_that_exists_and_has_values(axis):
    option, _, key = axis.writes.partition(":")
    assert option in OPTIONS
    assert not key or option in SPECS
    assert set(axis.groups) <= set(GROUPS)
    assert axis.choices or axis.low < axis.high
    assert axis.form == "factor" or axis.form in FORMS
    assert not axis.log or axis.low > 0


@pytest.mark.parametrize("axis", SPACE, ids=lambda axis: axis.name)
def test_a_default_is_one_of_the_values(axis):
    if axis.default == "":  # that of the configuration
        return
    assert axis.default in axis.choices or axis.low <= axis.default <= axis.high


def test_a_condition_names_an_earlier_dimension_and_its_choices():
    earlier = {}
    for axis in SPACE:
        for condition in axis.when:
            for name, allowed in condition.items():
                assert set(allowed) <= set(earlier[name]), axis.name
        earlier[axis.name] = axis.choices


def test_names_are_unique_and_every_group_is_used():
    names = [axis.name for axis in SPACE]
    assert len(set(names)) == len(names)
    assert {group for axis in SPACE for group in axis.groups} == set(GROUPS)


def test_every_loss_of_the_search_is_a_baseline():
    (losses,) = (axis.choices for axis in SPACE if axis.name == "loss")
    assert set(losses) <= {values.get("loss") for values in BASELINES.values()}
    assert set(losses) <= set(choices.LOSSES)


def test_remedies_that_are_off_are_off_by_default():
    for name in OFF:
        value = getattr(Config, name)
        assert value == 0 or spec.parse(str(value)).name in ("none", "shuffle"), name


def test_numbers_are_written_in_their_form():
    assert FORMS["number"](0.123456789) == "0.123457"
    assert FORMS["one minus power"](-4) == "0.9999"
    assert FORMS["power of two"](5) == "32"
