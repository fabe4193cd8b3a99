"""``imbalance-study compare``: configurations x seeds, with statistics."""

from __future__ import annotations

from collections.abc import Mapping

import click

from imbalance_study.cli import definition
from imbalance_study.cli.options import flag
from imbalance_study.config.schema import Config
from imbalance_study.studies.comparison.configurations import ComparisonSettings


@definition.command(ComparisonSettings, Config)
@flag("dry_run", "Check every configuration and print the plan; run nothing.")
def command(settings: ComparisonSettings, common: Mapping[str, str], dry_run: str) -> None:
    """Compare configurations over seeds, with statistics.

    The configurations are a ready --suite, the combinations of the values of --vary, or --recipes;
    every other option is shared by all runs. Finished runs are not repeated: a comparison that was
    stopped goes on with the same command.
    """
    from imbalance_study.studies.comparison.run import compare

    compare(settings, common, dry_run=dry_run == "true", echo=click.echo)
