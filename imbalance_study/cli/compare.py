"""``imbalance-study compare``: configurations x seeds, with statistics."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from imbalance_study.cli import definition
from imbalance_study.cli.options import flag
from imbalance_study.cli.output import answer_alone
from imbalance_study.config.schema import Config
from imbalance_study.studies.comparison.configurations import ComparisonSettings


@definition.command(ComparisonSettings, Config)
@flag("dry_run", "Check every configuration and print the plan; run nothing.")
@flag("json", "Print the answer as JSON on standard output, and messages on standard error.")
def command(
    settings: ComparisonSettings, common: Mapping[str, str], dry_run: str, json: str
) -> None:
    """Compare configurations over seeds, with statistics.

    The configurations are a ready --suite, the combinations of the values of --vary, or --recipes;
    every other option is shared by all runs. Finished runs are not repeated: a comparison that was
    stopped goes on with the same command.
    """
    from imbalance_study.studies.comparison.run import compare
    from imbalance_study.tracking import session

    if json == dry_run == "true":
        raise ValueError("json=true prints an answer, which dry_run=true has not; take one")
    with answer_alone(json == "true") as print_answer:
        compare(
            settings, common, dry_run=dry_run == "true", echo=click.echo, on_answer=print_answer
        )
    if status := session.exit_status():
        sys.exit(status)
