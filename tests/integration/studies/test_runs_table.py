"""An experiment as a table: what stands there is what the store has."""

import runpy
import sqlite3
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Metric, Param, RunTag

from imbalance_study.studies.report import frames

ROOT = Path(__file__).parents[3]


def test_a_row_is_a_run_with_params_metrics_and_tags(small):
    frame = frames.runs("Default", small.uri).set_index("run_id")
    assert len(frame) == 9  # six trainings, their parent, a failed and a running one
    for run in small.runs:
        row = frame.loc[run.info.run_id]
        assert row["test/macro_f1"] == run.data.metrics["test/macro_f1"]
        assert row["loss"] == run.data.params["loss"]
        assert row["fingerprint"] == run.data.tags["data_fingerprint"]
        assert row["parent"] == small.parent
        assert row["configuration"] == run.data.params["loss"]
        assert row["seconds"] == (run.info.end_time - run.info.start_time) / 1000
        assert row["start"].timestamp() == run.info.start_time / 1000
    assert sorted(frame.status) == ["FAILED"] + ["FINISHED"] * 7 + ["RUNNING"]
    assert frame.start.is_monotonic_increasing
    assert not [name for name in frame if name.startswith(("mlflow.", "compared_in"))]


def test_an_experiment_is_found_by_its_id_too(small):
    by_id = frames.runs(small.experiment_id, small.uri)
    pd.testing.assert_frame_equal(by_id, frames.runs("Default", small.uri))


def test_the_history_has_a_row_for_each_epoch(small):
    run = small.runs[0]
    frame = frames.history(run.info.run_id, small.uri)
    assert list(frame.index) == [1, 2]
    assert frame.index.name == "epoch"
    points = small.client.get_metric_history(run.info.run_id, "train/loss")
    assert frame["train/loss"].tolist() == [point.value for point in points]
    assert "test/macro_f1" not in frame


def test_all_of_more_than_a_thousand_runs_are_read(small):
    client = small.client
    experiment_id = client.create_experiment("many")
    for number in range(3):
        run = client.create_run(experiment_id, run_name=f"run {number}")
        client.log_batch(
            run.info.run_id,
            [Metric("name", float(number), 0, 0)],
            [Param("loss", "focal")],
            [RunTag("loss", "tag")],
        )
    _copy_a_run(small.uri.removeprefix("sqlite:///"), run.info.run_id, 1000)
    frame = frames.runs("many", small.uri)
    assert len(frame) == 1003
    assert frame.run_id.is_unique
    assert frame["metrics.name"].count() == 3  # a metric called as a column of ours
    assert set(frame["tags.loss"].dropna()) == {"tag"}


def _copy_a_run(path, run_id, count):
    with sqlite3.connect(path) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        row = connection.execute(
            f"SELECT {','.join(names)} FROM runs WHERE run_uuid = ?", [run_id]
        ).fetchone()
        rows = [
            [
                f"{number:032x}" if name == "run_uuid" else value
                for name, value in zip(names, row, strict=True)
            ]
            for number in range(count)
        ]
        marks = ",".join("?" * len(names))
        connection.executemany(f"INSERT INTO runs ({','.join(names)}) VALUES ({marks})", rows)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_has_the_whole_table(small, tmp_path, ending):
    out = tmp_path / f"runs.{ending}"
    line = frames.write_runs("Default", str(out), small.uri)
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[ending](out)
    expected = frames.runs("Default", small.uri)
    assert line == f"{len(expected)} runs, {len(expected.columns)} columns: {out}"
    assert list(read.columns) == list(expected.columns)
    assert read["test/macro_f1"].dropna().tolist() == pytest.approx(
        expected["test/macro_f1"].dropna().tolist(), abs=0
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"experiment": "nothing"}, "unknown experiment 'nothing'"),
        ({"out": "runs.xlsx"}, "out must end in .csv or .parquet"),
        ({"experiment": "empty"}, "has no runs"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(small, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    words = {"experiment": "Default", "out": "runs.csv"} | given
    with pytest.raises(ValueError, match=message):
        frames.write_runs(**words, tracking_uri=small.uri)
    assert not list(tmp_path.iterdir())


def test_the_script_runs_from_anywhere_and_says_that_there_is_no_store(tmp_path, monkeypatch):
    script = str(ROOT / "analysis" / "runs.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(script, run_name="__main__")
    (line,) = str(stop.value.code).splitlines()  # Python writes it, and gives the status 1
    assert line.startswith(f"Error: there is no store {tmp_path / 'mlflow.db'}")
    assert not list(tmp_path.iterdir())
