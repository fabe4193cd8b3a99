"""``imbalance-study compare``: configurations x seeds, and what they say together."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config import fields
from imbalance_study.config.schema import Config
from imbalance_study.studies.comparison.configurations import ComparisonSettings


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@flag("dry_run", "Check every configuration and print the plan; run nothing.")
@flag("debug", "Show the traceback of an error.")
def command(dry_run: str, debug: str, **values: Any) -> None:
    """Compare configurations over seeds, with statistics.

    What is compared is a ready --suite, the combinations that --vary spans, or --recipes; every
    other option is shared by all runs. Finished runs are not run again: the same command goes on
    where it was stopped.
    """
    typed = given(values)
    names = {field.name for field in dataclasses.fields(ComparisonSettings)}
    asked = {name: value for name, value in typed.items() if name in names}
    settings = ComparisonSettings(**fields.parse_values(ComparisonSettings, asked))
    common = {name: value for name, value in typed.items() if name not in names}
    from imbalance_study.studies.comparison.run import compare

    compare(settings, common, dry_run=dry_run == "true", echo=click.echo)


options(ComparisonSettings)(command)
options(Config)(command)
