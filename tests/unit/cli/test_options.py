import dataclasses

import click
import pytest
from click.testing import CliRunner

from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config.choice import Choice
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float = option(0.1, "Training", "A rate.")
    ema: bool = option(False, "Training", "An average.")
    loss: str = option(
        "a", "Remedy", "A loss.", choices={"a": Choice("the first"), "bb": Choice("the second")}
    )


@options(Settings)
@click.command(cls=GroupedCommand)
@flag("dry_run", "Do nothing.")
def command(**values):
    """Do something."""


def _values(*words):
    return given(command.make_context("name", list(words)).params)


def test_only_options_that_were_typed_are_given_and_stay_text():
    assert _values("--rate", "1e-3") == {"rate": "1e-3", "dry_run": "false"}
    assert _values() == {"dry_run": "false"}


def test_switches_stand_alone_or_take_a_value():
    assert _values("--ema", "--dry_run") == {"ema": "true", "dry_run": "true"}
    assert _values("--ema", "false", "--dry_run", "false") == {"ema": "false", "dry_run": "false"}


def test_the_help_page_has_groups_defaults_and_a_line_for_each_choice():
    page = CliRunner().invoke(command, ["--help"]).output
    assert page.index("Training:") < page.index("Remedy:")
    text = " ".join(page.split())
    assert "A rate. [default: 0.1]" in text
    assert "An average. [default: false]" in text
    assert "a the first" in text
    assert "bb the second" in text


def test_an_unknown_option_names_the_nearest_known_one():
    with pytest.raises(click.UsageError, match="unknown option 'rte'; did you mean rate"):
        command.make_context("name", ["--rte", "1"])
