"""``imbalance-study sync``: runs recorded on this machine are uploaded to MLflow."""

from __future__ import annotations

import dataclasses
import sys

import click

from imbalance_study.cli import definition
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Store to upload to, and folder of the journals.

    Raises:
        ValueError: A value is of the wrong type.
    """

    tracking_uri: str = option(
        "auto",
        "Tracking",
        "MLflow store or server; auto: the one that a run was meant for, else as for train.",
    )
    cache_dir: str = option("auto", "Tracking", "The cache_dir that the runs were trained with.")
    salvage: bool = option(
        False, "Tracking", "Upload the sound records of a journal whose file is damaged."
    )
    into: str = option(
        "none",
        "Tracking",
        "Experiment for a new run of each journal whose run the store does not know any more; "
        "auto: the run's own; none: say so and keep the journal.",
    )

    def __post_init__(self) -> None:
        fields.check(self)


@definition.command(Settings)
@click.argument("journal", nargs=-1)
def command(settings: Settings, journal: tuple[str, ...]) -> None:
    """Upload runs that MLflow does not have completely: made offline, or while the server was down.

    JOURNAL is the id that a run printed, or a folder. Without one, all runs of this cache_dir are
    uploaded. Records that were uploaded before are not uploaded again.
    """
    from imbalance_study.tracking.sync import sync

    outcomes = []
    for outcome in sync(journal, **dataclasses.asdict(settings)):
        click.echo(f"{outcome.journal}: {outcome.message}")
        outcomes.append(outcome)
    if not outcomes:
        click.echo("Nothing to upload.")
    if not all(outcome.uploaded for outcome in outcomes):
        sys.exit(1)
