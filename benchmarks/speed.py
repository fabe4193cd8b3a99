"""The measurements behind the rows of run.py."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import multiprocessing
import os
import queue as queue_module
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ours
import torch
import turns

from imbalance_study.config import resolve
from imbalance_study.data.loader import Batches
from imbalance_study.experiment.run import run_without_test

BATCH = 128
_PATIENCE = 240.0  # seconds for the answer of a process
spread = ours.spread


class CannotMeasure(Exception):
    """What a row needs is not there."""


@dataclasses.dataclass
class Bench:
    """What all rows share."""

    data_dir: str
    windows: int
    steps: int  # 0: as the row needs
    folder: Path  # scratch
    graph: bool = False  # capture our updates against the naive loop
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def device(self) -> str:
        """Kind of the device."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    def steps_of(self, on_cpu: int, on_cuda: int = 200) -> int:
        """Updates a window."""
        return self.steps or (on_cuda if self.device == "cuda" else on_cpu)

    def cifar(self, **options: Any) -> dict[str, Any]:
        """Options of CIFAR-10 with all its images, or of noise in its place."""
        common = {"augment": "crop+flip", "batch_size": BATCH, "imbalance": "none"}
        if self.data_dir and Path(self.data_dir, "cifar10").is_dir():
            return {"dataset": "cifar10", "data_dir": self.data_dir} | common | options
        noise = self.folder / "noise"
        if not noise.exists():
            _write_noise(noise)
            self.notes.append("images of noise in place of CIFAR-10")
        return (
            {"dataset": "imagefolder", "data_dir": str(noise), "image_size": 32} | common | options
        )

    def flowers(self) -> str:
        """The folder of Flowers.

        Raises:
            CannotMeasure: It is not there.
        """
        if not self.data_dir or not Path(self.data_dir, "flowers").is_dir():
            raise CannotMeasure("no folder flowers in data_dir")
        return self.data_dir


def _write_noise(folder: Path) -> None:
    from PIL import Image

    generator = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class{label}").mkdir(parents=True)
        for index in range(150):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{index}.png")


def over_bare(bench: Bench) -> list[float]:
    """P4: our loop over the model step alone."""
    mine = ours.ready(**bench.cifar(model="efficientnet_b0"))
    found = ours.windows(mine, 12 * bench.windows, bench.steps_of(5), ours.bare(mine))
    return found.each


def captured(bench: Bench) -> list[float]:
    """P12: images per second of captured updates over those that are launched one by one."""
    if bench.device != "cuda":
        raise CannotMeasure("needs a GPU")
    options = bench.cifar(model="efficientnet_b0")
    other = ours.ready(**options, cuda_graph="false")

    def launched(steps: int) -> float:
        speeds: list[float] = []
        ours.epochs(
            other, 1, steps, lambda one: speeds.append(one.metrics["time/images_per_second"])
        )
        return steps * BATCH / speeds[0]

    mine = ours.ready(**options, cuda_graph="true")
    return ours.windows(mine, bench.windows, bench.steps_of(20), launched).each


def share_of_feeding(bench: Bench) -> list[float]:
    """P9: seconds of sampler, gathering and augmentation over those of as many steps."""
    mine = ours.ready(**bench.cifar(model="efficientnet_b0"))
    found = ours.windows(mine, bench.windows, bench.steps_of(20), ours.feeding(mine))
    return found.each


def tracking(bench: Bench) -> list[float]:
    """P5: from the first step to the end of the last epoch, tracked over not, in turns."""
    if importlib.util.find_spec("mlflow") is None:
        raise CannotMeasure("needs mlflow")
    epochs, slice_seconds = (3, 1.0) if bench.device == "cpu" else (10, 0.5)
    options = bench.cifar(
        model="mobilenet_v2", imbalance="exponential:ratio=100", analyses="none", epochs=epochs,
        steps_per_epoch=bench.steps, tracking_uri=f"sqlite:///{bench.folder / 'tracked.db'}",
        device=bench.device,
    )  # fmt: skip
    resolved = resolve.resolve(options)
    both = ((resolved, bench.folder, True), (resolved, bench.folder, False))
    return [turns.ratio(_train, *both, slice_seconds) for _ in range(bench.windows)]


def _train(
    hook: Callable[[bool], None], resolved: resolve.Resolved, folder: Path, tracked: bool
) -> None:
    def on_epoch(result: Any) -> None:
        if result.epoch in (0, resolved.config.epochs):
            hook(result.epoch > 0)

    if tracked:
        from imbalance_study.tracking import run

        run.train(resolved, hooks=run.Hooks(on_epoch), show_progress=False, test=False)
    else:
        run_without_test(resolved.config, on_epoch, show_progress=False)


def start(bench: Bench) -> list[float]:
    """P6: the command's own clock, which starts with its process, at its first step."""
    words = "train --dataset digits --epochs 1 --analyses none"
    for _ in range(bench.windows + 1):  # the first makes the store and fills the page cache
        found = _command(bench, words, "time/start_seconds")
    return found[: bench.windows]


def between_trials(bench: Bench) -> list[float]:
    """Seconds from the last epoch of a trial to the first step of the next, a study each."""
    words = (
        "study --dataset digits --model resnet20 --epochs 1 --steps_per_epoch 5 --trials 5 "
        "--search loss --winner_seeds 0 --storage"
    )
    for number in range(bench.windows):
        place = bench.folder / f"{number}.journal"
        found = _command(bench, f"{words} {place}", "trials/seconds_between")
    return found


def beside_training(bench: Bench) -> list[float]:
    """Seconds from the start of a child of a comparison to the next, without its training.

    Of the children beyond the first seed, which draw nothing; each makes one update.
    """
    words = (
        "compare --dataset digits --model resnet20 --image_size 16 --epochs 1 --steps_per_epoch 1 "
        f"--vary loss=cross_entropy|focal --seeds {bench.windows + 2}"
    )
    runs = _runs(bench, words)
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags][::-1]
    starts = [run.info.start_time / 1000 for run in children]
    trained = [run.data.metrics["time/train_seconds"] for run in children]
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    return [gap - seconds for gap, seconds in zip(gaps[2:], trained[2:], strict=False)]


def _command(bench: Bench, words: str, metric: str) -> list[float]:
    """Run a command on digits; a metric of all runs that have it, the newest first."""
    runs = _runs(bench, words)
    return [one.data.metrics[metric] for one in runs if metric in one.data.metrics]


def _runs(bench: Bench, words: str) -> list[Any]:
    """Run a command on digits; all runs of its store, the newest first."""
    try:
        import click  # noqa: F401, TID251
        import mlflow  # noqa: TID251
    except ModuleNotFoundError as error:
        raise CannotMeasure(f"needs {error.name}") from error

    uri = f"sqlite:///{bench.folder / 'commands.db'}"
    subprocess.run(
        [sys.executable, "-m", "imbalance_study", *words.split(), "--tracking_uri", uri],
        check=True,
        capture_output=True,
        cwd=bench.folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["", str(Path(__file__).parents[1])])},
    )
    runs = mlflow.MlflowClient(uri).search_runs(["1"])
    return sorted(runs, key=lambda one: -one.info.start_time)


def _with_images(mine: ours.Ours, count: int, *, resident: bool) -> Batches:
    """The training images, repeated or cut to that many."""
    rows = np.resize(mine.data.train_rows, count)
    return Batches(
        mine.data.train_images,
        mine.data.train_labels,
        rows,
        mine.device_setup.device,
        resident=resident,
    )


def _paired(bench: Bench, first: Batches, second: Batches, mine: ours.Ours) -> list[float]:
    """Images per second with the first part over that with the second, in turns."""
    speeds: dict[int, list[float]] = {0: [], 1: []}
    for number in range(3 * bench.windows + 1):
        pair = ((0, first), (1, second))
        for which, part in pair if number % 2 else reversed(pair):
            ours.epochs(
                mine, 1, bench.steps_of(15),
                lambda result, which=which: speeds[which].append(
                    result.metrics["time/images_per_second"]
                ), part,
            )  # fmt: skip
    return [a / b for a, b in zip(speeds[0][1:], speeds[1][1:], strict=True)]


def many_images(bench: Bench) -> list[float]:
    """P7: 100,000 resident images against 4,000."""
    mine = ours.ready(**bench.cifar(model="mobilenet_v2"))
    many = _with_images(mine, 100_000, resident=True)
    return _paired(bench, many, _with_images(mine, 4_000, resident=True), mine)


def streamed(bench: Bench) -> list[float]:
    """P7: 100,000 images read from the memory map against as many resident ones."""
    mine = ours.ready(**bench.cifar(model="mobilenet_v2"))
    held = _with_images(mine, 100_000, resident=True)
    return _paired(bench, _with_images(mine, 100_000, resident=False), held, mine)


def three_at_once(bench: Bench) -> list[float]:
    """P10: images per second of three processes together over those of one."""
    if bench.device != "cuda":
        raise CannotMeasure("needs a GPU")
    context = multiprocessing.get_context("spawn")
    found = []
    for _ in range(bench.windows):
        options, steps = bench.cifar(model="efficientnet_b0"), bench.steps_of(20, 300)
        alone, three = (together(context, count, options, steps) for count in (1, 3))
        found.append(three / alone)
    return found


def together(context: Any, count: int, options: dict[str, Any], steps: int) -> float:
    """Measure images per second of several processes at a time, in all.

    Raises:
        RuntimeError: One has died, or nothing came for a long time.
    """
    barrier, queue = context.Barrier(count), context.Queue()
    arguments = (options, steps, barrier, queue)
    processes = [context.Process(target=_one_of_several, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        return sum(_answers(queue, processes))
    finally:
        for process in processes:
            process.kill()
            process.join()


def _answers(queue: Any, processes: Sequence[Any]) -> list[float]:
    """Wait for a number from each process.

    Raises:
        RuntimeError: One has died, or nothing came for a long time.
    """
    found: list[float] = []
    deadline = time.monotonic() + _PATIENCE
    while len(found) < len(processes):
        try:
            found.append(queue.get(timeout=0.5))
        except queue_module.Empty:
            dead = [process.exitcode for process in processes if process.exitcode]
            if dead:
                raise RuntimeError(f"one of the processes ended with status {dead[0]}") from None
            if time.monotonic() > deadline:
                raise RuntimeError(f"a process did not answer in {_PATIENCE:.0f} s") from None
    return found


def _one_of_several(options: dict[str, Any], steps: int, barrier: Any, queue: Any) -> None:
    speeds = []

    def meet(result: Any) -> None:
        speeds.append(result.metrics["time/images_per_second"])
        barrier.wait(_PATIENCE)

    ours.epochs(ours.ready(**options), 3, steps, meet)
    queue.put(statistics.median(speeds[1:]))
