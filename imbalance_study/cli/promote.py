"""``imbalance-study promote``: the model of a run becomes a version in the registry."""

from __future__ import annotations

import dataclasses

import click

from imbalance_study.cli import definition
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Name and alias of the promoted model.

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
        "auto",
        "Registry",
        "Store of the run; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
    )

    def __post_init__(self) -> None:
        fields.check(self)


@definition.command(Settings)
@click.argument("run")
def command(settings: Settings, run: str) -> None:
    """Register the model of RUN, with its metrics and a model card, and set its alias.

    imbalance-study promote RUN_ID --name flowers_classifier --alias champion

    The command prints the previous version of the alias, and compares both on the test set.
    """
    from imbalance_study.tracking import registry

    for line in registry.promote(run, settings.name, settings.alias, settings.tracking_uri):
        click.echo(line)
