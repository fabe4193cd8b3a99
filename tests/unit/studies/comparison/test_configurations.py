import re

import pytest

from imbalance_study.config.schema import Config
from imbalance_study.studies.comparison import configurations
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.suites import SUITES


def _labels(**asked):
    return [one.label for one in configurations.list_configurations(ComparisonSettings(**asked))]


def test_vary_spans_all_combinations():
    found = configurations.list_configurations(
        ComparisonSettings(vary="model=resnet20|custom_cnn; loss=cross_entropy|focal:gamma=1")
    )
    assert [one.options for one in found] == [
        {"model": model, "loss": loss}
        for model in ("resnet20", "custom_cnn")
        for loss in ("cross_entropy", "focal:gamma=1")
    ]
    assert found[1].label == "resnet20, focal:gamma=1"


def test_labels_name_the_option_where_a_value_alone_says_nothing():
    assert _labels(vary="lr=0.1|0.01; mix=none|mixup")[:2] == ["lr=0.1, mix=none", "lr=0.1, mixup"]
    assert _labels(recipes="paper_ce | paper_drw") == ["paper_ce", "paper_drw"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "one of suite, vary and recipes, got none"),
        ({"suite": "losses", "vary": "lr=1|2"}, "one of suite, vary and recipes, got suite and"),
        ({"vary": "los=focal|ldam"}, "unknown option 'los'; did you mean loss"),
        ({"vary": "loss=focal|"}, "loss has an empty value"),
        ({"vary": "loss=|focal"}, "loss has an empty value"),
        ({"vary": "loss"}, "option=value|value"),
        ({"vary": "lr=1|2;"}, "option=value|value"),
        ({"vary": "lr=1|2; lr=3"}, "names lr twice"),
        ({"vary": "lr=1|1"}, "lr has the value 1 twice"),
        ({"vary": "loss=focal"}, "at least two configurations, got 'focal'"),
        ({"vary": "seed=1|2"}, "seeds=N runs each"),
        ({"vary": "colormap=jet|magma"}, "it changes no result"),
        ({"suite": "loses"}, "unknown suite 'loses'; known: none, architectures"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"parallel": 0}, "parallel must be at least 1, got 0"),
    ],
)
def test_a_mistake_in_what_is_compared_is_one_line(asked, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        configurations.list_configurations(ComparisonSettings(**asked))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "common", "message"),
    [
        ({"vary": "loss=focal|foc"}, {}, "configuration foc: unknown loss"),
        ({"vary": "lr=0.1|x"}, {}, "configuration lr=x: lr must be a number"),
        (
            {"vary": "loss=cross_entropy|balanced_softmax"},
            {"class_weights": "balanced"},
            "configuration balanced_softmax: loss=balanced_softmax and class_weights=balanced",
        ),
        ({"vary": "loss=focal:gamma=1|focal: gamma=1"}, {}, "are the same"),
        ({"vary": "loss=focal|ldam"}, {"loss": "vs"}, "loss=vs is given for all, and focal sets"),
        ({"vary": "loss=focal|ldam", "baseline": "ce"}, {}, "unknown baseline 'ce'; known: focal"),
        ({"vary": "loss=focal|ldam"}, {"epoch": "3"}, "unknown option 'epoch'"),
        ({"recipes": "paper_ce|paper"}, {}, "configuration paper: unknown recipe"),
    ],
)
def test_a_configuration_that_cannot_be_is_named_in_one_line(asked, common, message):
    settings = ComparisonSettings(**asked)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        configurations.resolve_configurations(
            configurations.list_configurations(settings), settings, common
        )
    assert "\n" not in str(caught.value)


def test_a_default_that_mlflow_run_passes_does_not_contradict_what_is_varied():
    settings = ComparisonSettings(suite="architectures", seeds=1)
    found = configurations.resolve_configurations(
        configurations.list_configurations(settings), settings, {"model": Config.model}
    )
    assert [one[0].config.model for one in found.values()] == list(found)


def test_seeds_vary_the_seed_and_the_data_when_asked_to():
    for vary_data, wanted in ((False, [5, 5]), (True, [5, 6])):
        settings = ComparisonSettings(vary="lr=0.1|0.2", seeds=2, vary_data=vary_data)
        found = configurations.resolve_configurations(
            configurations.list_configurations(settings), settings, {"seed": "3", "data_seed": "5"}
        )
        for runs in found.values():
            assert [run.config.seed for run in runs] == [3, 4]
            assert [run.config.data_seed for run in runs] == wanted


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_resolves_and_its_configurations_differ(name):
    settings = ComparisonSettings(suite=name, seeds=1)
    found = configurations.resolve_configurations(
        configurations.list_configurations(settings), settings, {"dataset": "cifar10"}
    )
    assert len(found) == len(SUITES[name].configurations) >= 3


def test_the_weights_of_a_suite_are_those_that_are_given_and_scratch_has_none():
    settings = ComparisonSettings(suite="transfer", seeds=1)
    found = configurations.resolve_configurations(
        configurations.list_configurations(settings),
        settings,
        {"dataset": "digits", "weights": "runs:/abc"},
    )
    weights = {label: runs[0].config.weights for label, runs in found.items()}
    assert weights == dict.fromkeys(found, "runs:/abc") | {"scratch": "none"}
    by_itself = configurations.resolve_configurations(
        configurations.list_configurations(settings), settings, {}
    )
    assert by_itself["head only"][0].config.weights == "imagenet"
    with pytest.raises(ValueError, match="freeze=head_only is given for all"):
        configurations.resolve_configurations(
            configurations.list_configurations(settings), settings, {"freeze": "head_only"}
        )


def test_optimizers_are_compared_each_at_its_own_usual_lr():
    settings = ComparisonSettings(suite="optimizers", seeds=1)
    found = configurations.resolve_configurations(
        configurations.list_configurations(settings), settings, {"dataset": "digits"}
    )
    rates = {label: runs[0].config.lr for label, runs in found.items()}
    assert rates == {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001}


def test_seeds_are_three_or_those_of_the_suite_unless_they_are_given():
    assert ComparisonSettings().number_of_seeds == 3
    assert ComparisonSettings(suite="losses").number_of_seeds == 3
    assert ComparisonSettings(suite="head_remedies").number_of_seeds == 10
    assert ComparisonSettings(suite="head_remedies", seeds=4).number_of_seeds == 4
