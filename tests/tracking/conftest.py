"""Stores and servers of their own for tests of what is told to MLflow."""

import shutil
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from servers import MLflowServer


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory):
    """A store without a run: making one takes seconds, copying it nothing."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def make_store(_empty_store):
    """A function that puts an empty store into a folder, and gives its address."""

    def make(folder):
        path = folder / "mlflow.db"
        if not path.exists():
            shutil.copyfile(_empty_store, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def own_place(monkeypatch, tmp_path):
    """A cache and a current folder of the test's own, and no word from the environment."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IMBALANCE_STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mlflow_server(tmp_path, make_store):
    """A running server that can be killed and started again."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = MLflowServer(folder, make_store(folder))
    try:
        yield server.start()
    finally:
        server.kill()
