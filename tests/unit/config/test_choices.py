import dataclasses
import inspect

import pytest

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import SUPPLIED, with_trait
from imbalance_study.config.schema import Config

REGISTRIES = {name: value for name, value in vars(choices).items() if name.isupper()}
EVERY = [
    pytest.param(registry, name, id=f"{registry} {name}")
    for registry, entries in REGISTRIES.items()
    for name in entries
]
RESERVED = {f"{option.upper()}S": names for option, names in SUPPLIED.items()}


@pytest.mark.parametrize(("registry", "name"), EVERY)
def test_every_choice_has_a_line_of_help_and_a_function_that_takes_its_options(registry, name):
    choice = REGISTRIES[registry][name]
    assert 3 < len(choice.about) < 100
    assert "by choice" not in choice.about
    if not choice.address:
        assert name in ("none", "auto", "off", "data", "standard", "all")
        assert not choice.options
        return
    text = f"{name}:{choice.options}" if choice.options else name
    bound = spec.bind(REGISTRIES[registry], text, registry, RESERVED.get(registry, frozenset()))
    assert len(inspect.getdoc(getattr(bound, "func", bound)).splitlines()[0]) > 10


def test_no_two_choices_of_an_option_call_the_same_function_but_the_features():
    for registry, entries in REGISTRIES.items():
        addresses = [one.address for one in entries.values() if one.address]
        same = {address for address in addresses if addresses.count(address) > 1}
        assert same in (set(), {"imbalance_study.experiment.analyses.features:features"}), registry


def test_losses_have_the_kinds_that_their_papers_give_them():
    assert with_trait(choices.LOSSES, "correcting") == ("balanced_softmax", "logit_adjusted", "vs")
    assert with_trait(choices.LOSSES, "cosine") == ("ldam",)
    assert with_trait(choices.LOSSES, "sigmoid") == ("sigmoid", "sigmoid_focal")
    assert with_trait(choices.LOSSES, "smoothable") == ("cross_entropy",)


def test_every_registry_is_that_of_one_option():
    shown = [field.metadata["choices"] or {} for field in dataclasses.fields(Config)]
    for registry, entries in REGISTRIES.items():
        assert sum(entries.items() <= one.items() for one in shown) == 1, registry
