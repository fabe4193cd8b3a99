"""A small store with a comparison, a second data set, a failed run and an unfinished one."""

import os
from typing import NamedTuple

import mlflow
import pytest
from mlflow import MlflowClient

from imbalance_study.config.resolve import resolve
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.run import compare
from imbalance_study.tracking import run as tracked

TINY = {
    "dataset": "digits",
    "image_size": "16",
    "model": "resnet20",
    "epochs": "2",
    "steps_per_epoch": "2",
    "system_metrics": "false",
    "device": "cpu",
}
PLANTED = "<script>alert('x')</script> | *rare* & \"quoted\""


class Small(NamedTuple):
    uri: str
    client: MlflowClient
    experiment_id: str
    runs: list  # finished trainings on digits, oldest first
    parent: str
    single: str  # of the other experiment, with all pictures that cost no time


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small_store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
            patch.delenv(name, raising=False)
        os.chdir(folder)
        try:
            asked = ComparisonSettings(vary="loss=focal|cross_entropy", seeds=3)
            options = TINY | {"tracking_uri": uri, "analyses": "predictions"}
            compare(asked, options, brief=True, echo=lambda text: None)
            one = TINY | {"tracking_uri": uri, "experiment": "one", "run_name": PLANTED}
            one["analyses"] = "predictions+intervals+confusion+calibration"
            tracked.train(resolve(one), show_progress=False)
        finally:
            os.chdir(before)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("imbalance_study")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    parent = next(run.info.run_id for run in runs if "comparison" in run.data.tags)
    for name, status in ((f"{PLANTED} failed", "FAILED"), ("still at it", "RUNNING")):
        other = client.create_run(experiment.experiment_id, run_name=name)
        client.update_run(other.info.run_id, status)
    one = client.search_runs([client.get_experiment_by_name("one").experiment_id])[0]
    trained = [run for run in runs if run.info.run_id != parent]
    return Small(uri, client, experiment.experiment_id, trained, parent, one.info.run_id)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    yield
    mlflow.set_tracking_uri(None)
