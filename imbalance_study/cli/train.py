"""``imbalance-study train``: one configuration, trained, evaluated and recorded."""

from __future__ import annotations

from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.config.schema import Config


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@flag("dry_run", "Print the resolved configuration, class counts, steps and costs; train nothing.")
@flag("debug", "Show the traceback of an error.")
def command(dry_run: str, debug: str, **values: Any) -> None:
    """Train and evaluate one configuration, and record it in MLflow.

    A SPEC is a name with its options, as in focal:gamma=2 or sgd:momentum=0.9. What is not given is
    decided by the recipe, then by the data set, then by the default shown here. --dry_run true
    prints who decided what.
    """
    resolved = resolve(given(values))
    if dry_run == "true":
        _describe(resolved)
        return
    from imbalance_study.tracking import run

    run.train(resolved, started=run.process_start())


def _describe(resolved: Resolved) -> None:
    from imbalance_study.experiment.dry_run import describe
    from imbalance_study.tracking import fetch

    config = resolved.config
    with fetch.local_weights([config.weights], config.tracking_uri) as local:
        click.echo(describe(resolved, local))


options(Config)(command)
