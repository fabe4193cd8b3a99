import shlex

import pytest
from made_features import feature_set

from imbalance_study.cli import compare, train
from imbalance_study.cli.options import given
from imbalance_study.config.resolve import make, resolve
from imbalance_study.studies.advise import comparing, next_step
from imbalance_study.studies.comparison.configurations import (
    ComparisonSettings,
    list_configurations,
)

TRIED = {one.name: one for one in comparing.remedies(feature_set([20, 20]))}


@pytest.mark.parametrize("name", TRIED)
def test_every_command_can_be_typed_and_names_the_remedy(name):
    options = {"dataset": "imagefolder", "data_dir": "my images", "epochs": 30}
    found = []
    for command in next_step._commands(options, dict(TRIED[name].options)):
        words = shlex.split(command.removeprefix("for seed in 0 1 2; do ").removesuffix("; done"))
        assert words[0] == "imbalance-study"
        if words[1] == "train":
            assert words[-2:] == ["--seed", "$seed"]
            params = train.command.make_context("train", words[2:-2]).params
            typed = given({key: params[key] for key in params if key not in ("dry_run", "debug")})
            found.append(resolve(typed).config)
            continue
        params = compare.command.make_context("compare", words[2:]).params
        settings = ComparisonSettings(vary=params["vary"], seeds=int(params["seeds"]))
        found += [make(**options | one.options) for one in list_configurations(settings)]
    names = dict.fromkeys(("cross_entropy", name))
    assert found == [make(**options | dict(TRIED[one].options)) for one in names]


def test_smote_on_features_is_not_a_remedy_of_the_whole_network():
    ranked = ["smote on features", "focal", "cross_entropy"]
    assert next_step.of_pixels(ranked, TRIED).name == "focal"
