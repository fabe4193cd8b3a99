"""``imbalance-study find_lr``: a range test of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from imbalance_study.cli import definition
from imbalance_study.config.resolve import resolve
from imbalance_study.config.schema import Config


@definition.command(config=Config)
@click.option(
    "--figure",
    default="lr_range_test.png",
    show_default=True,
    metavar="FILE",
    help="File of the curve, PNG.",
)
def command(typed: Mapping[str, str], figure: str) -> None:
    """Find a learning rate for a configuration, by a short training at rising rates.

    Takes the options of imbalance-study train, and records nothing. --lr auto does the same at the
    start of a training.
    """
    config = resolve({**typed, "lr": "auto"}).config
    from imbalance_study.experiment import auto_lr
    from imbalance_study.tracking import fetch

    with fetch.local_weights([config.weights], config.tracking_uri) as local:
        found = auto_lr.find(config, local)
    path = Path(figure).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    auto_lr.figure(found).savefig(path)
    end = "where the loss exploded" if found.diverged else "at the end of the range"
    click.echo(f"suggested lr: {found.suggestion:g}")
    click.echo(
        f"{len(found.lrs)} steps from {found.lrs[0]:.1e} to {found.lrs[-1]:.1e}, {end}; the curve "
        f"is in {path.absolute()}"
    )
