import dataclasses

import pytest

from imbalance_study.config.fields import option
from imbalance_study.config.identity import identity
from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config

# Options that say where a run is recorded and what is looked at: written out, so that one more is a
# decision and not an accident.
WITHOUT_EFFECT = {
    *("data_dir", "cache_dir", "workers", "analyses", "gradcam_layers", "colormap"),
    *("figure_every", "tracking_uri", "experiment", "run_name", "output_dir", "system_metrics"),
    *("recipe", "tracking"),
}


def test_every_option_changes_the_result_but_those_that_say_where_and_what_is_recorded():
    quiet = {f.name for f in dataclasses.fields(Config) if not f.metadata["changes_result"]}
    assert quiet == WITHOUT_EFFECT


def test_a_new_option_is_part_of_the_identity_unless_it_says_otherwise():
    @dataclasses.dataclass(frozen=True)
    class Extended(Config):
        loud: int = option(0, "Training", "A new one.")
        quiet: int = option(0, "Training", "Another one.", changes_result=False)

    assert identity(Extended(loud=1)) != identity(Extended())
    assert identity(Extended(quiet=1)) == identity(Extended())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"loss": "focal:gamma=1"}, {"loss": "focal: gamma = 1"}),
        ({"imbalance": "step:ratio=5,fraction=0.2"}, {"imbalance": "step:fraction=0.2,ratio=5"}),
        ({"experiment": "a", "run_name": "b"}, {}),
        ({"recipe": "paper_ce"}, {"recipe": "paper_ce", "analyses": "none"}),
    ],
)
def test_what_differs_in_spelling_or_place_alone_is_the_same(one, other):
    assert identity(make(**one)) == identity(make(**other))


@pytest.mark.parametrize(
    "given", [{"seed": 1}, {"loss": "focal"}, {"lr": 0.1}, {"data_seed": 1}, {"max_minutes": 1}]
)
def test_what_changes_a_result_changes_the_identity(given):
    assert identity(make(**given)) != identity(make())
