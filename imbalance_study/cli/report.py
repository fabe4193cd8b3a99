"""``imbalance-study report``: a report of an experiment or of a run."""

from __future__ import annotations

import click

from imbalance_study.cli import definition
from imbalance_study.studies.report.settings import ReportSettings


@definition.command(ReportSettings)
def command(settings: ReportSettings) -> None:
    """Write a report of an experiment or of a run as HTML, Markdown and .docx.

    The report of an experiment says which configuration is best, how sure that is and what it
    costs; its figures and tables are files beside it. It is logged to MLflow, too.
    """
    from imbalance_study.studies.report import docx, write

    folder = write.make_report(settings)
    others = [name for name in ("report.md", "report.docx") if (folder / name).exists()]
    click.echo(f"Report: {folder / 'report.html'}")
    click.echo(f"Also:   {', '.join([*others, 'figures/', 'tables/'])} there")
    if not docx.is_installed():
        click.echo(docx.MISSING)
