import random

import pytest
from examples import at_most
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_study.config import compatibility, resolve, spec
from imbalance_study.experiment.setup.components import bind
from imbalance_study.studies.search import space

EVERYTHING = "|".join(space.GROUPS)
GIVEN = {
    "nothing": {},
    "a loss by its name": {"loss": "focal"},
    "a loss with its option": {"loss": "focal:gamma=2"},
    "synthetic images": {"resample": "smote"},
    "deferral": {"defer": "0.5"},
    "label smoothing": {"label_smoothing": "0.1"},
    "a cosine head": {"head": "cosine"},
    "a second stage on logits": {"stage2": "lws"},
    "contrastive loss": {"supcon": "0.1"},
    "class weights": {"class_weights": "balanced"},
    "a sampler": {"sampler": "class_balanced"},
    "a correcting loss": {"loss": "balanced_softmax"},
    "an optimizer without weight decay": {"optimizer": "adam"},
    "a recipe": {"recipe": "paper_ldam_drw", "validation": "stratified:fraction=0.1"},
    "two models": {"model": "resnet20|resnet32"},
}


def _drawer(seed):
    source = random.Random(seed)

    def draw(axis):
        if axis.choices:
            return source.choice(axis.choices)
        if axis.whole:
            return source.randint(int(axis.low), int(axis.high))
        return source.uniform(axis.low, axis.high)

    return draw


@pytest.fixture(scope="module")
def spaces():
    return {
        name: space.build(EVERYTHING, {"dataset": "digits"} | options)
        for name, options in GIVEN.items()
        if not ("loss" in options and options["loss"] == "balanced_softmax")
    } | {"a correcting loss": space.build(EVERYTHING, {"loss": "balanced_softmax"})}


@settings(max_examples=at_most(2000))
@given(name=st.sampled_from(sorted(GIVEN)), seed=st.integers(0, 2**32))
def test_every_proposal_is_a_configuration_that_the_guards_let_through(spaces, name, seed):
    proposal = space.propose(spaces[name], _drawer(seed))
    found = proposal.resolved.config  # a Config that is made has passed the guards
    assert len(compatibility.corrections(found)) <= 1
    for option, value in GIVEN[name].items():
        if "|" not in value and option not in ("loss", "recipe"):
            assert str(getattr(found, option)) == value


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_proposed_binds(spaces, name):
    for seed in range(15):
        bind(space.propose(spaces[name], _drawer(seed)).resolved.config)


def test_every_dimension_is_drawn_and_reaches_its_option(spaces):
    seen = {}
    for seed in range(400):
        proposal = space.propose(spaces["nothing"], _drawer(seed))
        for name in proposal.values:
            seen.setdefault(name, set())
        for axis in space.SPACE:
            option, _, key = axis.writes.partition(":")
            value = getattr(proposal.resolved.config, option)
            if axis.name in proposal.values:
                typed = spec.parse(value).options[key] if key else value
                seen[axis.name].add(typed)
    assert set(seen) == {axis.name for axis in space.SPACE}
    assert all(len(values) > 1 for values in seen.values())


def test_beta_is_searched_by_the_logarithm_of_one_minus_it(spaces):
    values = {"loss": "focal", "gamma": 1.0, "class_weights": "effective"}
    values |= {"log10_one_minus_beta": -3.0}
    found = space.options_of(spaces["nothing"], values).config
    assert found.class_weights == "effective:beta=0.999"
    assert found.loss == "focal:gamma=1"


def test_factors_multiply_what_is_usual_for_the_optimizer(spaces):
    values = {"loss": "balanced_softmax", "optimizer": "sgd", "lr_factor": 2.0}
    found = space.options_of(spaces["nothing"], values | {"log2_batch_size": 6}).config
    assert (found.lr, found.batch_size) == (2 * resolve.USUAL["sgd"]["lr"], 64)
    found = space.options_of(spaces["nothing"], values | {"optimizer": "adamw"}).config
    assert found.lr == 2 * resolve.make(dataset="digits").lr


def test_more_augmentation_comes_behind_what_the_data_set_has(spaces):
    found = space.options_of(spaces["nothing"], {"loss": "vs", "more_augment": "cutout"}).config
    assert found.augment == "crop:padding=2+cutout"


def test_baselines_are_those_that_the_search_holds(spaces):
    def names(search, **options):
        return list(space.baselines(space.build(search, {"dataset": "digits"} | options)))

    assert names(EVERYTHING) == [
        *("cross_entropy", "balanced_softmax", "ldam_drw", "effective_weights"),
        *("class_balanced_sampler", "logit_adjusted", "focal", "vs", "sigmoid_focal"),
    ]
    assert names("sampler") == ["cross_entropy", "class_balanced_sampler"]
    assert names("optimizer", loss="focal") == ["focal"]
    assert names("loss", head="cosine") == ["default", "ldam_drw"]


def test_a_baseline_has_the_default_settings(spaces):
    found = spaces["nothing"]
    ldam = space.options_of(found, space.baselines(found)["ldam_drw"]).config
    wanted = resolve.make(
        dataset="digits", loss="ldam:max_m=0.5", class_weights="effective:beta=0.9999",
        defer=0.8, optimizer="adamw",
    )  # fmt: skip
    assert ldam == wanted


def test_what_a_recipe_sets_and_the_search_leaves_out_is_off(spaces):
    found = space.propose(spaces["a recipe"], lambda axis: {"loss": "vs"}.get(
        axis.name, axis.choices[0] if axis.choices else axis.high)).resolved.config  # fmt: skip
    assert (found.class_weights, found.defer) == ("none", 0.0)
    assert found.epochs == 200  # the recipe's


def test_bad_searches_are_refused_with_a_reason():
    with pytest.raises(ValueError, match="unknown search group 'los'; did you mean loss"):
        space.build("los", {})
    with pytest.raises(ValueError, match="nothing left to search"):
        space.build("sampler", {"loss": "balanced_softmax"})
    with pytest.raises(ValueError, match="head=cosine gives cosines"):
        space.build("sampler", {"head": "cosine"})
    with pytest.raises(ValueError, match="lr must be a number"):
        space.build("loss", {"lr": "x"})
