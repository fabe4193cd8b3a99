"""``imbalance-study reap``: runs that say RUNNING although nobody runs them."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, given, options
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where ghosts are looked for, and what becomes of them.

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
        "Seconds without a sign of life (there is one every 30) after which a process that cannot "
        "be looked for from here counts as gone.",
        minimum=60,
    )
    dry_run: bool = option(False, "Tracking", "List them, change nothing.")

    def __post_init__(self) -> None:
        fields.check(self)


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.option("--debug", default="false", is_flag=False, flag_value="true", hidden=True)
def command(debug: str, **values: Any) -> None:
    """Mark runs FAILED that say RUNNING and whose process is gone.

    On the machine where a run began its process is looked for; of other machines, the last sign of
    life counts.
    """
    settings = Settings(**fields.parse_values(Settings, given(values)))
    from imbalance_study.tracking import orphans

    ghosts = orphans.reap(settings.tracking_uri, silence=settings.silence, dry_run=settings.dry_run)
    count = 0
    for count, ghost in enumerate(ghosts, 1):  # noqa: B007
        done = "would be marked FAILED" if settings.dry_run else "marked FAILED"
        click.echo(f"{ghost.run_id} ({ghost.name}, {ghost.experiment}): {ghost.why}; {done}")
    if not count:
        click.echo("No run says RUNNING whose process is gone.")


options(Settings)(command)
