"""``imbalance-study report``: a report of an experiment or of a run."""

from __future__ import annotations

from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config import fields
from imbalance_study.studies.report.settings import ReportSettings


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@flag("debug", "Show the traceback of an error.")
def command(debug: str, **values: Any) -> None:
    """Write a report of an experiment or of a run as HTML, Markdown and .docx.

    The report of an experiment says which configuration is best, how sure that is and what it
    costs; its figures and tables are files beside it. It is logged to MLflow, too.
    """
    settings = ReportSettings(**fields.parse_values(ReportSettings, given(values)))
    from imbalance_study.studies.report import docx, write

    folder = write.make_report(settings)
    others = [name for name in ("report.md", "report.docx") if (folder / name).exists()]
    click.echo(f"Report: {folder / 'report.html'}")
    click.echo(f"Also:   {', '.join([*others, 'figures/', 'tables/'])} there")
    if not docx.is_installed():
        click.echo(docx.MISSING)


options(ReportSettings)(command)
