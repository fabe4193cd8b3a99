"""``imbalance-study reap``: runs marked RUNNING without a process become FAILED."""

from __future__ import annotations

import dataclasses

import click

from imbalance_study.cli import definition
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Store, and the rule by which a run counts as orphaned.

    Raises:
        ValueError: A value is outside its range.
    """

    tracking_uri: str = option(
        "auto",
        "Tracking",
        "MLflow store or server; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
    )
    silence: float = option(
        300.0,
        "Tracking",
        "Seconds without a heartbeat (one every 30 seconds) after which the process of a run on "
        "another machine counts as gone.",
        minimum=60,
    )
    dry_run: bool = option(False, "Tracking", "List the runs, change nothing.")

    def __post_init__(self) -> None:
        fields.check(self)


@definition.command(Settings)
def command(settings: Settings) -> None:
    """Mark runs FAILED that are RUNNING in MLflow although their process is gone.

    On the machine where a run began, the command looks for its process. For other machines, the
    last heartbeat of the run counts.
    """
    from imbalance_study.tracking import orphans

    done = "would be marked FAILED" if settings.dry_run else "marked FAILED"
    runs = orphans.reap(settings.tracking_uri, silence=settings.silence, dry_run=settings.dry_run)
    count = 0
    for count, run in enumerate(runs, 1):  # noqa: B007
        click.echo(f"{run.run_id} ({run.name}, {run.experiment}): {run.reason}; {done}")
    if not count:
        click.echo("No RUNNING run has lost its process.")
