"""Reports of a real store: all numbers from there, all names escaped, mistakes in one line."""

import json
import re
import runpy
import sys
from pathlib import Path

import docx
import jsonschema
import pandas as pd
import pyarrow.parquet as parquet
import pytest
from html_page import Page
from mlflow.entities import Metric, Param

from imbalance_study import cli
from imbalance_study.studies.report import document, experiment, frames, write
from imbalance_study.studies.report.document import Figure, Paragraph
from imbalance_study.studies.report.settings import ReportSettings

ROOT = Path(__file__).parents[3]
PLANTED = "<script>alert('x')</script> | *rare* & \"quoted\""


@pytest.fixture(scope="session")
def compared(small, tmp_path_factory):
    """The folder of the report of the experiment."""
    out = tmp_path_factory.mktemp("compared") / "made" / "report"
    asked = {"experiment": "Default", "tracking_uri": small.uri, "out": str(out)}
    assert write.make_report(ReportSettings(**asked)) == out
    return out


@pytest.fixture(scope="session")
def single(small, tmp_path_factory):
    """The folder of the report of a run."""
    out = tmp_path_factory.mktemp("single") / "report"
    return write.make_report(ReportSettings(run=small.single, tracking_uri=small.uri, out=str(out)))


def _word_text(path):
    file = docx.Document(str(path))
    cells = [c.text for t in file.tables for row in t.rows for c in row.cells]
    return " ".join([*(p.text for p in file.paragraphs), *cells])


@pytest.mark.parametrize("made", [pytest.param("compared", marks=pytest.mark.slow), "single"])
def test_the_page_is_whole_needs_nothing_else_and_runs_no_script(made, request):
    text = (request.getfixturevalue(made) / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,|#)", text)
    assert page.images
    assert all(image["alt"] for image in page.images)
    assert page.tags.count("figcaption") == page.tags.count("figure")
    assert 'name="viewport"' in text
    assert "@media print" in text


def test_a_name_that_is_markup_is_shown_as_it_is(compared, single):
    for folder in (compared, single):
        text = (folder / "report.html").read_text()
        assert "<script" not in text
        assert PLANTED in Page(text).text
        assert "<script" not in (folder / "report.md").read_text().replace("\\<", "")
        assert PLANTED in _word_text(folder / "report.docx")


def test_the_numbers_are_those_of_the_store(small, compared):
    page = Page((compared / "report.html").read_text()).text
    word = _word_text(compared / "report.docx")
    markdown = (compared / "report.md").read_text()
    for run in small.runs:
        value = f"{run.data.metrics['test/balanced_accuracy']:.4f}"
        for text in (page, word, markdown):
            assert value in text
    for loss in ("focal", "cross_entropy"):
        values = [
            run.data.metrics["test/balanced_accuracy"]
            for run in small.runs
            if run.data.params["loss"] == loss
        ]
        assert f"{sum(values) / 3:.4f}" in page
    frame = pd.read_csv(compared / "tables" / "per_seed.csv").set_index("run_id")
    for run in small.runs:
        assert frame.loc[run.info.run_id, "macro_f1"] == run.data.metrics["test/macro_f1"]


def test_the_report_begins_with_the_verdict_the_date_and_the_version(compared):
    text = Page((compared / "report.html").read_text()).text
    start = text[text.index("The answer", text.index("How to repeat it")) :]
    assert re.match(
        r"The answer [^.]+(\.\d+[^.]*)*\. Made 2\d{3}-\d\d-\d\d .* by imbalance-study", start
    )
    assert "cross_entropy" in start[:200]


def test_the_interactive_page_stands_beside_the_report(small, compared):
    text = (compared / "index.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    (part,) = data["parts"]
    runs = [run for one in part["answer"]["configurations"] for run in one["runs"]]
    assert {run["run_id"] for run in runs} == {run.info.run_id for run in small.runs}
    assert part["answer"]["baseline"] == "cross_entropy"
    assert {"train/loss", "val/balanced_accuracy"} <= part["curves"].keys()
    assert len(part["confusion"]["matrices"]) == 2


@pytest.mark.slow
def test_the_answer_for_machines_is_alone_on_standard_output(small, tmp_path, command):
    words = ["--run", small.parent, "--tracking_uri", small.uri, "--log", "false"]
    done = command("report", *words, "--out", tmp_path / "made", "--json", "true")
    found = json.loads(done.out)
    jsonschema.validate(found, json.loads((ROOT / "docs" / "answer.schema.json").read_text()))
    assert found["subject"]["run_id"] == small.parent
    assert found["commands"] == [f"imbalance-study report --run {small.parent}"]
    assert "Report: " in done.err


def test_a_single_run_has_no_answer(small, tmp_path, command):
    words = ["--run", small.single, "--tracking_uri", small.uri, "--out", tmp_path / "made"]
    done = command("report", *words, "--json")
    assert done.status == 1
    assert done.out == ""
    assert "is a single run" in done.err
    assert not list(tmp_path.iterdir())


def test_cross_entropy_is_the_baseline_though_it_was_not_first(compared):
    text = Page((compared / "report.html").read_text()).text
    assert "against cross_entropy, the baseline" in text


def test_a_report_answers_the_five_questions(small, compared):
    text = Page((compared / "report.html").read_text()).text
    headings = ("Which remedy", "How sure", "At what cost", "Where", "How to repeat it")
    assert all(heading in text for heading in headings)
    assert "Choosing is done on validation, reporting on the test set" in text
    assert "imbalance-study compare --vary" in text
    assert "imbalance-study report --experiment Default" in text
    assert small.runs[0].data.tags["data_fingerprint"] in text
    assert "Seeds: 0, 1, 2." in text
    assert "torch" in text


def test_what_is_not_finished_is_counted_and_named(compared):
    text = Page((compared / "report.html").read_text()).text
    assert f"1 FAILED: {PLANTED} failed" in text
    assert "1 RUNNING: still at it" in text
    assert "6 finished training runs" in text


def test_the_report_of_an_experiment_is_a_run_that_no_table_shows(small, compared):
    experiment = small.client.get_experiment(small.experiment_id)
    runs = small.client.search_runs([small.experiment_id], "tags.report LIKE '%'")
    assert len(runs) == 1
    assert runs[0].info.status == "FINISHED"
    names = {entry.path for entry in small.client.list_artifacts(runs[0].info.run_id, "report")}
    assert {"report/report.html", "report/report.md", "report/report.docx"} <= names
    shown = frames.runs_of(small.client, experiment)
    assert runs[0].info.run_id not in [run.info.run_id for run in shown]


def test_the_report_of_a_run_stands_in_the_run_with_curves_drawn_from_its_metrics(small, single):
    names = {entry.path for entry in small.client.list_artifacts(small.single, "report")}
    assert "report/report.html" in names
    text = Page((single / "report.html").read_text()).text
    run = small.client.get_run(small.single)
    for name in ("test/balanced_accuracy", "test/macro_f1", "test_calibration/ece"):
        assert document.cell(run.data.metrics[name]) in text
    for title in ("Configuration", "Training", "Where it fails", "Calibration"):
        assert title in text
    assert "imbalance-study train --dataset digits" in text
    assert re.search(r"loss cross_entropy default", text)
    assert re.search(r"epochs 2 given", text)
    shown = {path.stem for path in (single / "figures").iterdir()}
    assert {"training_curves", "confusion_matrix", "calibration"} <= shown


def test_a_run_without_pictures_gets_its_curves(small, tmp_path):
    out = tmp_path / "report"
    run_id = small.runs[0].info.run_id  # brief: it drew none
    write.make_report(ReportSettings(run=run_id, tracking_uri=small.uri, out=str(out), log=False))
    assert (out / "figures" / "training_curves.png").exists()


@pytest.mark.slow
def test_the_id_of_a_comparison_stands_for_its_runs(small, tmp_path):
    out = tmp_path / "report"
    asked = ReportSettings(run=small.parent, tracking_uri=small.uri, out=str(out), baseline="focal")
    write.make_report(asked)
    text = Page((out / "report.html").read_text()).text
    assert "6 finished training runs" in text
    assert "against focal, the baseline" in text
    names = {entry.path for entry in small.client.list_artifacts(small.parent, "report")}
    assert "report/report.html" in names


@pytest.mark.slow
def test_runs_on_other_data_get_a_part_of_their_own(small, tmp_path):
    client = small.client
    single = client.get_run(small.single)
    made = _report(client, [*small.runs, single])
    assert [one.title for one in made.sections if one.level == 2].count("Which remedy") == 1
    made = _report(client, [*small.runs, _of_other_classes(client, single, tmp_path)])
    titles = [one.title for one in made.sections]
    assert titles.count("Data set digits") == 2
    assert titles.count("Which remedy") == 2
    assert any("2 data sets" in one.text for one in made.all(Paragraph))
    names = [figure.name for figure in made.all(Figure)]
    assert len(set(names)) < len(names)  # numbered when they become files
    summary = [one for one in made.all(document.Table) if one.name == "summary"]
    assert [one.rows for one in summary] == [2, 1]


def _report(client, runs):
    settings = {"baseline": "auto", "metric": "test/balanced_accuracy", "command": "again"}
    return experiment.experiment_report(client, runs, "all", **settings)


def _of_other_classes(client, run, folder):
    """A copy of a run as if it were of other data: a class has another name."""
    files = folder / "files"
    files.mkdir()
    client.download_artifacts(run.info.run_id, "", str(files))
    content = json.loads((files / "config.json").read_text())
    content["resolved"]["class_names"][0] = PLANTED
    (files / "config.json").write_text(json.dumps(content))
    predictions = files / "predictions" / "test.parquet"
    frame = parquet.read_table(predictions)
    names = [f"p_{PLANTED}" if name == "p_0" else name for name in frame.column_names]
    parquet.write_table(frame.rename_columns(names), predictions)
    place = client.create_experiment("other data", artifact_location=(folder / "copy").as_uri())
    copy = client.create_run(place, run.info.start_time, run.data.tags, run.info.run_name)
    metrics = [Metric(name, value, 0, 0) for name, value in run.data.metrics.items()]
    params = [Param(name, value) for name, value in run.data.params.items()]
    client.log_batch(copy.info.run_id, metrics, params)
    client.log_artifacts(copy.info.run_id, str(files))
    client.set_terminated(copy.info.run_id, end_time=run.info.end_time)
    return client.get_run(copy.info.run_id)


MISTAKES = {
    "both": (["--experiment", "a", "--run", "b"], "either experiment or run, got both"),
    "an option": (["--experiment", "a", "--colour", "red"], "unknown option 'colour'"),
    "no experiment": (["--experiment", "nothing"], "unknown experiment 'nothing'"),
    "no runs": (["--experiment", "empty"], "the experiment 'empty' has no runs"),
    "no run": (["--run", "abc"], "unknown run 'abc'"),
    "baseline": (
        ["--experiment", "Default", "--baseline", "ldam"],
        "unknown baseline 'ldam'; known: focal, cross_entropy",
    ),
    "metric": (
        ["--experiment", "Default", "--metric", "test/nothing"],
        "no finished training run with test/nothing",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(small, tmp_path, monkeypatch, capsys, name):
    words, message = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["report", *words, "--tracking_uri", small.uri])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_failed_run_that_left_nothing_is_no_report(small, tmp_path):
    failed = small.client.search_runs([small.experiment_id], "attributes.status = 'FAILED'")[0]
    asked = ReportSettings(run=failed.info.run_id, tracking_uri=small.uri, out=str(tmp_path / "x"))
    with pytest.raises(ValueError, match=r"has no config\.json.*FAILED"):
        write.make_report(asked)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(small, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out, message in (
        (tmp_path / "file", "out must be a folder"),
        (Path("/proc/report"), "cannot be written"),
        (tmp_path / "file" / "report", "cannot be written"),
    ):
        asked = ReportSettings(run=small.single, tracking_uri=small.uri, out=str(out))
        with pytest.raises(ValueError, match=message):
            write.make_report(asked)
    assert (tmp_path / "file").read_text() == "mine"


def test_without_a_store_the_script_says_one_line(tmp_path, monkeypatch, capsys):
    script = str(ROOT / "analysis" / "report.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--run", "abc"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(script, run_name="__main__")
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: there is no store")
    assert not list(tmp_path.iterdir())


def test_a_second_report_takes_the_place_of_the_first_and_leaves_other_files(small, tmp_path):
    out = tmp_path / "report"
    (out / "figures").mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    (out / "figures" / "old.png").write_text("old")
    write.make_report(
        ReportSettings(run=small.single, tracking_uri=small.uri, out=str(out), log=False)
    )
    assert (out / "mine.txt").read_text() == "mine"
    assert not (out / "figures" / "old.png").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report"]


@pytest.mark.slow
def test_the_run_of_mlflow_run_gets_the_report_and_stands_in_no_other(small, tmp_path, monkeypatch):
    own = small.client.create_run(small.experiment_id, run_name="mlflow run")
    monkeypatch.setenv("MLFLOW_RUN_ID", own.info.run_id)
    out = tmp_path / "report"
    asked = {"experiment": "Default", "tracking_uri": small.uri, "out": str(out)}
    write.make_report(ReportSettings(**asked))
    small.client.set_terminated(own.info.run_id)
    names = {entry.path for entry in small.client.list_artifacts(own.info.run_id, "report")}
    assert "report/report.html" in names
    assert "mlflow run" not in (out / "report.html").read_text()
    shown = frames.runs("Default", small.uri)
    assert own.info.run_id not in set(shown.run_id)


def test_the_command_says_where_the_files_are(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--run", small.single, "--tracking_uri", small.uri, "--log", "false"]
    cli.main(["report", *words, "--out", "made"])
    assert capsys.readouterr().out.splitlines() == [
        f"Report: {tmp_path / 'made' / 'report.html'}",
        "Also:   report.md, report.docx, figures/, tables/ there",
    ]
    monkeypatch.setitem(sys.modules, "docx", None)
    cli.main(["report", *words, "--out", "made"])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Also:   report.md, figures/, tables/ there",
        'report.docx is left out: install python-docx by pip install "imbalance-study[report]"',
    ]
    assert not (tmp_path / "made" / "report.docx").exists()  # that of the first call
