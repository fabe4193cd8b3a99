import pytest

from imbalance_study.config import choices
from imbalance_study.config import resolve as config_resolve
from imbalance_study.config.recipes import RECIPES
from imbalance_study.config.resolve import make, resolve
from imbalance_study.config.schema import Config


def test_given_beats_recipe_beats_data_set_beats_default(monkeypatch):
    recipe = RECIPES["paper_ce"]._replace(
        options={"epochs": 200, "batch_size": 64, "augment": "flip"}
    )
    monkeypatch.setitem(RECIPES, "paper_ce", recipe)
    found, origins = resolve({"dataset": "digits", "recipe": "paper_ce", "epochs": "7"})
    assert (found.epochs, origins["epochs"]) == (7, "given")
    assert (found.batch_size, origins["batch_size"]) == (64, "recipe")
    assert (found.imbalance, origins["imbalance"]) == ("exponential:ratio=10", "data set")
    assert (found.optimizer, origins["optimizer"]) == (Config.optimizer, "default")


def test_auto_counts_as_not_given():
    found, origins = resolve({"dataset": "cifar10", "imbalance": "auto", "device": "auto"})
    assert (found.imbalance, origins["imbalance"]) == ("exponential:ratio=100", "data set")
    assert origins["device"] == "default"


def test_learning_rate_and_decay_follow_the_optimizer_unless_they_are_given():
    found, origins = resolve({"optimizer": "sgd:momentum=0.5", "weight_decay": "0.1"})
    assert (found.lr, origins["lr"]) == (0.05, "optimizer")
    assert (found.weight_decay, origins["weight_decay"]) == (0.1, "given")
    assert resolve({"optimizer": "adamw"}).origins["lr"] == "default"


def test_imbalance_ratio_is_short_for_the_ratio_of_the_spec():
    assert make(imbalance_ratio=50).imbalance == "exponential:ratio=50"
    assert make(dataset="flowers", imbalance_ratio=5).imbalance == "exponential:ratio=5"
    found = make(imbalance="step:fraction=0.2", imbalance_ratio=20)
    assert found.imbalance == "step:fraction=0.2,ratio=20"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": "foo"}, "lr must be a number or 'auto', got 'foo'"),
        ({"lr": "-1"}, "lr must be larger than 0, got -1"),
        ({"epochs": "1.5"}, "epochs must be a whole number, got '1.5'"),
        ({"imbalance_ratio": "0.5"}, "imbalance_ratio must be at least 1, got 0.5"),
        ({"modle": "x"}, "unknown option 'modle'; did you mean model?"),
        ({"loss": "focall"}, "unknown loss 'focall'; known: cross_entropy"),
        ({"augment": "crop+flop"}, "unknown augment 'flop'"),
        ({"recipe": "paper"}, "unknown recipe 'paper'"),
        ({"recipe": "mine:recipe"}, "unknown recipe 'mine:recipe'"),
        ({"device": "gpu"}, "device must be .*'cuda'.*, got 'gpu'|must be one of .*cuda"),
        ({"image_size": "4"}, "image_size must be at least 8, got 4"),
        ({"defer": "1"}, "defer must be smaller than 1, got 1"),
        ({"ema": "yes"}, "ema must be true or false, got 'yes'"),
        ({"test_fraction": "0.1"}, "test_fraction has no effect with dataset=cifar10"),
        (
            {"imbalance": "none", "imbalance_ratio": "5"},
            "goes with imbalance=exponential, published or step",
        ),
        (
            {"imbalance": "exponential:ratio=9", "imbalance_ratio": "5"},
            "contradict each other",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_rule_and_value(values, message):
    with pytest.raises(ValueError, match=message):
        resolve(values)


def test_the_defaults_of_every_data_set_make_a_valid_configuration():
    assert set(config_resolve.DATASET_DEFAULTS) == set(choices.DATASETS)
    for name in config_resolve.DATASET_DEFAULTS:
        found = make(dataset=name)
        assert found.imbalance != "auto"
        assert found.augment != "auto"


def test_the_usual_batch_size_is_the_recipes_then_the_data_sets():
    found = make(dataset="digits", recipe="paper_ce", batch_size="auto")
    assert config_resolve.usual_batch_size(found) == RECIPES["paper_ce"].options["batch_size"]
    assert config_resolve.usual_batch_size(make(dataset="digits", batch_size="auto")) == 32
    assert config_resolve.usual_batch_size(make(batch_size="auto")) == Config.batch_size


def test_with_a_frozen_backbone_nothing_augments_unless_asked_and_the_head_trains_on_features():
    frozen = {"dataset": "digits", "freeze": "head_only", "weights": "imagenet"}
    found = resolve(frozen)
    assert (found.config.augment, found.origins["augment"]) == ("none", "freeze")
    assert (found.config.space, found.origins["space"]) == ("features", "freeze")
    asked = resolve(frozen | {"augment": "crop"})
    assert (asked.config.augment, asked.config.space) == ("crop", "pixels")
    assert resolve(frozen | {"tail_augment": "trivial"}).config.space == "pixels"
    assert resolve(frozen | {"augment": "crop", "feature_views": 4}).config.space == "features"
    assert resolve(frozen | {"space": "pixels"}).config.augment == "none"
    assert resolve(frozen | {"space": "auto"}).config.space == "features"
    thawed = resolve({"dataset": "digits", "freeze": "partial", "weights": "imagenet"}).config
    assert (thawed.augment, thawed.space) == ("crop:padding=2", "pixels")
