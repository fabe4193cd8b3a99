"""``imbalance-study resume``: an interrupted run goes on."""

from __future__ import annotations

import dataclasses
import sys
from typing import Literal

import click

from imbalance_study.cli import definition
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Store and checkpoints of the run; nothing here changes its result.

    Raises:
        ValueError: A value is of the wrong type.
    """

    tracking_uri: str = option(
        "auto", "Tracking", "MLflow store or server; auto: the one that the run began with."
    )
    tracking: Literal["auto", "online", "offline"] = option(
        "auto", "Tracking", "offline: record on this machine only; auto: as the run began."
    )
    cache_dir: str = option(
        "auto", "Tracking", "The cache_dir of the run; its checkpoints are in runs/<id> there."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@definition.command(Settings)
@click.argument("run")
def command(settings: Settings, run: str) -> None:
    """Go on with a run that was killed, interrupted or failed, from its last complete epoch.

    RUN is its id, or runs:/ID. A training keeps the checkpoints of its last two epochs in runs/ID
    of the cache folder until it is FINISHED. The same run of MLflow goes on; on a CPU the result is
    bit by bit that of an uninterrupted run.
    """
    from imbalance_study.tracking import resume, session

    resume.resume(run, **dataclasses.asdict(settings))
    if status := session.exit_status():
        sys.exit(status)
