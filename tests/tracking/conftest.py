"""Stores and servers of their own for tests of what is told to MLflow."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow import MlflowClient


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


class Server:
    """A `mlflow server` on loopback that can be killed and started again at the same address."""

    def __init__(self, folder, store=""):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.address = f"http://127.0.0.1:{self.port}"
        self.store = store or f"sqlite:///{folder / 'server.db'}"
        self.process = None

    def start(self):
        words = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "1", "--backend-store-uri", self.store),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        ]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.address + "/health"):
                return self
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.3)

    def kill(self):
        """With -9, and its workers with it."""
        if self.process is None:
            return
        import psutil

        family = psutil.Process(self.process.pid)
        for process in [*family.children(recursive=True), family]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait(30)
        self.process = None


@pytest.fixture
def mlflow_server(tmp_path, make_store):
    """A running `Server`."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder, make_store(folder))
    try:
        yield server.start()
    finally:
        server.kill()
