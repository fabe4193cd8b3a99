"""The winner's runs, of which the finished ones are not trained again."""

import pytest
from mlflow import MlflowClient

from imbalance_study.studies.search import job, parent_run, records, winner
from imbalance_study.studies.search.settings import StudySettings


@pytest.fixture
def prepared(own_place, empty_store):
    """A prepared study with one seed of the winner, its client and its run."""
    given = {"dataset": "digits", "model": "resnet20", "image_size": "8", "epochs": "1"}
    settings = StudySettings(study="s", search="loss", winner_seeds=1)
    ready = job.prepare_job(settings, given | {"tracking_uri": empty_store})
    client = MlflowClient(empty_store)
    parent = client.create_run(client.create_experiment("x")).info.run_id
    return ready, client, parent


BEST = records.Trial(
    number=4,
    state="complete",
    values=(0.7,),
    dimensions={},
    reports={},
    options={"loss": "focal"},
    error=0.02,
    seconds=1.0,
    baseline="",
    gap=0.0,
)


def test_a_finished_seed_is_not_trained_again(prepared, capsys):
    ready, client, parent = prepared
    experiment = client.get_run(parent).info.experiment_id
    tags = {"mlflow.parentRunId": parent, parent_run.WINNER: "4"}
    run_id = client.create_run(experiment, tags=tags).info.run_id
    client.log_param(run_id, "seed", 0)
    client.log_metric(run_id, "test/accuracy", 0.9)
    client.set_terminated(run_id)
    assert winner.train_winner(ready, parent, BEST) == [{"test/accuracy": 0.9}]
    assert capsys.readouterr().out == ""


def test_no_seeds_train_nothing(prepared):
    ready, _, parent = prepared
    none = ready._replace(settings=StudySettings(study="s", search="loss", winner_seeds=0))
    assert winner.train_winner(none, parent, BEST) == []
