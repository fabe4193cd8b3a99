"""Finding and attaching child runs, on runs that are made by hand."""

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from imbalance_study.config.resolve import resolve
from imbalance_study.studies.comparison import child_runs
from imbalance_study.studies.comparison.plan import PlannedRun


@pytest.fixture
def client(empty_store):
    return MlflowClient(empty_store)


def planned(label, seed=0):
    return PlannedRun(label, seed, seed == 0, resolve({}), f"identity of {label}", "the data")


@pytest.fixture
def make_run(client):
    """A function that makes a run, by default a finished child."""
    experiment = client.create_experiment("x")

    def make(tags, status="FINISHED", metrics=("test/balanced_accuracy",)):
        run_id = client.create_run(experiment, tags=tags).info.run_id
        for name in metrics:
            client.log_metric(run_id, name, 0.5)
        client.set_terminated(run_id, status)
        return client.get_run(run_id)

    return make


def test_a_finished_child_is_found_by_its_key(client, make_run):
    child = planned("focal")
    run = make_run(child_runs.child_tags(child, "0123456789"))
    found = child_runs.finished_runs(client, run.info.experiment_id)
    assert {key: one.info.run_id for key, one in found.items()} == {child.key: run.info.run_id}
    assert child_runs.finished_runs(client, run.info.experiment_id, "0123456789").keys() == {
        child.key
    }
    assert child_runs.finished_runs(client, run.info.experiment_id, "another_parent") == {}


def test_the_newest_run_of_a_key_counts(client, make_run):
    tags = child_runs.child_tags(planned("focal"), "parent")
    make_run(tags)
    newest = make_run(tags)
    (found,) = child_runs.finished_runs(client, newest.info.experiment_id).values()
    assert found.info.run_id == newest.info.run_id


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "FAILED"},
        {"metrics": ("train/loss",)},
        {"tags": {"imbalance_study.version": "0.0.1"}},
    ],
)
def test_an_unfinished_run_or_one_of_another_version_is_not_reused(client, make_run, changes):
    tags = child_runs.child_tags(planned("focal"), "parent") | changes.pop("tags", {})
    run = make_run(tags, **changes)
    assert child_runs.finished_runs(client, run.info.experiment_id) == {}


@pytest.mark.parametrize(
    ("old", "moves"),
    [
        ({"status": "FAILED"}, True),
        ({"tags": {child_runs.COMPARISON: "same digest"}}, True),
        ({"tags": {child_runs.COMPARISON: "another digest"}}, False),
    ],
)
def test_a_run_leaves_its_parent_unless_that_is_a_finished_comparison_of_other_runs(
    client, make_run, old, moves
):
    before = make_run(old.get("tags", {}), old.get("status", "FINISHED"))
    parent = make_run({child_runs.COMPARISON: "same digest"})
    child = planned("focal")
    run = make_run(child_runs.child_tags(child, before.info.run_id))
    child_runs.attach_runs(client, [(child, run)], parent)
    tags = client.get_run(run.info.run_id).data.tags
    assert tags[child_runs.membership_tag(parent.info.run_id)] == "focal"
    expected = parent if moves else before
    assert tags[MLFLOW_PARENT_RUN_ID] == expected.info.run_id
    note = client.get_run(before.info.run_id).data.tags.get(MLFLOW_RUN_NOTE, "")
    assert (f"moved to the comparison {parent.info.run_id}" in note) == moves


def test_commits_other_than_the_present_one_are_named(make_run):
    runs = [make_run({"git_commit": commit}) for commit in ("a" * 40, "b" * 40, "a" * 40)]
    present = child_runs.git_commit()
    expected = {"aaaaaaa", "bbbbbbb"} if present else set()
    assert child_runs.other_commits([*runs, make_run({"git_commit": present or ""})]) == expected
