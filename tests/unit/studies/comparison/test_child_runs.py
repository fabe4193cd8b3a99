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
    former = f"former identity of {label}"
    resolved = resolve({})
    return PlannedRun(label, seed, seed == 0, resolved, f"identity of {label}", former, "the data")


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
    experiment = run.info.experiment_id
    found = child_runs.finished_runs(client, experiment, [planned("vs"), child])
    assert {key: one.info.run_id for key, one in found.items()} == {child.key: run.info.run_id}
    assert child_runs.finished_runs(client, experiment, [child], "0123456789").keys() == {child.key}
    assert child_runs.finished_runs(client, experiment, [child], "another_parent") == {}
    assert child_runs.finished_runs(client, experiment, [planned("vs")]) == {}


def test_a_run_of_the_previous_version_is_found_by_the_hash_of_that_version(client, make_run):
    child = planned("focal")
    tags = child_runs.child_tags(child, "parent")
    run = make_run(tags | {child_runs.IDENTITY: child.former_identity})
    found = child_runs.finished_runs(client, run.info.experiment_id, [child])
    assert {key: one.info.run_id for key, one in found.items()} == {child.key: run.info.run_id}


def test_a_run_with_an_option_that_the_previous_version_did_not_know_has_no_former_hash(
    client, make_run
):
    child = planned("focal")._replace(former_identity="")
    run = make_run(child_runs.child_tags(child, "parent") | {child_runs.IDENTITY: ""})
    assert child_runs.finished_runs(client, run.info.experiment_id, [child]) == {}


def test_the_newest_run_of_a_key_counts(client, make_run):
    tags = child_runs.child_tags(planned("focal"), "parent")
    make_run(tags)
    newest = make_run(tags)
    (found,) = child_runs.finished_runs(
        client, newest.info.experiment_id, [planned("focal")]
    ).values()
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
    assert child_runs.finished_runs(client, run.info.experiment_id, [planned("focal")]) == {}


@pytest.mark.parametrize(
    ("old", "moves"),
    [
        ({"status": "FAILED"}, True),
        ({"tags": {child_runs.COMPARISON: "same digest"}}, True),
        ({"tags": {child_runs.COMPARISON: "former digest"}}, True),
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
    child_runs.attach_runs(client, [(child, run)], parent, {"same digest", "former digest"})
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
