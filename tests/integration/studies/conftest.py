"""A small store with a comparison, a second data set, a failed run and an unfinished one."""

import contextlib
from typing import NamedTuple

import filelock
import pytest
from mlflow import MlflowClient
from tiny import SMALLEST, train

from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.run import compare

PLANTED = "<script>alert('x')</script> | *rare* & \"quoted\""


class Small(NamedTuple):
    uri: str
    client: MlflowClient
    experiment_id: str
    runs: list  # finished trainings on digits, oldest first
    parent: str
    single: str  # of the other experiment, with all pictures that cost no time


@pytest.fixture(scope="session")
def small(session_folder, make_store):
    folder = session_folder / "small_store"
    with filelock.FileLock(f"{folder}.lock"):  # one process makes it, the others read it
        if not folder.exists():
            folder.mkdir()
            _fill(make_store(folder), folder)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("Default")
    parent = client.search_runs([experiment.experiment_id], "tags.comparison LIKE '%'")[0]
    trained = client.search_runs(
        [experiment.experiment_id],
        "tags.configuration LIKE '%'",
        order_by=["attributes.start_time ASC"],
    )
    one = client.search_runs([client.get_experiment_by_name("one").experiment_id])[0]
    ids = (experiment.experiment_id, trained, parent.info.run_id, one.info.run_id)
    return Small(uri, client, *ids)


def _fill(uri, folder):
    asked = ComparisonSettings(vary="loss=focal|cross_entropy", seeds=3)
    options = {"tracking_uri": uri, "epochs": "2", "analyses": "predictions"}
    with contextlib.chdir(folder):
        compare(asked, SMALLEST | options, brief=True, echo=lambda text: None)
    names = {"experiment": "one", "run_name": PLANTED, "epochs": "2"}
    names["analyses"] = "predictions+intervals+confusion+calibration"
    train(uri, folder, **SMALLEST | names)
    client = MlflowClient(uri)
    client.create_experiment("empty")
    experiment = client.get_experiment_by_name("Default")
    for name, status in ((f"{PLANTED} failed", "FAILED"), ("still at it", "RUNNING")):
        other = client.create_run(experiment.experiment_id, run_name=name)
        client.update_run(other.info.run_id, status)
