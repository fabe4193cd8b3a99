"""Make a report: gather its runs, write it as HTML, Markdown and .docx, log it to MLflow."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from imbalance_study.files import csv_cell
from imbalance_study.studies.comparison import answer, child_runs, interactive
from imbalance_study.studies.report import docx, experiment, frames, html, markdown, run
from imbalance_study.studies.report.document import Figure, Report, Table
from imbalance_study.studies.report.settings import ReportSettings
from imbalance_study.tracking import experiment_page, run_kind, run_names, store

PAGE = "index.html"  # the interactive page
_DOCUMENTS = ("report.html", "report.md", "report.docx", PAGE)
_FOLDERS = (markdown.FIGURES, "tables")


@dataclasses.dataclass(frozen=True)
class _Gathered:
    """A report and its place in MLflow."""

    report: Report
    experiment_id: str
    run: Run | None  # that the report is logged to; None: a run of its own
    answer: dict[str, Any]  # empty for a single run, which is no comparison


def make_report(settings: ReportSettings) -> Path:
    """Make a report as `make_answer`, and return the folder of its files."""
    return make_answer(settings)[0]


def make_answer(
    settings: ReportSettings, *, comparisons_only: bool = False
) -> tuple[Path, dict[str, Any]]:
    """Make a report, write its files, and log them to MLflow.

    Args:
        settings: Subject and place.
        comparisons_only: Refuse a single run, which has no answer.

    Returns:
        The folder of the files, which has no report.docx where python-docx is not installed, and
        the answer for machines (docs/json.md).

    Raises:
        ValueError: There is no such store, experiment or run, nothing to report, or the folder
            cannot be written; no file is written then.
    """
    try:
        client = frames.connect(settings.tracking_uri)
        settings = _with_subject(client, settings)
        out = _output_folder(settings)
        gathered = _gather(client, settings)
        if comparisons_only and not gathered.answer:
            raise ValueError(
                f"run {settings.run} is a single run, and an answer is of a comparison or an "
                "experiment; json=true prints answers alone"
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report_", dir=out.parent) as name:
            draft = Path(name, "report")
            write_files(gathered.report, draft, gathered.answer)
            if settings.log:
                _log(client, draft, gathered)
            _replace_files(draft, out)
    except MlflowException as error:
        raise store.readable_error(error) or error from error
    return out, gathered.answer


def _with_subject(client: MlflowClient, settings: ReportSettings) -> ReportSettings:
    """Replace experiment=auto by the name of the experiment that it stands for."""
    if settings.run not in ("none", "") or settings.experiment not in ("auto", "none", ""):
        return settings
    usual = frames.experiment_of(client, "auto")
    name = usual.experiment_id if usual.name.isdigit() else usual.name
    return dataclasses.replace(settings, experiment=name)


def _output_folder(settings: ReportSettings) -> Path:
    """Choose the folder of the files, and check that it can be written."""
    subject = settings.experiment if settings.run == "none" else settings.run[:8]
    name = f"report_{re.sub(r'[^A-Za-z0-9._-]+', '_', subject)}"
    out = Path(name if settings.out == "auto" else settings.out).expanduser().absolute()
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, and {out} is a file")
    nearest = next(folder for folder in (out, *out.parents) if folder.exists())
    for folder in {nearest, out.parent} if out.exists() else {nearest}:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ValueError(f"out {out} cannot be written: {error.strerror}: {folder}") from error
    return out


def _gather(client: MlflowClient, settings: ReportSettings) -> _Gathered:
    """Read the runs, and build the report of an experiment, a comparison or one training."""
    if settings.run == "none":
        subject = frames.experiment_of(client, settings.experiment)
        runs = frames.runs_of(client, subject)
        if not runs:
            raise ValueError(f"the experiment {subject.name!r} has no runs")
        title = f"Experiment {subject.name}"
        report = _report_of_runs(client, _without_own_run(runs), title, settings)
        about = {"kind": "experiment", "name": title, "experiment": subject.name, "run_id": ""}
        return _Gathered(report, subject.experiment_id, None, _answer(report, about, settings))
    one = frames.run_of(client, settings.run)
    experiment_id = one.info.experiment_id
    if child_runs.COMPARISON not in one.data.tags:
        return _Gathered(run.run_report(client, one), experiment_id, one, {})
    member = child_runs.membership_tag(one.info.run_id)
    place = client.get_experiment(experiment_id)
    compared = [one for one in frames.runs_of(client, place) if member in one.data.tags]
    title = f"Comparison {one.info.run_name}"
    report = _report_of_runs(client, compared, title, settings)
    about = {"kind": "comparison", "name": title, "experiment": place.name}
    about["run_id"] = one.info.run_id
    return _Gathered(report, experiment_id, one, _answer(report, about, settings))


def _answer(report: Report, about: dict[str, str], settings: ReportSettings) -> dict[str, Any]:
    uri = store.without_password(mlflow.get_tracking_uri())
    link = ""
    if uri.startswith("http") and about["run_id"]:
        link = f"{uri.rstrip('/')}/#/runs/{about['run_id']}"
    parts = [part["answer"] for part in report.parts]
    return answer.document({**about, "link": link}, parts, [_command(settings)])


def _report_of_runs(
    client: MlflowClient, runs: Sequence[Run], title: str, settings: ReportSettings
) -> Report:
    return experiment.experiment_report(
        client,
        runs,
        title,
        baseline=settings.baseline,
        metric=settings.metric,
        command=_command(settings),
        price_per_kwh=settings.price_per_kwh,
    )


def _command(settings: ReportSettings) -> str:
    """The command that makes the report again."""
    words = [
        word
        for name in ("experiment", "run", "baseline", "metric", "price_per_kwh")
        for word in (f"--{name}", str(getattr(settings, name)))
        if getattr(settings, name) != getattr(ReportSettings, name)
    ]
    return shlex.join(["imbalance-study", "report", *words])


def _without_own_run(runs: Sequence[Run]) -> list[Run]:
    """Leave out the run of ``mlflow run`` that makes this report."""
    return [one for one in runs if one.info.run_id != os.environ.get("MLFLOW_RUN_ID")]


def write_files(report: Report, folder: Path, found: Mapping[str, Any] | None = None) -> None:
    """Write all files of a report.

    Args:
        report: The report.
        folder: A new folder. It gets report.html and report.md, report.docx where python-docx is
            installed, the figures and tables as files, and index.html, the interactive page, where
            the report compares runs.
        found: The answer of a report that compares runs.
    """
    for name in ("", *_FOLDERS):
        (folder / name).mkdir(parents=True)
    _number_equal_names(report)
    (folder / "report.html").write_text(html.page(report), encoding="utf-8")
    (folder / "report.md").write_text(markdown.text(report), encoding="utf-8")
    if docx.is_installed():
        docx.write(report, folder / "report.docx")
    if found:
        parts = [
            {**part, "answer": plain}
            for part, plain in zip(report.parts, found["parts"], strict=True)
        ]
        page = interactive.page(report.title, interactive.details(found), parts)
        (folder / PAGE).write_text(page, encoding="utf-8")
    for figure in report.all(Figure):
        (folder / markdown.FIGURES / f"{figure.name}.png").write_bytes(figure.content)
    for table in report.all(Table):
        with (folder / "tables" / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as f:
            writer = csv.writer(f)
            writer.writerow(map(csv_cell, table.full))
            rows = zip(*table.full.values(), strict=True)
            writer.writerows(map(csv_cell, row) for row in rows)


def _number_equal_names(report: Report) -> None:
    """Number figures and tables of one name: parts on several data sets have the same ones."""
    seen: dict[tuple[type, str], int] = {}
    for section in report.sections:
        for place, block in enumerate(section.blocks):
            if isinstance(block, Figure | Table):
                key = type(block), block.name
                seen[key] = seen.get(key, 0) + 1
                if seen[key] > 1:
                    name = f"{block.name}_{seen[key]}"
                    section.blocks[place] = dataclasses.replace(block, name=name)


def _log(client: MlflowClient, folder: Path, gathered: _Gathered) -> None:
    """Log to the run itself, else to the run of ``mlflow run``, else to a new run."""
    title = gathered.report.title
    joined = os.environ.get("MLFLOW_RUN_ID")
    if joined:
        client.set_tag(joined, frames.REPORT, title)
        client.set_tag(joined, run_kind.KIND, run_kind.REPORT)
        if run_names.is_made_up(str(client.get_run(joined).info.run_name)):
            client.update_run(joined, name=f"report of {title}")
    existing = joined if gathered.run is None else gathered.run.info.run_id
    if existing:
        client.log_artifacts(existing, str(folder), "report")
        experiment_page.write(client, gathered.experiment_id)
        return
    tags = {frames.REPORT: title, run_kind.KIND: run_kind.REPORT}
    new = client.create_run(gathered.experiment_id, tags=tags, run_name=f"report of {title}")
    try:
        client.log_artifacts(new.info.run_id, str(folder), "report")
    except BaseException:
        client.set_terminated(new.info.run_id, "FAILED")
        raise
    client.set_terminated(new.info.run_id)
    experiment_page.write(client, gathered.experiment_id)


def _replace_files(draft: Path, out: Path) -> None:
    """Move finished files to their folder, in place of those of an earlier report."""
    out.mkdir(exist_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
        os.replace(draft / name, out / name)
    for name in _DOCUMENTS:
        if (draft / name).exists():
            os.replace(draft / name, out / name)
        else:
            (out / name).unlink(missing_ok=True)
