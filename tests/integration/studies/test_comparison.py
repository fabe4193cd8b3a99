"""Whole comparisons on a store of their own: small, but nothing of them is a stand-in."""

import ast
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from tiny import SMALLEST, TINY, words

from imbalance_study.studies.comparison import child_runs
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.run import compare
from imbalance_study.tracking import process, ui_view

WITH_PREDICTIONS = SMALLEST | {"analyses": "predictions"}
LOSSES = {"vary": "loss=cross_entropy|balanced_softmax", "seeds": 2}


def _compare(folder, asked=LOSSES, dry_run=False, brief=True, **more):
    """A comparison in a folder; what it said, and the client of its store."""
    store = f"sqlite:///{folder / 'mlflow.db'}"
    said = []
    with contextlib.chdir(folder):
        compare(
            ComparisonSettings(**asked),
            WITH_PREDICTIONS | {"tracking_uri": store} | more,
            dry_run=dry_run,
            brief=brief,
            echo=said.append,
        )
    return "\n".join(said), MlflowClient(store)


def _all(client, text=""):
    experiment = client.get_experiment_by_name("Default")
    return client.search_runs([experiment.experiment_id], text, order_by=["start_time ASC"])


def _parents(client):
    return [run for run in _all(client) if child_runs.COMPARISON in run.data.tags]


def _children(client, parent):
    return _all(client, f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'")


@pytest.fixture(scope="module")
def done(tmp_path_factory, make_store):
    folder = tmp_path_factory.mktemp("comparison")
    make_store(folder)
    said, client = _compare(folder)
    return folder, said, client


@pytest.fixture
def copied(done, tmp_path):
    """The same with a store of the test's own, for tests that add to it."""
    folder, said, _ = done
    shutil.copyfile(folder / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path, said, MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_each_configuration_and_seed_is_a_finished_child_of_one_parent(done):
    _, _, client = done
    parent = _parents(client)[0]
    assert parent.info.status == "FINISHED"
    ran = _all(client, f"tags.{child_runs.membership_tag(parent.info.run_id)} LIKE '%'")
    assert [run.info.run_name for run in ran] == [
        f"{loss}, digits, seed {seed}"
        for seed in (0, 1)
        for loss in ("cross_entropy", "balanced_softmax")
    ]
    assert {run.info.status for run in ran} == {"FINISHED"}
    assert len(_all(client)) == len(ran) + len(_parents(client))


def test_the_parent_carries_tables_findings_and_what_repeats_it(done):
    _, said, client = done
    parent = _parents(client)[0]
    names = [entry.path for entry in client.list_artifacts(parent.info.run_id)]
    assert {"comparison", "comparison.json"} <= set(names)
    text = parent.data.tags["mlflow.note.content"]
    assert "balanced_softmax" in text
    assert "imbalance-study compare --vary" in text
    assert parent.data.params["seeds"] == "2"
    assert "configuration" in said
    assert f"comparison-{parent.info.run_id[:8]}" in said


def test_the_prepared_view_finds_the_children_and_shows_what_was_varied(done):
    _, _, client = done
    parent = _parents(client)[0]
    tags = client.get_experiment(parent.info.experiment_id).tags
    state = tags[f"mlflow.sharedViewState.comparison-{parent.info.run_id[:8]}"]
    assert f"tags.{child_runs.membership_tag(parent.info.run_id)} LIKE '%'" in state
    assert "params.`loss`" in state
    assert ui_view.view_url("", parent.info.experiment_id, "x").startswith("#/experiments/")


def test_a_repeated_command_takes_the_finished_runs_over(copied):
    folder, said, client = copied
    before = {run.info.run_id for run in _all(client)}
    again, _ = _compare(folder)
    new = [run for run in _all(client) if run.info.run_id not in before]
    assert [run.info.run_id for run in new] == [_parents(client)[-1].info.run_id]
    assert len(_children(client, new[0])) == 4
    assert "4 of them finished before, 0 to do" in again
    table = [line for line in said.splitlines() if line.startswith("balanced_softmax")]
    assert table[-1] in again


def test_another_comparison_borrows_runs_of_a_finished_one_without_taking_them_away(copied):
    folder, _, client = copied
    owner = _parents(client)[-1]
    owned = len(_children(client, owner))
    said, _ = _compare(folder, {"vary": "loss=cross_entropy|focal", "seeds": 1})
    borrower = _parents(client)[-1]
    assert "1 of them finished before, 1 to do" in said
    assert len(_children(client, owner)) == owned
    member = f"tags.{child_runs.membership_tag(borrower.info.run_id)} LIKE '%'"
    assert {run.data.tags["configuration"] for run in _all(client, member)} == {
        "cross_entropy",
        "focal",
    }


def test_again_runs_finished_ones_once_more(copied):
    folder, _, client = copied
    before = len(_all(client, "tags.identity LIKE '%'"))
    said, _ = _compare(folder, {"vary": "loss=cross_entropy|focal", "seeds": 1, "again": True})
    assert "2 to do" in said
    assert len(_all(client, "tags.identity LIKE '%'")) == before + 2


def test_a_dry_run_tells_the_plan_and_leaves_no_trace(tmp_path, done):
    said = []
    place = {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    compare(ComparisonSettings(**LOSSES), WITH_PREDICTIONS | place, dry_run=True, echo=said.append)
    assert (
        "2 configurations x 2 seeds (0, 1): 4 runs, 0 of them finished before, 4 to do" in said[0]
    )
    assert not (tmp_path / "mlflow.db").exists()
    folder, _, client = done
    count = len(_all(client))
    assert "4 of them finished before" in _compare(folder, dry_run=True)[0]
    assert len(_all(client)) == count


@pytest.mark.slow
def test_several_at_once_give_the_results_of_one_after_the_other(tmp_path, done):
    _, _, client = done
    _, other = _compare(tmp_path, LOSSES | {"parallel": 2, "seeds": 1})
    assert len(_children(other, _parents(other)[0])) == 2
    wanted, found = (
        {
            run.info.run_name: run.data.metrics["test/loss"]
            for run in _all(one)
            if child_runs.IDENTITY in run.data.tags
        }
        for one in (client, other)
    )
    assert found.items() <= wanted.items()
    assert len(found) == 2


def test_a_failed_run_is_left_out_said_and_run_again(tmp_path, empty_store):
    asked = {"vary": "lr=0.01|1e30|0.02", "seeds": 1}
    for attempt in (1, 2):
        with pytest.raises(ValueError, match=r"1 of 3 runs failed .* lr=1e30, seed 0: the loss"):
            _compare(tmp_path, asked, analyses="none")
        client = MlflowClient(empty_store)
        parent = _parents(client)[-1]
        assert parent.info.status == "FAILED"
        assert "the loss is not finite" in parent.data.tags["mlflow.note.content"]
        assert "lr=0.02" in parent.data.tags["mlflow.note.content"]
        failed = _all(client, "status = 'FAILED' and tags.configuration = 'lr=1e30'")
        assert len(failed) == attempt
        assert len(_all(client, "tags.identity LIKE '%'")) == 2 + attempt
    assert len(_children(client, parent)) == 3


def test_runs_whose_process_is_gone_are_marked_failed_when_a_comparison_begins(
    tmp_path, empty_store
):
    client = MlflowClient(empty_store)
    experiment = client.create_experiment("x", artifact_location=str(tmp_path))
    gone = subprocess.run(
        [
            sys.executable,
            "-c",
            "from imbalance_study.tracking import process; print(process.tags())",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    elsewhere = process.tags() | {process.PROCESS: "another-machine 1 2"}
    dead, alive, far = (
        client.create_run(experiment, start_time=0, tags=tags).info.run_id
        for tags in (ast.literal_eval(gone.stdout), process.tags(), elsewhere)
    )
    said, _ = _compare(tmp_path, {"vary": "lr=0.01|0.02", "seeds": 1}, experiment="x")
    assert "1 runs are marked FAILED: their process is gone" in said
    assert client.get_run(dead).info.status == "FAILED"
    assert "is gone" in client.get_run(dead).data.tags["mlflow.note.content"]
    assert client.get_run(alive).info.status == "RUNNING"
    assert client.get_run(far).info.status == "RUNNING"


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["1", "2"])
def test_stopped_in_the_middle_parent_and_child_are_killed_and_the_command_goes_on(
    tmp_path, parallel, empty_store
):
    settings = TINY | {"tracking_uri": empty_store, "epochs": "12"}
    settings |= {"vary": "lr=0.01|0.02", "seeds": "2", "parallel": parallel}
    command = [sys.executable, "-m", "imbalance_study", "compare", *words(settings)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    place = {"cwd": tmp_path, "env": environment, "text": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **place)
    client = MlflowClient(empty_store)
    for line in process.stdout:
        if line.startswith("[1/4]"):
            break
    end = time.monotonic() + 60
    while not _all(client, "status = 'RUNNING' and tags.identity LIKE '%'"):
        assert time.monotonic() < end
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not _all(client, "status = 'RUNNING'")
    assert _parents(client)[0].info.status == "KILLED"
    stopped = _all(client, "status = 'KILLED' and tags.identity LIKE '%'")
    finished = _all(client, "status = 'FINISHED'")
    assert stopped
    assert finished
    again = subprocess.run(command, capture_output=True, **place)
    assert again.returncode == 0, again.stderr
    assert f"{len(finished)} of them finished before, {4 - len(finished)} to do" in again.stdout
    parent = _parents(client)[1]
    assert parent.info.status == "FINISHED"
    assert len(_children(client, parent)) == 4
