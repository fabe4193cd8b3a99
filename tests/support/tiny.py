"""The smallest training that still goes through all rooms, and its record in MLflow."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run

from imbalance_study.config.resolve import resolve
from imbalance_study.tracking import run

TINY = {
    "dataset": "digits",
    "model": "resnet20",
    "image_size": "16",
    "epochs": "1",
    "steps_per_epoch": "3",
    "analyses": "none",
    "system_metrics": "false",
    "device": "cpu",
}
# For runs whose network does not matter; only this process can import it.
SMALLEST = TINY | {"model": "small_nets:conv", "image_size": "8"}


class TrackedRun(NamedTuple):
    """A finished training, its record in MLflow, and where that is."""

    result: Any  # a RunResult
    record: Run
    store: str

    @property
    def run_id(self) -> str:
        return self.record.info.run_id

    @property
    def address(self) -> str:
        return f"runs:/{self.run_id}"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.store)


def words(options: Mapping[str, object]) -> list[str]:
    """The options as the command line takes them: ``--name=value``."""
    return [f"--{name}={value}" for name, value in options.items()]


def train(store: str, folder: Path, *, brief: bool = False, **options: str) -> TrackedRun:
    """Train in `folder` with `TINY` and these options; the record goes to `store`."""
    given = TINY | {"tracking_uri": store} | options
    with contextlib.chdir(folder):
        result = run.train(resolve(given), show_progress=False, brief=brief)
    return TrackedRun(result, runs_of(store)[0], store)


def runs_of(store: str) -> list[Run]:
    """All runs of a store, the newest first."""
    client = MlflowClient(store)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(ids, order_by=["attributes.start_time DESC"], max_results=1000)
