"""A run against a real MLflow server over HTTP."""

import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow import MlflowClient
from servers import free_port


@pytest.fixture
def server(tmp_path):
    """The address of an MLflow server of its own, stopped by its process id."""
    port = free_port()
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"),
                *("--artifacts-destination", str(tmp_path / "artifacts")),
            ],
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address):
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address + "/health", timeout=2):
                return
        except OSError:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.5)


@pytest.mark.slow
def test_a_run_is_recorded_on_a_server_with_its_artifacts(server, tmp_path):
    words = ["--dataset=digits", "--model=resnet20", "--epochs=2", f"--tracking_uri={server}"]
    done = subprocess.run(
        [sys.executable, "-m", "imbalance_study", "train", *words],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("Default")
    (record,) = client.search_runs([experiment.experiment_id])
    assert record.info.status == "FINISHED"
    assert "test/balanced_accuracy" in record.data.metrics
    names = {entry.path for entry in client.list_artifacts(record.info.run_id)}
    assert {"figures", "checkpoints", "config.json"} <= names
    assert f"{server}/#/experiments/{experiment.experiment_id}/runs/" in done.stdout
    assert "mlflow ui" not in done.stdout
