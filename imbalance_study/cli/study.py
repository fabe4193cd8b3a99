"""``imbalance-study study``: a search over losses, samplers and optimizers."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config import fields
from imbalance_study.config.schema import Config
from imbalance_study.studies.search.settings import Settings


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@flag("debug", "Show the traceback of an error.")
def command(debug: str, **values: Any) -> None:
    """Search for the best loss, sampler, optimizer and their options, and record it in MLflow.

    Every trial is a run; the test set is shown to the winner alone. What is given is fixed, the
    rest of each searched group is tried. Stopped at any moment, the same command goes on, and
    started several times, also on several machines, it shares the trials out.
    """
    typed = given(values)
    mine = {field.name for field in dataclasses.fields(Settings)}
    settings = Settings(
        **fields.parse_values(Settings, {name: typed[name] for name in typed if name in mine})
    )
    from imbalance_study.studies.search import run as searching

    searching.run(settings, {name: typed[name] for name in typed if name not in mine})


options(Settings)(command)
_taken = {parameter.name for parameter in command.params}
for _parameter in options(Config)(click.Command("train")).params:
    if _parameter.name not in _taken:
        command.params.append(_parameter)
