"""The parent run on an own store, without training."""

import shlex

import pytest
from mlflow import MlflowClient

from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.studies.comparison import child_runs, parent_run
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.plan import make_plan

DIGITS = {"dataset": "digits", "image_size": "8", "model": "resnet20", "device": "cpu"}
LOCAL = LocalFiles(data_cache=DataCache())


@pytest.fixture
def plan(own_place, empty_store):
    settings = ComparisonSettings(vary="loss=focal|vs", seeds=2)
    return make_plan(settings, DIGITS | {"tracking_uri": empty_store}, LOCAL)


def test_all_runs_are_to_do_in_an_empty_store(plan, empty_store):
    assert parent_run.reusable_keys(plan) == set()
    messages = []
    with parent_run.start_parent_run(plan) as parent:
        todo = parent.reuse_finished(messages.append)
        run_id = parent.run.info.run_id
    assert todo == plan.children
    assert "2 configurations x 2 seeds (0, 1): 4 runs" in messages[0]
    assert messages[-1].startswith("Watch: http")
    run = MlflowClient(empty_store).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "compare loss on digits"
    assert run.data.tags[child_runs.COMPARISON] == plan.digest
    assert run.data.params["vary"] == "loss=focal|vs"
    assert run.data.params["model"] == "resnet20"


def test_a_finished_run_is_reused(plan, empty_store):
    client = MlflowClient(empty_store)
    tags = child_runs.child_tags(plan.children[0], "an_old_parent")
    old = client.create_run("0", tags=tags)
    client.log_metric(old.info.run_id, "test/balanced_accuracy", 0.5)
    client.set_terminated(old.info.run_id)
    assert parent_run.reusable_keys(plan) == {plan.children[0].key}
    with parent_run.start_parent_run(plan) as parent:
        assert parent.reuse_finished(lambda text: None) == plan.children[1:]
        assert set(parent.finished_runs()) == {plan.children[0].key}


def _fail(plan, ids):
    with parent_run.start_parent_run(plan) as parent:
        ids.append(parent.run.info.run_id)
        raise ValueError("a mistake")


def test_an_error_ends_the_parent_as_failed(plan, empty_store):
    ids = []
    with pytest.raises(ValueError, match="a mistake"):
        _fail(plan, ids)
    assert MlflowClient(empty_store).get_run(*ids).info.status == "FAILED"


def test_the_command_repeats_the_comparison_wherever_it_is_recorded(plan):
    with parent_run.start_parent_run(plan) as parent:
        words = shlex.split(parent.command())
    assert words[:2] == ["imbalance-study", "compare"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given == {"--vary": "loss=focal|vs", "--seeds": "2"} | {
        f"--{name}": value for name, value in DIGITS.items()
    }


def test_offline_tracking_is_refused(own_place):
    settings = ComparisonSettings(vary="loss=focal|vs", seeds=1)
    plan = make_plan(settings, DIGITS | {"tracking": "offline"}, LOCAL)
    with pytest.raises(ValueError, match="offline"), parent_run.start_parent_run(plan):
        pass
