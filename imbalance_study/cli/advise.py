"""``imbalance-study advise``: which remedy, how sure, at what cost, on one's own images."""

from __future__ import annotations

from collections.abc import Mapping

import click

from imbalance_study.cli import definition
from imbalance_study.cli.options import flag
from imbalance_study.config.schema import Config
from imbalance_study.studies.advise.settings import OF_RUNS, AdviceSettings


@definition.command(AdviceSettings, Config, only=OF_RUNS)
@flag("json", "Print the advice as JSON in place of the verdict.")
def command(settings: AdviceSettings, typed: Mapping[str, str], json: str) -> None:
    """Advise on your own images: which remedy, how sure, at what cost, and what to do next.

    Remedies are tried on frozen features, over repeated splits of the images. The verdict is
    printed; advice.html has it with figures and tables. Ctrl-C after five repeats gives an early
    answer, and the same command goes on.
    """
    from imbalance_study.studies.advise import files, run
    from imbalance_study.studies.advise.bar import Bar

    advice = run.run(settings, typed, progress=Bar(settings.minutes))
    if json == "true":
        click.echo(files.text(advice))
        return
    click.echo("")
    for sentence in advice.verdict:
        click.echo(sentence)
    click.echo("")
    for line in advice.next.commands:
        click.echo(f"  {line}")
    click.echo("")
    click.echo(f"Page:   {advice.folder}/advice.html")
    click.echo("Also:   advice.md, advice.json, figures/, tables/ there")
    for line in advice.links:
        click.echo(line)
