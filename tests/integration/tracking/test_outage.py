"""Comparisons and studies whose server is killed in the middle, and comes back."""

import collections
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tiny import TINY, words

from imbalance_study.tracking import run_folder

LONGER = words(TINY | {"epochs": "2", "steps_per_epoch": "10"})
COMPARE = ("compare", *LONGER, "--vary=loss=cross_entropy|focal", "--seeds=1")
STUDY = ("study", *LONGER, "--study=s", "--search=loss", "--trials=4", "--winner_seeds=1")


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass


def _through_an_outage(server, command, at, pause=8.0):
    """Run a command whose server is killed at a line and comes back; what it said."""
    address = server.address.replace("//", "//me:hush@")
    process = subprocess.Popen(
        [sys.executable, "-m", "imbalance_study", *command, f"--tracking_uri={address}"],
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith(at):
            break
    server.kill()
    back = threading.Timer(pause, server.start)
    back.start()
    said += process.communicate(timeout=600)[0]
    back.join()
    assert process.returncode == 0, said
    assert "hush" not in said
    return said


def _runs(server, said):
    """All runs of a server, which must be FINISHED, and have nothing twice and no password."""
    client = MlflowClient(server.address)
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert {run.info.status for run in found} == {"FINISHED"}, said
    for path in [*server.folder.rglob("*"), *Path().glob("*.journal")]:
        assert path.suffix == ".log" or not path.is_file() or b"hush" not in path.read_bytes(), path
    for run in found:
        for name in run.data.metrics:
            points = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            assert len({step for step, _ in points}) == len(points), (name, points)
    assert collections.Counter(run.info.run_name for run in found).most_common(1)[0][1] == 1
    assert not list(run_folder.runs_folder().glob("*/journal"))
    return {run.info.run_name: run for run in found}


@pytest.mark.slow
@pytest.mark.parametrize(("parallel", "at"), [(1, "[2/2]"), (2, "2 runs at once")])
def test_a_comparison_outlives_its_server(mlflow_server, parallel, at):
    said = _through_an_outage(mlflow_server, [*COMPARE, f"--parallel={parallel}"], at)
    found = _runs(mlflow_server, said)
    assert len(found) == 3
    parent = found["compare loss on digits"]
    assert "Repeat: `imbalance-study compare" in parent.data.tags["mlflow.note.content"]
    for name in ("cross_entropy, digits, seed 0", "focal, digits, seed 0"):
        assert found[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert "test/balanced_accuracy" in found[name].data.metrics
    client = MlflowClient(mlflow_server.address)
    names = {entry.path for entry in client.list_artifacts(parent.info.run_id)}
    assert {"comparison", "comparison.json", "figures"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_study_outlives_its_server(mlflow_server, workers):
    said = _through_an_outage(mlflow_server, [*STUDY, f"--parallel={workers}"], "trial   0")
    found = _runs(mlflow_server, said)
    assert len(found) == 6
    parent = found["study s on digits"]
    assert parent.data.metrics["trials/failed"] == 0
    assert "test/accuracy" in parent.data.metrics
    trials = [run for run in found.values() if "trial" in run.data.tags]
    assert sorted(run.data.tags["trial"] for run in trials) == ["0", "1", "2", "3"]
    assert {run.data.tags["trial_state"] for run in trials} <= {"complete", "pruned"}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
