"""Trainings in processes of their own, to be broken, and what they left in their store."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run
from servers import MLflowServer

EPOCHS = 12
TINY = (
    *("--dataset=digits", "--model=resnet20", "--image_size=16", "--analyses=none"),
    *("--epochs=2", "--system_metrics=false"),
)
HEADLINE = "test/balanced_accuracy"
TRAIN = (
    *("train", "--dataset=digits", "--model=resnet20", "--analyses=none", f"--epochs={EPOCHS}"),
    "--system_metrics=false",
)


class Row(NamedTuple):
    """One line of the table."""

    fault: str
    promise: str
    seen: str
    held: bool


class Bench:
    """A folder with a cache, and what is started in it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.draw = random.Random(options.seed)
        self.environment = os.environ | {
            "IMBALANCE_STUDY_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def store(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def begin(self, *words: str, limit: int = 0) -> subprocess.Popen[str]:
        def as_from_a_terminal() -> None:
            # What is started in the background inherits that Ctrl-C is ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            [sys.executable, "-m", "imbalance_study", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=as_from_a_terminal,
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.begin(*words)
        out, said = process.communicate(timeout=600)
        return process.returncode, out + said

    @contextlib.contextmanager
    def server(self, store: str = "") -> Iterator[MLflowServer]:
        place = self.folder / "server"
        place.mkdir(exist_ok=True)
        server = MLflowServer(place, store or f"sqlite:///{place / 'server.db'}")
        try:
            yield server.start()
        finally:
            server.kill()

    def resumes(self) -> bool:
        return "resume" in self.run("--help")[1]


def until_epoch(process: subprocess.Popen[str], epoch: int) -> str:
    """What a training says until it ends this epoch."""
    said = ""
    for line in process.stderr or ():
        said += line
        if line.startswith(f"epoch {epoch}/"):
            break
    return said


def rest(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, said = process.communicate(timeout=600)
    return process.returncode, out + said


def only_run(address: str) -> Run:
    client = MlflowClient(address)
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return run


def missing(address: str, epochs: int = EPOCHS) -> list[str]:
    """What a run of a store lacks, or has twice."""
    run, client = only_run(address), MlflowClient(address)
    lacks = [] if run.info.status == "FINISHED" else [f"status {run.info.status}"]
    for name in ("train/loss", "val/balanced_accuracy"):
        steps = [one.step for one in client.get_metric_history(run.info.run_id, name)]
        if steps != list(range(1, epochs + 1)):
            lacks.append(f"{name} at steps {steps}")
    names = {one.path for one in client.list_artifacts(run.info.run_id)}
    lacks += sorted({"checkpoints", "config.json", "figures", "metrics.json"} - names)
    if len(run.outputs.model_outputs if run.outputs else []) != 1:
        lacks.append("one model")
    return lacks


def verdict(lacks: list[str]) -> str:
    return "FINISHED, complete, nothing twice" if not lacks else "LACKS " + ", ".join(lacks)
