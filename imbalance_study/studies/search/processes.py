"""The processes of a study: who they are, whether they live, and starting more of them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import psutil


def me() -> dict[str, Any]:
    """This process: a number is given again, so that the time of birth belongs to it."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
    }


def is_me(process: Mapping[str, Any]) -> bool:
    """Whether a process, as `me` describes it, is this one."""
    return all(process.get(name) == value for name, value in me().items())


def lives_here(process: Mapping[str, Any]) -> bool | None:
    """Whether a process lives; None where it is on another machine, which nobody here can tell."""
    if process.get("host") != platform.node():
        return None
    try:
        found = psutil.Process(int(process["pid"]))
        same = abs(float(found.create_time()) - float(process["born"])) < 1
        return same and bool(found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def lives(process: Mapping[str, Any], heard: float, patience: float) -> bool:
    """Whether a process lives, by its number here, else by its last sign of life.

    Args:
        process: As `me` describes it.
        heard: When it last gave a sign of life, in seconds since the epoch.
        patience: Seconds without one after which it counts as dead.
    """
    here = lives_here(process)
    return time.time() - heard < patience if here is None else here


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
            except Exception:  # that of any storage; it is silent for so long, which others see
                continue


def start_more(count: int, words: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Start the same study in `count` more processes, as a person could in more terminals.

    Args:
        count: Processes.
        words: The command line behind ``study``.
    """
    # A run of `mlflow run` belongs to the first process alone.
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_RUN_ID"}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // (count + 1))))
    command = [sys.executable, "-m", "imbalance_study", "study", *words]
    return [subprocess.Popen(command, env=environment) for _ in range(count)]


def stop(processes: Sequence[subprocess.Popen[bytes]], seconds: float = 20.0) -> None:
    """Ask processes to end, wait for them, and end those that do not."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
