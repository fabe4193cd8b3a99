"""Train runs one after the other, or several at the same time in separate processes."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

from imbalance_study.config.resolve import Resolved, usual_batch_size
from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.experiment.setup.device import CPU, resolve_device
from imbalance_study.experiment.setup.inputs import LocalFiles, load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.models import profiling
from imbalance_study.studies.comparison.plan import PlannedRun

MOST = 4  # runs that `auto` starts at the same time on one GPU
_PROCESS_BYTES = 2 << 30  # of GPU memory: the context of a process, its libraries and workspaces
_PATIENCE = 60.0  # seconds in which a terminated worker may record its end


class RunTask(NamedTuple):
    """A run to train, as it is sent to a worker."""

    resolved: Resolved
    tags: dict[str, str]
    parent: str  # id of the parent run
    brief: bool
    metric: str
    weights: dict[str, Path]  # downloaded checkpoints, see `LocalFiles`


class TaskResult(NamedTuple):
    """The result of a task."""

    value: float  # of the metric
    seconds: float  # in total
    problem: str  # the reason of a failure; empty after success


Report = Callable[[int, TaskResult], None]


def count_parallel(parallel: int | str, children: Sequence[PlannedRun], local: LocalFiles) -> int:
    """Count the runs to train at the same time: as given, or as the GPU's memory holds, else 1."""
    shares = [child for child in children if _settles_itself(child)]
    if parallel != "auto":
        count = max(1, min(int(parallel), len(children)))
        if count > 1 and shares:
            raise ValueError(
                f"batch_size=auto tries what the memory of the GPU holds, which {count} runs at a "
                "time share; set batch_size, or parallel=1"
            )
        return count
    if shares or not children or resolve_device(children[0].resolved.config).device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info()
    needed = max(_gpu_bytes(config, local) for config in _distinct(children))
    cores = max(1, (os.cpu_count() or 1) // 2)
    return int(max(1, min(MOST, cores, len(children), 0.8 * free // needed)))


def _settles_itself(child: PlannedRun) -> bool:
    """Tell whether a run finds its batch size by trying, on a GPU."""
    config = child.resolved.config
    return config.batch_size == "auto" and resolve_device(config).device.type == "cuda"


def count_threads(threads: int | str, parallel: int, children: Sequence[PlannedRun]) -> int:
    """Count the threads of each run: as given, else OMP_NUM_THREADS, else 1 on a processor.

    On a processor sums round by the number of threads, so that it must not follow from the number
    of runs at the same time. On a GPU they share the cores.
    """
    if threads != "auto":
        return int(threads)
    if children and resolve_device(children[0].resolved.config).device.type == "cpu":
        given = os.environ.get("OMP_NUM_THREADS", "")
        return int(given) if given.isdigit() and int(given) else 1
    return max(1, torch.get_num_threads() // parallel)


def _distinct(children: Sequence[PlannedRun]) -> list[Any]:
    """Keep one configuration for each need of memory."""
    distinct = {}
    for child in children:
        config = child.resolved.config
        distinct[config.model, config.image_size, config.batch_size, config.ema] = config
    return list(distinct.values())


def _gpu_bytes(config: Any, local: LocalFiles) -> int:
    """Estimate the bytes of a run: training in fp32, resident images, and the process itself."""
    inputs = load_inputs(config, local, device_setup=CPU)
    data = inputs.data
    size = usual_batch_size(config) if config.batch_size == "auto" else config.batch_size
    with torch.random.fork_rng([]):
        model = build_model(inputs)
    training = profiling.estimate_training_memory(
        model, data.image_size, size, copies=5 if config.ema else 4
    )
    images = sum(map(len, data.split)) * data.image_size**2 * 3
    return training + images + _PROCESS_BYTES


def run_task(task: RunTask, cache: DataCache | None = None) -> TaskResult:
    """Train and record one configuration; an error becomes the result's problem."""
    begun = time.perf_counter()
    value, model, problem = float("nan"), None, ""
    try:
        value, model = _train(task, cache)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        problem = kind + text
    # A collection takes half a second, as it looks at all that was ever imported.
    if model is None or model() is not None:  # the run failed, or its model holds a cycle
        gc.collect()
    profiling.free_cached_memory()
    return TaskResult(value, time.perf_counter() - begun, problem)


def _train(
    task: RunTask, cache: DataCache | None
) -> tuple[float, weakref.ReferenceType[torch.nn.Module]]:
    """Train and record; return the metric, and the model as long as something else holds it."""
    from imbalance_study.tracking import run

    result = run.train(
        task.resolved,
        run.Recording(task.tags, task.parent),
        show_progress=False,
        brief=task.brief,
        local=LocalFiles(task.weights, cache),
    )
    return result.metrics[task.metric], weakref.ref(result.model)


def run_in_turn(
    tasks: Sequence[RunTask], report: Report, cache: DataCache | None = None, *, threads: int = 1
) -> None:
    """Run tasks one after the other in this process, with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for number, task in enumerate(tasks):
            report(number, run_task(task, cache))
    finally:
        torch.set_num_threads(before)


def run_in_parallel(
    tasks: Sequence[RunTask], count: int, report: Report, *, threads: int = 1
) -> None:
    """Run tasks in several fresh processes, each of which takes task after task.

    Decoded images are memory-mapped, so that the processes share them. A process that dies loses
    its current task only; another one takes its place. Returns when the store has all records of
    the processes, or they gave up on it.

    Args:
        tasks: The tasks.
        count: Number of processes.
        report: Called in this process with the number of a task and its result.
        threads: Of each process.
    """
    waiting = list(enumerate(tasks))
    busy: dict[connection.Connection, tuple[Any, int]] = {}  # to process and task number
    exiting: list[Any] = []
    with _terminate_on_exit(busy, exiting):
        for _ in range(min(count, len(tasks))):
            _start_worker(busy, waiting.pop(0), threads)
        while busy:
            for channel in connection.wait(list(busy)):
                assert isinstance(channel, connection.Connection)
                process, number = busy.pop(channel)
                result, alive = _receive(channel, process)
                report(number, result)
                if waiting and alive:
                    number, task = waiting.pop(0)
                    channel.send(task)
                    busy[channel] = process, number
                elif alive:
                    channel.send(None)
                    exiting.append(process)
                elif waiting:
                    _start_worker(busy, waiting.pop(0), threads)
        for process in exiting:
            process.join()


def _start_worker(busy: dict[Any, Any], first: tuple[int, RunTask], threads: int) -> None:
    """Start a worker process with its first task."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, threads, os.getpid()), daemon=False)
    process.start()
    theirs.close()
    number, task = first
    ours.send(task)
    busy[ours] = process, number


def _receive(channel: connection.Connection, process: Any) -> tuple[TaskResult, bool]:
    """Receive the result of a worker, and whether the worker still lives."""
    try:
        return channel.recv(), True
    except (EOFError, OSError):
        process.join()
        problem = f"its process ended with status {process.exitcode}"
        return TaskResult(float("nan"), 0.0, problem), False


@contextlib.contextmanager
def _terminate_on_exit(busy: dict[Any, Any], exiting: list[Any]) -> Iterator[None]:
    """Terminate all workers when the block ends; each has time to record the end of its run."""
    try:
        yield
    finally:
        processes = [process for process, _ in busy.values()] + exiting
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()


def _work(channel: connection.Connection, threads: int, parent: int) -> None:
    """Run tasks from a channel and send their results, until None comes or the parent is gone."""
    from imbalance_study.tracking import process, session

    process.end_with_parent(parent)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides when to stop
    torch.set_num_threads(threads)
    try:
        cache = DataCache()
        while True:
            task = channel.recv()
            if task is None:
                session.finish_uploads()
                return
            channel.send(run_task(task, cache))
    except (EOFError, BrokenPipeError):
        sys.exit(1)  # the first process is gone
