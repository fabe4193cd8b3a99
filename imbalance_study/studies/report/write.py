"""A report of an experiment or of a run: one HTML page, Markdown and .docx, logged to MLflow too.

python analysis/report.py --experiment imbalance_study
python analysis/report.py --run RUN_ID --out my_report
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

if not __package__:  # run as a script: the packages are found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run

from imbalance_study.config import fields
from imbalance_study.config.fields import option
from imbalance_study.studies.comparison import child_runs
from imbalance_study.studies.report import (
    docx as docx_report,
)
from imbalance_study.studies.report import (
    experiment as experiment_report,
)
from imbalance_study.studies.report import frames
from imbalance_study.studies.report import (
    html as html_report,
)
from imbalance_study.studies.report import (
    markdown as markdown_report,
)
from imbalance_study.studies.report import (
    run as run_report,
)
from imbalance_study.studies.report.document import Figure, Report, Table
from imbalance_study.tracking import store

_FILES = ("report.html", "report.md", "report.docx")
_FOLDERS = (markdown_report.FIGURES, "tables")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What to report, and where to."""

    experiment: str = option("none", "Report", "Name or id of an experiment.")
    run: str = option("none", "Report", "Id of a run; that of a comparison stands for its runs.")
    out: str = option(
        "auto", "Report", "Folder for the files; auto: report_ and the name or the id, here."
    )
    baseline: str = option(
        "auto", "Report", "Configuration to compare with; auto: plain cross-entropy."
    )
    metric: str = option("test/balanced_accuracy", "Report", "What the claim is made on.")
    tracking_uri: str = option(
        "auto", "Report", "The store; auto: MLFLOW_TRACKING_URI, else ./mlflow.db."
    )
    log: bool = option(True, "Report", "Keep the report in MLflow, too.")

    def __post_init__(self) -> None:
        fields.check(self)
        came = [name for name in ("experiment", "run") if getattr(self, name) in ("none", "")]
        if len(came) != 1:
            both = "none" if came else "both"
            raise ValueError(f"a report is of one of experiment and run, got {both}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see --help")


def parse(words: Sequence[str]) -> Asked:
    """The command line.

    Raises:
        ValueError: An unknown option, a wrong value, both or none of experiment and run.
    """
    about = (__doc__ or "").splitlines()[0]
    parser = _Parser(prog="analysis/report.py", description=about, allow_abbrev=False)
    for field in dataclasses.fields(Asked):
        text = f"{field.metadata['help']} [default: {field.default}]"
        parser.add_argument(f"--{field.name}", help=text)
    typed = {name: value for name, value in vars(parser.parse_args(words)).items() if value}
    return Asked(**fields.parse_values(Asked, typed))


def make(asked: Asked) -> Path:
    """Make a report, write its files, and keep them in MLflow.

    Returns:
        The folder of the files.

    Raises:
        ValueError: There is no such store, experiment or run, nothing to report, or no place for
            the files; nothing is written then.
    """
    client = frames.connect(asked.tracking_uri)
    out = _folder(asked)
    report, experiment_id, run = _gather(client, asked)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".report_", dir=out.parent) as name:
        made = Path(name, "report")
        write(report, made)
        if asked.log:
            _log(client, made, experiment_id, run, report.title)
        _move(made, out)
    return out


def _folder(asked: Asked) -> Path:
    """Where the files will go; refused here where they could not."""
    what = asked.experiment if asked.run == "none" else asked.run[:8]
    name = f"report_{re.sub(r'[^A-Za-z0-9._-]+', '_', what)}"
    out = Path(name if asked.out == "auto" else asked.out).expanduser().absolute()
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, and {out} is a file")
    above = next(one for one in (out, *out.parents) if one.exists())
    places = {above, out.parent} if out.exists() else {above}
    for place in places:
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            raise ValueError(f"out {out} cannot be written: {error.strerror}: {place}") from error
    return out


def _gather(client: MlflowClient, asked: Asked) -> tuple[Report, str, Run | None]:
    """The report, the experiment it belongs to, and the run if it is of one training."""
    again = [
        word
        for name in ("experiment", "run", "baseline", "metric")
        for word in (f"--{name}", str(getattr(asked, name)))
        if getattr(asked, name) != getattr(Asked, name)
    ]
    settings: dict[str, Any] = {
        "baseline": asked.baseline,
        "metric": asked.metric,
        "repeated": shlex.join(["python", "analysis/report.py", *again]),
    }
    if asked.run == "none":
        experiment = frames.experiment_of(client, asked.experiment)
        found = frames.runs_of(client, experiment)
        if not found:
            raise ValueError(f"the experiment {experiment.name!r} has no runs")
        title = f"Experiment {experiment.name}"
        made = experiment_report.report(client, _others(found), title, **settings)
        return made, experiment.experiment_id, None
    run = frames.run_of(client, asked.run)
    if child_runs.COMPARISON not in run.data.tags:
        return run_report.report(client, run), run.info.experiment_id, run
    experiment = client.get_experiment(run.info.experiment_id)
    member = child_runs.membership(run.info.run_id)
    found = [one for one in frames.runs_of(client, experiment) if member in one.data.tags]
    title = f"Comparison {run.info.run_name}"
    return experiment_report.report(client, found, title, **settings), experiment.experiment_id, run


def _others(runs: Sequence[Run]) -> list[Run]:
    """Without the run of ``mlflow run`` that this is."""
    return [run for run in runs if run.info.run_id != os.environ.get("MLFLOW_RUN_ID")]


def write(report: Report, folder: Path) -> None:
    """Write all files of a report.

    Args:
        report: The report.
        folder: Is made; gets report.html, .md and .docx, and the figures and tables as files.
    """
    for name in ("", *_FOLDERS):
        (folder / name).mkdir(parents=True)
    _distinct(report)
    (folder / "report.html").write_text(html_report.page(report), encoding="utf-8")
    (folder / "report.md").write_text(markdown_report.text(report), encoding="utf-8")
    docx_report.write(report, folder / "report.docx")
    for figure in report.all(Figure):
        (folder / markdown_report.FIGURES / f"{figure.name}.png").write_bytes(figure.content)
    for table in report.all(Table):
        with (folder / "tables" / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as f:
            writer = csv.writer(f)
            writer.writerow(table.full)
            writer.writerows(zip(*table.full.values(), strict=True))


def _distinct(report: Report) -> None:
    """Number the files of the same name: parts on several data sets have the same tables."""
    seen: dict[tuple[type, str], int] = {}
    for section in report.sections:
        for number, block in enumerate(section.blocks):
            if isinstance(block, Figure | Table):
                key = type(block), block.name
                seen[key] = seen.get(key, 0) + 1
                if seen[key] > 1:
                    name = f"{block.name}_{seen[key]}"
                    section.blocks[number] = dataclasses.replace(block, name=name)


def _log(
    client: MlflowClient, folder: Path, experiment_id: str, run: Run | None, title: str
) -> None:
    """To the run itself; that of an experiment to the run of ``mlflow run``, else to a new one."""
    joined = os.environ.get("MLFLOW_RUN_ID")
    if joined:
        client.set_tag(joined, frames.REPORT, title)
    if run is not None:
        client.log_artifacts(run.info.run_id, str(folder), "report")
        return
    if joined:
        client.log_artifacts(joined, str(folder), "report")
        return
    name = f"report of {title}"
    new = client.create_run(experiment_id, tags={frames.REPORT: title}, run_name=name)
    try:
        client.log_artifacts(new.info.run_id, str(folder), "report")
    except BaseException:
        client.set_terminated(new.info.run_id, "FAILED")
        raise
    client.set_terminated(new.info.run_id)


def _move(made: Path, out: Path) -> None:
    """Put the finished files in their place; older ones of a report give way."""
    out.mkdir(exist_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (*_FOLDERS, *_FILES):
        os.replace(made / name, out / name)


def main(words: Sequence[str] | None = None) -> None:
    """Make the report that the command line asks for, and say where it is."""
    try:
        out = make(parse(sys.argv[1:] if words is None else words))
    except mlflow.MlflowException as error:
        raise store.problem(error) or error from error
    print(f"Report: {out / 'report.html'}\nAlso:   report.md, report.docx, figures/, tables/ there")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as problem:
        sys.exit(f"Error: {' '.join(str(problem).split())}")
