"""``imbalance-study sync``: what MLflow was not told yet."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, given, options
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Which journals go where.

    Raises:
        ValueError: A value is of the wrong type.
    """

    tracking_uri: str = option(
        "auto",
        "Tracking",
        "MLflow store or server; auto: the one that a run was meant for, else as for train.",
    )
    cache_dir: str = option(
        "auto", "Tracking", "Folder where the runs were trained with this cache_dir."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.argument("journal", nargs=-1)
@click.option("--debug", default="false", is_flag=False, flag_value="true", hidden=True)
def command(journal: tuple[str, ...], debug: str, **values: Any) -> None:
    """Upload what MLflow was not told yet: runs made offline, or whose server was down.

    JOURNAL is the id that a run printed, or a folder; without one, all runs on this machine that
    were trained with this cache_dir are uploaded. What is uploaded already is not uploaded twice.
    """
    settings = Settings(**fields.parse_values(Settings, given(values)))
    from imbalance_study.tracking import sync

    count, failed = 0, 0
    for outcome in sync.sync(
        journal, tracking_uri=settings.tracking_uri, cache_dir=settings.cache_dir
    ):
        click.echo(f"{outcome.journal}: {outcome.line}")
        count, failed = count + 1, failed + (not outcome.uploaded)
    if not count:
        click.echo("Nothing to upload.")
    if failed:
        sys.exit(1)


options(Settings)(command)
