"""The run of a study and of its trials, on runs that are made by hand."""

import os

import pytest
from mlflow import MlflowClient

from imbalance_study.config.resolve import resolve
from imbalance_study.studies.search import parent_run
from imbalance_study.tracking import process, store


@pytest.fixture
def client(own_place, empty_store):
    store.connect(empty_store)
    return MlflowClient(empty_store)


@pytest.fixture
def make_run(client):
    """A function that makes a run."""
    experiment = client.create_experiment("x")

    def make(parent="", status="RUNNING", params=(), **tags):
        tags |= {"mlflow.parentRunId": parent} if parent else {}
        run_id = client.create_run(experiment, tags=tags).info.run_id
        for name, value in dict(params).items():
            client.log_param(run_id, name, value)
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return run_id

    return make


def _dead():
    """The tags of a process of this machine that is gone."""
    tags = process.tags()
    machine, number, _ = tags[process.PROCESS].split()
    return tags | {process.PROCESS: f"{machine} {number} 1"}


def test_child_runs_of_dead_processes_fail(client, make_run):
    parent = make_run()
    dead = make_run(parent, **_dead(), trial="0")
    alive = make_run(parent, **process.tags(), trial="1")
    far = process.tags() | {process.PROCESS: "another-machine 1 2"}
    lost = make_run(parent, **far, trial="2")
    unknown = make_run(parent, **far, trial="3")
    other = make_run("another_parent", **_dead())
    parent_run.fail_orphaned_runs(parent, failed=[2])
    states = {run: client.get_run(run).info.status for run in (dead, alive, lost, unknown, other)}
    assert states == {
        dead: "FAILED",
        alive: "RUNNING",
        lost: "FAILED",
        unknown: "RUNNING",
        other: "RUNNING",
    }
    assert client.get_run(dead).data.tags[parent_run.STATE] == "failed"


def test_finished_runs_of_a_winner_are_found_by_seed(make_run):
    parent = make_run()
    winner = {parent_run.WINNER: "4"}
    done = make_run(parent, "FINISHED", {"seed": 1}, **winner)
    make_run(parent, "FAILED", {"seed": 2}, **winner)
    make_run(parent, "FINISHED", {"seed": 3}, **{parent_run.WINNER: "5"})
    found = parent_run.finished_winner_runs(parent, 4)
    assert {seed: run.info.run_id for seed, run in found.items()} == {1: done}


def test_a_deleted_run_does_not_exist(client, make_run):
    run_id = make_run()
    assert parent_run.run_exists(run_id)
    client.delete_run(run_id)
    assert not parent_run.run_exists(run_id)
    assert not parent_run.run_exists("0" * 32)


def test_the_run_of_mlflow_run_ends_in_favour_of_the_studys_run(client, make_run, monkeypatch):
    studys, own = make_run(), make_run()
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    parent_run.redirect_project_run(studys)
    run = client.get_run(own)
    assert run.info.status == "FINISHED"
    assert studys in run.data.tags["mlflow.note.content"]
    assert "MLFLOW_RUN_ID" not in os.environ


def test_a_study_continues_in_its_run_and_records_its_report_there(client, empty_store):
    config = resolve({"dataset": "digits", "tracking_uri": empty_store}).config
    with parent_run.study_run(config, "s", {"study": "s"}, "") as first:
        pass
    with parent_run.study_run(config, "s", {"study": "s", "trials": 3}, first) as second:
        table = {"trial": [0], "loss": ["focal"]}
        parent_run.record_report(
            "s", {"trials/complete": 1.0}, {"trials": table}, {}, "text", objective="val/accuracy"
        )
        lines = parent_run.links("s", empty_store)
    assert first == second
    run = client.get_run(first)
    assert run.info.run_name == "study s on digits"
    assert run.data.params == {"study": "s", "trials": "3"}
    assert run.data.metrics == {"trials/complete": 1.0}
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("text\n\nIts trials: [prepared view](#/experiments/")
    assert "trials.json" in {file.path for file in client.list_artifacts(first)}
    assert any(first in line for line in lines)


def test_a_view_is_named_without_odd_characters():
    assert parent_run.view_key("my study/1") == "study-my-study-1"
