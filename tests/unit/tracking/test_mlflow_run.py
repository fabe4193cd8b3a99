import mlflow
import pytest
from mlflow import MlflowClient

from imbalance_study.config.resolve import make
from imbalance_study.tracking import mlflow_run, store


@pytest.fixture
def begin(own_place, empty_store):
    store.connect(empty_store)

    def call(experiment="auto", run_name="auto", **place):
        config = make(dataset="digits", experiment=experiment, run_name=run_name)
        run = mlflow_run.begin(config, {}, name="ours", **place)
        mlflow.end_run()
        return run.info

    return call


@pytest.fixture
def joined(begin, empty_store, monkeypatch):
    """A function that begins a run as ``mlflow run`` does."""

    def make_run(name=None):
        run = MlflowClient(empty_store).create_run("0", run_name=name).info
        monkeypatch.setenv("MLFLOW_RUN_ID", run.run_id)
        return run

    return make_run


def test_a_run_begins_in_its_experiment_under_its_name(begin, empty_store):
    assert (begin().experiment_id, begin().run_name) == ("0", "ours")
    mine = MlflowClient(empty_store).get_experiment(begin("mine").experiment_id)
    assert mine.name == "mine"
    assert begin("mine").experiment_id == begin(mine.experiment_id).experiment_id


def test_a_joined_run_gets_our_name_in_place_of_one_that_mlflow_made_up(begin, joined):
    made_up = joined()
    info = begin()
    assert (info.run_id, info.run_name) == (made_up.run_id, "ours")
    joined("the best so far")
    assert begin().run_name == "the best so far"
    joined("the best so far")
    assert begin(run_name="given").run_name == "given"


def test_a_joined_run_is_refused_another_experiment_and_stays_where_it_is(begin, joined):
    run = joined()
    with pytest.raises(ValueError, match="no run can be moved"):
        begin("elsewhere")
    assert MlflowClient().get_run(run.run_id).info.experiment_id == "0"
    assert MlflowClient().get_experiment_by_name("elsewhere") is None


def test_a_run_that_goes_on_keeps_its_experiment_and_its_name(begin, empty_store):
    first = begin("mine")
    again = begin("another", run_id=first.run_id)
    assert (again.run_id, again.experiment_id) == (first.run_id, first.experiment_id)
    assert again.run_name == "ours"


def test_a_child_is_in_the_experiment_of_its_parent(begin):
    parent = begin("mine")
    child = begin("another", parent_id=parent.run_id)
    assert child.experiment_id == parent.experiment_id
    assert MlflowClient().get_experiment_by_name("another") is None
