"""Runs one after the other, or several at once in processes of their own."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context
from typing import Any, NamedTuple

import torch

from imbalance_study.config.resolve import Resolved
from imbalance_study.experiment.setup import build
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import load_data, shared_data
from imbalance_study.experiment.setup.device import DeviceSetup, resolve_device
from imbalance_study.models import profiling
from imbalance_study.studies.comparison.plan import Child

MOST = 4  # runs at once on one GPU that `auto` starts
_PROCESS_BYTES = 2 << 30  # of GPU memory: the context of a process, its libraries and workspaces
_PATIENCE = 60.0  # seconds that a worker gets to record that it was stopped


class Task(NamedTuple):
    """A run, as a worker is told of it."""

    resolved: Resolved
    tags: dict[str, str]
    parent: str  # id of the run that it is a child of
    brief: bool
    metric: str


class Done(NamedTuple):
    """What came of it."""

    value: float  # of the metric
    seconds: float  # in all
    problem: str  # why it failed, or nothing


Report = Callable[[int, Done], None]


def how_many(parallel: int | str, children: Sequence[Child]) -> int:
    """Runs at once: what was asked for, or what the GPU's memory holds; 1 without a GPU."""
    if parallel != "auto":
        return max(1, min(int(parallel), len(children)))
    if not children or resolve_device(children[0].resolved.config).device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info()
    needed = max(_gpu_bytes(config) for config in _distinct(children))
    cores = max(1, (os.cpu_count() or 1) // 2)
    return int(max(1, min(MOST, cores, len(children), 0.8 * free // needed)))


def _distinct(children: Sequence[Child]) -> list[Any]:
    """One configuration of each kind that takes memory of its own."""
    found = {}
    for child in children:
        config = child.resolved.config
        found[config.model, config.image_size, config.batch_size, config.ema] = config
    return list(found.values())


def _gpu_bytes(config: Any) -> int:
    """Estimated bytes of a run: training in fp32, the images where they stay there, a process."""
    data = load_data(config, bind(config))
    with torch.random.fork_rng([]):
        where = DeviceSetup(torch.device("cpu"), "fp32", False)
        model = build.build_model(config, data, where)
    training = profiling.estimate_training_memory(
        model, data.image_size, config.batch_size, copies=5 if config.ema else 4
    )
    images = sum(map(len, data.split)) * data.image_size**2 * 3
    return training + images + _PROCESS_BYTES


def run_one(task: Task) -> Done:
    """Run and record one configuration; what goes wrong becomes a sentence."""
    from imbalance_study.tracking import run

    begun = time.perf_counter()
    try:
        result = run.train(
            task.resolved,
            tags=task.tags,
            parent=task.parent,
            show_progress=False,
            brief=task.brief,
        )
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        return Done(float("nan"), time.perf_counter() - begun, kind + text)
    finally:
        gc.collect()  # models hold cycles
    return Done(result.metrics[task.metric], time.perf_counter() - begun, "")


def in_turn(tasks: Sequence[Task], report: Report) -> None:
    """One after the other, in this process."""
    for number, task in enumerate(tasks):
        report(number, run_one(task))


def at_once(tasks: Sequence[Task], workers: int, report: Report) -> None:
    """Several at a time, each in a fresh process that takes the next one when it has finished.

    Decoded images are memory-mapped, so that the processes share them. A process that dies costs
    the run that it had; another takes its place. Ends when the store has all that the processes
    recorded, or they gave up on it.

    Args:
        tasks: What is to run.
        workers: Processes.
        report: Called here with the number of a task and what came of it.
    """
    waiting = list(enumerate(tasks))
    threads = max(1, torch.get_num_threads() // workers)
    team: dict[connection.Connection, tuple[Any, int]] = {}
    leaving: list[Any] = []
    with _dismissed(team, leaving):
        for _ in range(min(workers, len(tasks))):
            _hire(team, waiting.pop(0), threads)
        while team:
            for line in connection.wait(list(team)):
                assert isinstance(line, connection.Connection)
                process, number = team.pop(line)
                done = _answer(line, process)
                report(number, done[0])
                if waiting and done[1]:
                    number, task = waiting.pop(0)
                    line.send(task)
                    team[line] = process, number
                    continue
                if done[1]:
                    line.send(None)
                    leaving.append(process)
                if waiting:
                    _hire(team, waiting.pop(0), threads)
        for process in leaving:
            process.join()


def _hire(team: dict[Any, Any], first: tuple[int, Task], threads: int) -> None:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, threads), daemon=False)
    process.start()
    theirs.close()
    number, task = first
    ours.send(task)
    team[ours] = process, number


def _answer(line: connection.Connection, process: Any) -> tuple[Done, bool]:
    """What a worker says, and whether it goes on living."""
    try:
        return line.recv(), True
    except (EOFError, OSError):
        process.join()
        return Done(float("nan"), 0.0, f"its process ended with status {process.exitcode}"), False


@contextlib.contextmanager
def _dismissed(team: dict[Any, Any], leaving: list[Any]) -> Iterator[None]:
    """Whatever happens, no worker outlives this; each gets the time to record its end."""
    try:
        yield
    finally:
        left = [process for process, _ in team.values()] + leaving
        for process in left:
            process.terminate()
        for process in left:
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()


def _work(line: connection.Connection, threads: int) -> None:
    """A worker: tasks in, what came of them out, until there is none."""
    from imbalance_study.tracking import session

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process tells when to stop
    torch.set_num_threads(threads)
    try:
        with shared_data():
            while True:
                task = line.recv()
                if task is None:
                    session.catch_up()
                    return
                line.send(run_one(task))
    except (EOFError, BrokenPipeError):
        sys.exit(1)  # the first process is gone
