import dataclasses

import click
import pytest
from click.testing import CliRunner

from imbalance_study.cli import definition
from imbalance_study.cli.options import flag
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    count: int = option(3, "Own", "How many.", minimum=1)
    name: str = option("x", "Own", "A name.")

    def __post_init__(self) -> None:
        fields.check(self)


@dataclasses.dataclass(frozen=True)
class Run:
    name: str = option("y", "Run", "Another name.")
    rate: float = option(0.1, "Run", "A rate.")


def _invoke(command, *words):
    result = CliRunner().invoke(command, words, catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0, result.output
    return result.return_value


def test_the_function_gets_settings_typed_options_arguments_and_flags():
    seen = []

    @definition.command(Settings, Run)
    @click.argument("file")
    @flag("dry_run", "Do nothing.")
    def command(settings, given, file, dry_run):
        seen.append((settings, dict(given), file, dry_run))

    _invoke(command, "a.txt", "--count=5", "--rate", "1e-3", "--dry_run")
    assert seen == [(Settings(count=5), {"rate": "1e-3"}, "a.txt", "true")]


def test_an_option_of_both_belongs_to_the_settings():
    seen = []

    @definition.command(Settings, Run)
    def command(settings, given):
        seen.append((settings.name, dict(given)))

    _invoke(command, "--name", "mine")
    assert seen == [("mine", {})]
    assert [parameter.name for parameter in command.params].count("name") == 1


def test_a_wrong_value_is_an_error_of_the_settings():
    @definition.command(Settings)
    def command(settings):
        raise AssertionError

    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        _invoke(command, "--count", "0")
    with pytest.raises(ValueError, match="count must be"):
        _invoke(command, "--count", "many")


def test_every_command_has_debug_and_groups_on_its_help_page():
    @definition.command(Settings, Run)
    def command(settings, given):
        """Do something."""

    page = CliRunner().invoke(command, ["--help"]).output
    assert "Do something." in page
    assert page.index("Other:") < page.index("Own:") < page.index("Run:")
    assert "--debug" in page

    @definition.command()
    def bare():
        """Do nothing."""

    assert "--debug" in CliRunner().invoke(bare, ["-h"]).output
    _invoke(bare, "--debug", "true")
