"""Runs that are done once: what the tables of paper_table.py and remedies.py are made of.

A finished run is a line of JSON in a file. It is known by its options, by the fingerprint of its
data and by the kind of machine that it ran on, and is not run again; a line that a crash cut off is
run anew. A line names no folder, so that the file can be kept beside the code.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import torch

import imbalance_study
from imbalance_study.config.schema import Config
from imbalance_study.data.fingerprint import fingerprint
from imbalance_study.experiment.result import RunResult
from imbalance_study.experiment.run import Checkpoints, run
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import load_data
from imbalance_study.experiment.setup.device import resolve_device
from imbalance_study.training.checkpointing import Keeper, newest

Row = dict[str, Any]

# Where a run reads, is recorded and is looked at changes nothing of its result; the machine counts
# by itself.
_NO_RESULT = ("Evaluation", "Tracking")
_ELSEWHERE = {
    *("data_dir", "cache_dir", "decode_workers", "device", "precision"),
    *(f.name for f in dataclasses.fields(Config) if f.metadata["group"] in _NO_RESULT),
}
_DATA_GROUPS = ("Data", "Imbalance")
# Share of a GPU's memory that several runs divide: each process has a context beside it.
_MEMORY = 0.9


class Job(NamedTuple):
    """A run that a table needs."""

    name: str  # the row of the table
    config: Config


def parser(text: str, *, out: str) -> argparse.ArgumentParser:
    """The options that both tables have."""
    made = argparse.ArgumentParser(description=text, formatter_class=_Help)
    made.add_argument("--data_dir", default="data", help="folder that holds CIFAR-10")
    made.add_argument("--out", type=Path, default=Path(out), help="finished runs, a line each")
    made.add_argument("--seeds", type=int, default=3, help="runs of each row")
    made.add_argument("--epochs", type=int, default=0, help="a smaller budget; 0: as it should be")
    made.add_argument("--model", default="", help="another model than the table's own")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    made.add_argument("--parallel", type=int, default=1, help="runs at a time, a process each")
    made.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE",
                      help="any other option; may be repeated")  # fmt: skip
    made.add_argument("--checkpoints", type=Path, default=None, metavar="DIR",
                      help="keep checkpoints there, and go on from them")  # fmt: skip
    made.add_argument("--summary", action="store_true", help="run nothing, print the table")
    return made


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Line breaks as they are, defaults behind the help."""


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The options that the common options set.

    Raises:
        ValueError: A ``--set`` without ``=``, or a count below its minimum.
    """
    for name, least in (("seeds", 1), ("epochs", 0), ("parallel", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"{name} must be at least {least}, got {getattr(options, name)}")
    values: dict[str, Any] = {"data_dir": options.data_dir, "device": options.device}
    values["analyses"] = "none"
    if options.epochs:
        values["epochs"] = options.epochs
    if options.model:
        values["model"] = options.model
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"set takes KNOB=VALUE, got {text!r}")
        values[name] = value
    return values


def guarded(main: Callable[[list[str]], int]) -> int:
    """Run a script on the command line's words; an error in what was typed is one line."""
    try:
        return main(sys.argv[1:])
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def rows_for(jobs: Sequence[Job], options: argparse.Namespace) -> list[Row]:
    """The finished rows of the jobs, after running what is missing.

    With ``--summary`` nothing is run, and a row counts whatever data and machine it comes from.

    Raises:
        ValueError: A run failed; the others are done and kept.
    """
    if options.summary:
        by_settings = {row["knobs"]: row for row in read(options.out)}
        finished = [(job, by_settings.get(options_of(job.config))) for job in jobs]
        return [{**row, "name": job.name} for job, row in finished if row is not None]
    identities = {job: _identity(job.config) for job in jobs}
    failed = _complete(jobs, identities, options)
    found = {_known_by(row): row for row in read(options.out)}
    if failed:
        raise ValueError(f"{failed} of {len(jobs)} runs failed; start again to repeat them")
    return [{**found[identities[job]], "name": job.name} for job in jobs]


def read(path: Path) -> list[Row]:
    """The rows of a file; lines that are cut off are left out. No file, no rows."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and "knobs" in row:
            rows.append(row)
    return rows


def append(path: Path, row: Row) -> None:
    """Add a row on a line of its own, also behind one that was cut off; it is on disk after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            cut_off = file.read(1) != b"\n"
            file.write(b"\n" if cut_off else b"")
        file.write(json.dumps(row).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def options_of(settings: Config) -> str:
    """Hash the options that change the result, under their first names: rows stay known.

    Options at their default do not count, so that a new option leaves each row known.
    """
    plain, given = _results_options(Config()), _results_options(settings)
    options = {
        field.metadata["formerly"] or field.name: given[field.name]
        for field in dataclasses.fields(settings)
        if field.name in given and given[field.name] != plain[field.name]
    }
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]


def _results_options(settings: Config) -> Row:
    return {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if name not in _ELSEWHERE
    }


def _identity(settings: Config) -> tuple[str, str, str]:
    device_setup = resolve_device(settings)
    machine = f"{device_setup.device.type}/{device_setup.precision}"
    if device_setup.device.type == "cuda":  # seconds and last digits are those of a card
        machine += f"/{torch.cuda.get_device_name()}"
    return options_of(settings), _fingerprint(settings), machine


def _known_by(row: Row) -> tuple[str, str, str]:
    return row["knobs"], row["data"], row["machine"]


_FINGERPRINTS: dict[tuple[Any, ...], str] = {}


def _fingerprint(settings: Config) -> str:
    """Of images and split; the images are read once for all jobs that share them."""
    names = [f.name for f in dataclasses.fields(Config) if f.metadata["group"] in _DATA_GROUPS]
    shared = tuple(getattr(settings, name) for name in names)
    if shared not in _FINGERPRINTS:
        plain = dataclasses.replace(settings, resample="none", allow_double_correction=False)
        data = load_data(plain, bind(plain))
        facts = fingerprint(data.image_set, data.split, settings.data_seed)
        _FINGERPRINTS[shared] = facts["fingerprint"]
    return _FINGERPRINTS[shared]


def _complete(
    jobs: Sequence[Job], identities: dict[Job, tuple[str, str, str]], options: argparse.Namespace
) -> int:
    """Run the jobs that are not in the file; returns how many failed."""
    done = {_known_by(row) for row in read(options.out)}
    known = sum(identities[job] in done for job in jobs)
    print(f"{known} of {len(jobs)} runs are in {options.out}", flush=True)
    # Two rows of a table may be the same run.
    missing = list(
        {identities[job]: job for job in reversed(jobs) if identities[job] not in done}.values()
    )[::-1]
    failed = 0
    results = _results(missing, options.parallel, options.checkpoints)
    for number, (job, result) in enumerate(results, 1):
        title = f"{number}/{len(missing)} {job.name} seed {job.config.seed}"
        if isinstance(result, Exception):
            failed += 1
            print(f"{title}: failed: {result}", flush=True)
            continue
        named, data, machine = identities[job]
        append(options.out, {"knobs": named, "data": data, "machine": machine, **result})
        accuracy = result["metrics"]["test_last/accuracy"]
        print(f"{title}: {100 * accuracy:.2f} % in {result['seconds']:.0f} s", flush=True)
    return failed


def _results(
    jobs: Sequence[Job], parallel: int, checkpoints: Path | None
) -> Iterator[tuple[Job, Row | Exception]]:
    if parallel == 1:
        for job in jobs:
            yield job, _tried(lambda job=job: run_job(job, 1, checkpoints))  # type: ignore[misc]
        return
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(parallel, mp_context=context) as pool:
        futures = {pool.submit(run_job, job, parallel, checkpoints): job for job in jobs}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], _tried(future.result)
        finally:
            pool.shutdown(cancel_futures=True)


def _tried(call: Callable[[], Row]) -> Row | Exception:
    try:
        return call()
    except BrokenProcessPool:
        return RuntimeError("its process died; with too little memory, take a smaller --parallel")
    except Exception as error:
        return error


def run_job(job: Job, parallel: int, checkpoints: Path | None = None) -> Row:
    """Run a job, its machine shared with `parallel` - 1 others.

    Args:
        job: The job.
        parallel: Runs at a time; each has its share of the cores, and of the memory of a GPU.
        checkpoints: Folder of the checkpoints of unfinished runs; None keeps none.
    """
    if parallel > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (cores or 1) // parallel)))
        if resolve_device(job.config).device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(_MEMORY / parallel)
    # Before the training: what cannot be said must not cost it.
    machine = hardware(resolve_device(job.config).device.type)
    packages = versions()
    begun = time.perf_counter()
    result = _run(job.config, checkpoints)
    return {
        "name": job.name,
        "seed": job.config.seed,
        "seconds": time.perf_counter() - begun,
        "metrics": result.metrics,
        "train_counts": result.facts.train_counts,
        "config": _results_options(job.config),
        "parallel": parallel,
        "threads": torch.get_num_threads(),
        "hardware": machine,
        "versions": packages,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def hardware(device: str) -> str:
    """The device and its name."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if "model name" in line), name)
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} used by a run"


def versions() -> str:
    """Of Python, of this code and of the packages that compute.

    This code's own is that of the folder that is imported, which need not be installed.
    """
    found = [f"imbalance-study {imbalance_study.__version__}"]
    for name in ("torch", "torchvision", "numpy"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} unknown")
    return ", ".join([f"Python {platform.python_version()}", *found])


def _run(config: Config, checkpoints: Path | None) -> RunResult:
    """Train and evaluate, from the last checkpoint of the same run where there is one."""
    with tempfile.TemporaryDirectory() as output:
        if checkpoints is None:
            return run(config, output_dir=Path(output), show_progress=False)
        folder = checkpoints / f"{options_of(config)}-{config.seed}"
        keeper = Keeper(folder, {})
        state = newest(folder, print)
        result = run(
            config,
            output_dir=Path(output),
            show_progress=False,
            checkpoints=Checkpoints(keeper, state),
        )
        keeper.discard()
        return result
