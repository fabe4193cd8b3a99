"""``imbalance-study resume``: a run that was broken off goes on."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import click

from imbalance_study.cli.options import GroupedCommand, given, options
from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where the run is recorded, and where its checkpoints are: nothing that changes its result.

    Raises:
        ValueError: A value is of the wrong type.
    """

    tracking_uri: str = option(
        "auto", "Tracking", "MLflow store or server; auto: the one that the run began with."
    )
    tracking: Literal["auto", "online", "offline"] = option(
        "auto", "Tracking", "offline: record on this machine alone; auto: as the run began."
    )
    cache_dir: str = option(
        "auto", "Tracking", "The cache_dir of the run: its checkpoints are in runs/<id> there."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.argument("run")
@click.option("--debug", default="false", is_flag=False, flag_value="true", hidden=True)
def command(run: str, debug: str, **values: Any) -> None:
    """Go on with a run that was killed, interrupted or failed, from its last whole epoch.

    RUN is its id, or runs:/ID. A training keeps the checkpoints of its last two epochs in runs/ID
    of the cache folder until it is FINISHED. The same run of MLflow goes on; on a processor its
    result is, bit by bit, that of a run which was never broken off.
    """
    settings = Settings(**fields.parse_values(Settings, given(values)))
    from imbalance_study.tracking import resume

    resume.resume(run, **dataclasses.asdict(settings))


options(Settings)(command)
