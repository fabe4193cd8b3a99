import dataclasses

import pytest
from examples import at_most
from hypothesis import given, settings
from hypothesis import strategies as st

from imbalance_study.config import compatibility, schema
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
        ({"device": "gpu"}, "device must be .*'cuda'.*, got 'gpu'|must be one of .*cuda"),
        ({"image_size": "4"}, "image_size must be at least 8, got 4"),
        ({"defer": "1"}, "defer must be smaller than 1, got 1"),
        ({"ema": "yes"}, "ema must be true or false, got 'yes'"),
        ({"test_fraction": "0.1"}, "test_fraction has no effect with dataset=cifar10"),
        ({"imbalance": "none", "imbalance_ratio": "5"}, "goes with imbalance=exponential or step"),
        (
            {"imbalance": "exponential:ratio=9", "imbalance_ratio": "5"},
            "contradict each other",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_rule_and_value(values, message):
    with pytest.raises(ValueError, match=message):
        resolve(values)


def test_every_field_has_help_group_and_a_default_that_passes_its_own_check():
    Config()
    for field in dataclasses.fields(Config):
        assert field.metadata["help"].endswith("."), field.name
        assert field.metadata["group"]
        assert field.default is not None
    assert len(dataclasses.fields(Config)) <= 70


def test_the_defaults_of_every_data_set_make_a_valid_configuration():
    assert set(config_resolve.DATASET_DEFAULTS) == set(schema.choices.DATASETS)
    for name in config_resolve.DATASET_DEFAULTS:
        found = make(dataset=name)
        assert found.imbalance != "auto"
        assert found.augment != "auto"


def test_recipes_set_neither_data_set_nor_model_and_all_resolve():
    for name, recipe in RECIPES.items():
        assert not {"dataset", "model"} & set(recipe.options), name
        found, origins = resolve({"recipe": name})
        for option, value in recipe.options.items():
            assert getattr(found, option) == value
            assert origins[option] == "recipe"
        assert recipe.source


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "balanced_softmax", "class_weights": "balanced"}, "correct .* twice"),
        ({"loss": "vs", "sampler": "class_balanced"}, "correct .* twice"),
        ({"class_weights": "balanced", "resample": "smote"}, "correct .* twice"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing has no effect"),
        ({"defer": 0.8}, "defer has no effect"),
        ({"ema_decay": 0.9}, "ema_decay has no effect"),
        ({"allow_double_correction": True}, "nothing corrects twice"),
        ({"loss": "ldam", "head": "linear"}, "needs head=cosine"),
        ({"head": "cosine"}, "head=cosine gives cosines"),
        ({"mix": "mixup", "supcon": 0.5}, "supcon needs images of one class"),
        ({"validation": "none", "early_stopping": "val/loss:patience=3"}, "needs validation"),
        ({"validation": "none", "schedule": "plateau"}, "needs validation"),
        ({"validation": "none", "sampler": "error_driven"}, "needs validation"),
        ({"select_by": "last", "schedule": "plateau"}, "select_by=last has none"),
        ({"imbalance": "none", "class_order": "size"}, "class_order has no effect"),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused_with_the_reason(values, message):
    with pytest.raises(ValueError, match=message):
        make(**values)


def test_double_correction_is_let_through_on_request():
    both = {"loss": "balanced_softmax", "class_weights": "balanced"}
    found = make(**both, allow_double_correction=True)
    assert len(compatibility.corrections(found)) == 2


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "ldam", "class_weights": "effective", "defer": 0.8},
        {"loss": "focal", "sampler": "class_balanced"},
        {"mix": "mixup", "loss": "balanced_softmax"},
        {"label_smoothing": 0.1, "class_weights": "balanced"},
        {"loss": "balanced_softmax", "stage2": "crt"},
    ],
)
def test_margins_focus_mixing_smoothing_and_the_second_stage_count_as_no_correction(values):
    make(**values)


_TEXTS = st.one_of(
    st.text(max_size=12), st.sampled_from(["none", "auto", "0", "-1", "1e9", "nan", "a:b=c", "+"])
)


@settings(max_examples=at_most(300))
@given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(Config)]), _TEXTS, max_size=4
    )
)
def test_whatever_is_typed_either_resolves_or_is_answered_with_a_sentence(values):
    answer = ""
    try:
        resolve(values)
    except ValueError as error:
        answer = str(error)
    assert answer == "" or (len(answer) > 10 and any(name in answer for name in _WORDS))


_WORDS = [field.name for field in dataclasses.fields(Config)] + ["spec", "twice"]


def test_a_stored_configuration_is_rebuilt_from_old_names_without_unknown_options(capsys):
    stored = dataclasses.asdict(Config(loss="focal"))
    stored["probe"], stored["workers"] = False, 2
    del stored["auto_precision"], stored["decode_workers"], stored["supcon"]
    found = Config.from_dict(stored | {"gone": 1})
    assert found == Config(loss="focal", auto_precision=False, decode_workers=2)
    assert capsys.readouterr().err == ""
