"""The processes of a study: their identity, their heartbeat, starting and stopping more of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from imbalance_study.tracking import process


def process_identity() -> dict[str, Any]:
    """Host, number and start of this process, as a run records them; numbers are reused."""
    return dict(process.tags())


def process_id() -> int:
    """Number of this process."""
    return os.getpid()


def is_this_process(identity: Mapping[str, Any]) -> bool:
    """Whether an identity is that of this process."""
    return all(identity.get(name) == value for name, value in process_identity().items())


def is_alive_here(identity: Mapping[str, Any]) -> bool | None:
    """Whether a process lives on this machine; None for a process of another machine."""
    gone = process.has_ended(identity)
    return None if gone is None else not gone


def is_alive(identity: Mapping[str, Any], last_heartbeat: float, patience: float) -> bool:
    """Whether a process lives: looked up on this machine, else judged by its heartbeat.

    Args:
        identity: Of `process_identity`.
        last_heartbeat: Seconds since the epoch.
        patience: Seconds without a heartbeat after which a process counts as dead.
    """
    here = is_alive_here(identity)
    return time.time() - last_heartbeat < patience if here is None else here


class Heartbeat:
    """Calls `beat` at once and then every `seconds` in a thread, until the context ends.

    A beat that fails (the storage is away for a moment) is left out.
    """

    def __init__(self, beat: Callable[[], object], seconds: float) -> None:
        self._beat, self._seconds = beat, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def __enter__(self) -> Heartbeat:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._beat()
            except Exception:  # of any storage; other processes notice the silence
                continue


def start_workers(count: int, arguments: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Start the same study in `count` more processes, as a person could in more terminals.

    Args:
        count: Number of processes.
        arguments: The command line behind ``study``.
    """
    # The run of `mlflow run` belongs to the first process alone.
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_RUN_ID"}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // (count + 1))))
    command = [sys.executable, "-m", "imbalance_study", "study", *arguments]
    return [subprocess.Popen(command, env=environment) for _ in range(count)]


def stop_workers(workers: Sequence[subprocess.Popen[bytes]], seconds: float = 20.0) -> None:
    """Terminate processes, wait for them, and kill those that do not end in time."""
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + seconds
    for worker in workers:
        try:
            worker.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
