import dataclasses

import pytest

from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config
from imbalance_study.studies.comparison.suites import SUITES

OPTIONS = {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_has_a_line_of_help_and_sets_options_that_exist(name):
    suite = SUITES[name]
    assert suite.about
    assert "\n" not in suite.about
    assert len(suite.configurations) >= 2
    for options in [suite.shared, *suite.configurations.values()]:
        assert options.keys() <= OPTIONS


@pytest.mark.parametrize("name", SUITES)
def test_the_configurations_of_a_suite_differ(name):
    configurations = [str(options) for options in SUITES[name].configurations.values()]
    assert len(set(configurations)) == len(configurations)


def test_samplers_are_compared_with_plain_shuffling_at_equal_updates():
    suite = SUITES["samplers"]
    assert suite.same_updates
    assert next(iter(suite.configurations.values())) == {"sampler": "shuffle"}


def test_remedies_for_the_head_share_frozen_features_and_updates():
    suite = SUITES["head_remedies"]
    assert len(suite.configurations) == 13
    assert suite.same_updates
    assert suite.seeds == 10
    for options in suite.configurations.values():
        found = make(dataset="flowers", **suite.shared, **options)
        assert (found.space, found.augment) == ("features", "none")
