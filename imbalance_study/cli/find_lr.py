"""``imbalance-study find_lr``: a range test of the learning rate, and nothing else."""

from __future__ import annotations

from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config.resolve import resolve
from imbalance_study.config.schema import Config


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.option(
    "--figure",
    default="lr_range_test.png",
    show_default=True,
    metavar="FILE",
    help="Where the curve is drawn.",
)
@flag("debug", "Show the traceback of an error.")
def command(figure: str, debug: str, **values: Any) -> None:
    """Find a learning rate for a configuration, by a short training at rates that rise.

    Takes the options of imbalance-study train, and records nothing. --lr auto does the same at the
    start of a training.
    """
    config = resolve(given(values) | {"lr": "auto"}).config
    from pathlib import Path

    from imbalance_study.experiment import auto_lr
    from imbalance_study.tracking import fetch

    with fetch.local_weights([config.weights], config.tracking_uri) as local:
        found = auto_lr.find(config, local)
    place = Path(figure).expanduser()
    place.parent.mkdir(parents=True, exist_ok=True)
    auto_lr.figure(found).savefig(place)
    ended = "where the loss exploded" if found.diverged else "at the end of the range"
    click.echo(f"suggested lr: {found.suggestion:g}")
    click.echo(
        f"{len(found.lrs)} steps from {found.lrs[0]:.1e} to {found.lrs[-1]:.1e}, {ended}; the "
        f"curve is in {place.absolute()}"
    )


options(Config)(command)
