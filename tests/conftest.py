"""What all tests share.

Tests compute on one thread: the small tensors here gain nothing from two, and a busy machine makes
two wait for each other. Torch reads the variable when it is imported, which is later.
"""

import contextlib
import os
import resource
from typing import NamedTuple

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def small_files_only():
    """A context in which no file can grow beyond so many bytes, as on a disk that fills up.

    Only around the call under test: the limit is that of the whole process, its log included.
    """

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


class TinyRun(NamedTuple):
    """A small tracked run, and where it is."""

    result: object
    run_id: str
    store: str


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A small run with a model in a store of its own, for tests of what is done with it later."""
    import mlflow

    from imbalance_study.config import resolve
    from imbalance_study.tracking import run

    folder = tmp_path_factory.mktemp("tiny_run")
    store = f"sqlite:///{folder / 'mlflow.db'}"
    settings = {
        "dataset": "digits",
        "model": "resnet20",
        "epochs": "1",
        "steps_per_epoch": "4",
        "loss": "ldam",
        "analyses": "confusion+calibration",
        "system_metrics": "false",
        "tracking_uri": store,
    }
    names = ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in names:
            patch.delenv(name, raising=False)
        result = run.train(resolve(settings), show_progress=False)
    client = mlflow.MlflowClient(store)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (record,) = client.search_runs(ids)
    return TinyRun(result, record.info.run_id, store)
