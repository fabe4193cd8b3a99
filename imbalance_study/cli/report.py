"""``imbalance-study report``: a report of an experiment or of a run."""

from __future__ import annotations

import click

from imbalance_study.cli import definition
from imbalance_study.cli.options import flag
from imbalance_study.cli.output import answer_alone
from imbalance_study.studies.report.settings import ReportSettings


@definition.command(ReportSettings)
@flag("json", "Print the answer as JSON on standard output, and messages on standard error.")
def command(settings: ReportSettings, json: str) -> None:
    """Write a report of an experiment or of a run as HTML, Markdown and .docx.

    The report of an experiment says which configuration is best, how sure that is and what it
    costs; its figures and tables are files beside it. It is logged to MLflow, too.
    """
    from imbalance_study.studies.report import docx, write

    with answer_alone(json == "true") as print_answer:
        folder, answer = write.make_answer(settings, comparisons_only=json == "true")
        names = (write.PAGE, "report.md", "report.docx")
        others = [name for name in names if (folder / name).exists()]
        click.echo(f"Report: {folder / 'report.html'}")
        click.echo(f"Also:   {', '.join([*others, 'figures/', 'tables/'])} there")
        if not docx.is_installed():
            click.echo(docx.MISSING)
        if json == "true" and not answer:
            raise ValueError(
                "json=true prints the answer of a comparison, and this is a single run"
            )
        print_answer(answer)
