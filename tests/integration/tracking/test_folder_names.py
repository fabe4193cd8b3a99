"""Commands work in folders of any name: MLflow's default address of a store is percent-encoded."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import tiny
from mlflow import MlflowClient
from PIL import Image

from imbalance_study import cli
from imbalance_study.studies.report import frames
from imbalance_study.tracking import fetch, orphans, resume, run_folder, store, sync
from imbalance_study.tracking.journal import Journal

NAMES = (
    "My Project",
    "Müller",
    "naïve 名",
    'it\'s "q"',
    "100%20",
    "a#b?c",
    "a:b@c",
    "back\\slash",
)
pytestmark = pytest.mark.usefixtures("own_place")


@pytest.fixture(params=NAMES)
def folder(request, tmp_path, monkeypatch):
    """The current folder, alone in its parent."""
    path = tmp_path / "alone" / request.param
    path.mkdir(parents=True)
    monkeypatch.chdir(path)
    return path


def test_the_default_store_is_mlflow_db_in_the_current_folder(folder):
    assert store.sqlite_file(store.address("auto")) == folder / "mlflow.db"
    assert store.sqlite_file(mlflow.get_tracking_uri()) == folder / "mlflow.db"
    assert not store.exists("auto")
    with pytest.raises(ValueError, match="there is no store") as caught:
        store.require_existing("auto")
    assert f"there is no store {folder}/mlflow.db; go to" in str(caught.value)
    (folder / "mlflow.db").touch()
    assert store.exists("auto")
    store.require_existing("auto")


def test_the_address_of_a_file_leads_back_to_it(folder):
    path = folder / "mlflow.db"
    assert store.sqlite_file(store.sqlite_address(path)) == path
    assert store.address(store.sqlite_address(path)) == store.sqlite_address(path)


def test_runs_are_recorded_and_found_in_the_folder_itself(folder, make_store):
    make_store(folder)
    uri = store.connect("auto")
    assert store.sqlite_file(uri) == folder / "mlflow.db"
    client = MlflowClient()
    run = client.create_run(client.create_experiment("here"))
    client.log_text(run.info.run_id, "text", "file.txt")
    client.set_terminated(run.info.run_id)
    assert fetch.download(client, run, "file.txt", folder / "copy").read_text() == "text"
    artifacts = [path.parent.name for path in folder.rglob("file.txt")]
    assert "artifacts" in artifacts
    assert list(orphans.reap()) == []
    assert len(frames.runs("here")) == 1
    assert len(MlflowClient(uri).search_runs([run.info.experiment_id])) == 1
    with pytest.raises(ValueError, match="is FINISHED: there is nothing to resume"):
        resume.resume(run.info.run_id)
    assert {path.name for path in folder.parent.iterdir()} <= {folder.name, _encoded(uri)}


def test_a_run_recorded_offline_is_uploaded_to_the_store_of_the_folder(folder, make_store):
    make_store(folder)
    cache = folder / "cache"
    journal = Journal(run_folder.folder_of("offline-1", str(cache)))
    tags = {"mlflow.user": "someone"}
    start = {"experiment": "here", "name": "one", "time": 1, "tags": tags, "parent": ""}
    journal.append("start", start)
    journal.files({"file.txt": b"text"})
    journal.end("FINISHED")
    journal.close()
    (outcome,) = sync.sync(["offline-1"], cache_dir=str(cache))
    assert outcome.uploaded, outcome.message
    assert f"{folder.name.replace('%', '%25').replace('?', '%3F')}/mlflow.db" in outcome.message
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("SELECT name, status FROM runs").fetchall() == [("one", "FINISHED")]


def test_a_report_names_the_folder_whose_store_is_missing(folder):
    with pytest.raises(ValueError, match="there is no store") as caught:
        frames.runs("here")
    assert f"{folder}/mlflow.db" in str(caught.value)


@pytest.mark.slow
def test_every_command_works_in_a_folder_with_an_odd_name(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "alone" / 'it\'s "q" ü 100%20 a#b?c'
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    words = [sys.executable, "-m", "imbalance_study", "train", *tiny.words(tiny.TINY)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not {"mlflow.db", "mlruns"} - {path.name for path in folder.iterdir()}
    run_id = MlflowClient().search_runs(["0"])[0].info.run_id
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save("black.png")
    for words, expected in (
        (
            ("predict", "--model", f"runs:/{run_id}", "--images", "black.png"),
            f"Written to {folder}",
        ),
        (("reap",), "No RUNNING run has lost its process"),
        (("sync",), "Nothing to upload"),
    ):
        cli.main([*words])
        output = capsys.readouterr()
        assert expected in output.out + output.err, words


def _encoded(uri):
    """The empty folder that MLflow makes for an address with an encoded sign."""
    return Path(uri.removeprefix("sqlite:///")).parent.name if "%" in uri else ""
