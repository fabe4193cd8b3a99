"""``imbalance-study train``: one configuration, trained, evaluated and recorded."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from imbalance_study.cli import definition
from imbalance_study.cli.options import flag
from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.config.schema import Config


@definition.command(config=Config)
@flag("dry_run", "Print the resolved configuration, class counts, steps and costs; train nothing.")
def command(typed: Mapping[str, str], dry_run: str) -> None:
    """Train and evaluate one configuration, and record it in MLflow.

    A SPEC is a name with its options, as in focal:gamma=2 or sgd:momentum=0.9. An option that is
    not given is decided by the recipe, then by the data set, then by the default shown here.
    --dry_run true prints the origin of each value.
    """
    resolved = resolve(typed)
    if dry_run == "true":
        _describe(resolved)
        return
    from imbalance_study.tracking import run, session

    run.train(resolved, run.Recording(started=run.process_start()))
    if status := session.exit_status():
        sys.exit(status)


def _describe(resolved: Resolved) -> None:
    from imbalance_study.experiment.dry_run import describe
    from imbalance_study.tracking import fetch

    config = resolved.config
    with fetch.local_weights([config.weights], config.tracking_uri) as local:
        click.echo(describe(resolved, local))
