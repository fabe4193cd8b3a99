"""``imbalance-study promote``: a run's model becomes a version in the registry."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Which run becomes which model.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    name: str = option(
        "auto", "Registry", "Name of the model in the registry; auto: <dataset>_classifier."
    )
    alias: str = option(
        "champion", "Registry", "Alias that is set to the new version, as in models:/NAME@champion."
    )
    tracking_uri: str = option(
        "auto", "Registry", "Where the run is; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.argument("run")
@flag("debug", "Show the traceback of an error.")
def command(run: str, debug: str, **values: Any) -> None:
    """Register the model of RUN, with its metrics and a model card, and set its alias.

    imbalance-study promote RUN_ID --name flowers_classifier --alias champion

    Says what the alias stood for before, and how the two compare on the test set.
    """
    settings = Settings(**fields.parse_values(Settings, given(values)))
    from imbalance_study.tracking import registry

    lines = registry.promote(run, settings.name, settings.alias, settings.tracking_uri)
    for line in lines:
        click.echo(line)


options(Settings)(command)
