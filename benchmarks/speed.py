"""The measurements behind the rows of run.py."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import naive
import numpy as np
import ours
import torch

from imbalance_study import experiment, prepare
from imbalance_study.data.batches import Batches
from imbalance_study.training.predict import predict

BATCH = 128
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
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def device(self) -> str:
        """Kind of the device."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    def steps_of(self, on_cpu: int, on_cuda: int = 200) -> int:
        """Updates a window."""
        return self.steps or (on_cuda if self.device == "cuda" else on_cpu)

    def cifar(self, **knobs: Any) -> dict[str, Any]:
        """Knobs of CIFAR-10 with all its images, or of noise in its place."""
        common = {"augment": "crop+flip", "batch_size": BATCH, "imbalance": "none"}
        if self.data_dir and Path(self.data_dir, "cifar10").is_dir():
            return {"dataset": "cifar10", "data_dir": self.data_dir} | common | knobs
        noise = self.folder / "noise"
        if not noise.exists():
            _write_noise(noise)
            self.notes.append("images of noise in place of CIFAR-10")
        return {"dataset": "imagefolder", "data_dir": str(noise), "image_size": 32} | common | knobs

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
        for index in range(60):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{index}.png")


def _naive(mine: ours.Ours, **options: Any) -> naive.Naive:
    """The naive loop with the same model, stem, data, batch size and kind of optimizer."""
    twin = prepare.build_model(mine.config, mine.data, mine.where._replace(channels_last=False))
    look = naive.transform(
        mine.data.image_size, mine.data.mean.tolist(), mine.data.std.tolist(), resize=False,
        augment=options.pop("augment", True),
    )  # fmt: skip
    rows = mine.data.train_rows
    data = naive.Photographs(
        np.asarray(mine.data.train_images[rows]), mine.data.train_labels[rows], look
    )
    optimizer = options.pop("optimizer", None) or torch.optim.AdamW(twin.parameters(), lr=0.002)
    return naive.Naive(twin, optimizer, data, BATCH, mine.where.device, **options)


def over_naive(bench: Bench, model: str) -> list[float]:
    """P1, P2: images per second of our loop over the naive one's."""
    knobs = bench.cifar(model=model)
    steps = bench.steps_of(6 if model == "resnet18" else 20)
    with apart(_naive_of, knobs) as other:
        found = ours.windows(ours.ready(**knobs), bench.windows, steps, other)
    bench.notes.append(
        f"{model} at 32 px: {statistics.median(found.ours):.0f} images/s, the naive loop "
        f"{statistics.median(found.others):.0f}"
    )
    return found.each


def _naive_of(knobs: dict[str, Any]) -> naive.Naive:
    return _naive(ours.ready(**knobs))


@contextlib.contextmanager
def apart(make: Callable[..., naive.Naive], *given: Any) -> Iterator[Callable[[int], float]]:
    """A naive loop in a process of its own, which keeps its memory as any script does.

    Yields:
        Trains that many batches there, and returns the seconds; its workers then fill their queue,
        so that they rest while others are measured.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, make, given))
    process.start()
    there.close()

    def window(steps: int) -> float:
        here.send(steps)
        return float(here.recv())

    try:
        yield window
    finally:
        here.close()
        process.join()


def _serve(pipe: Any, make: Callable[..., naive.Naive], given: tuple[Any, ...]) -> None:
    other = make(*given)
    with contextlib.suppress(EOFError):
        while True:
            seconds = other.window(pipe.recv())
            other.settle()
            pipe.send(seconds)


def flowers_over_naive(bench: Bench) -> list[float]:
    """P3: the naive loop opens and resizes the files anew in every epoch."""
    batch = BATCH if bench.device == "cuda" else 16
    knobs = {
        "dataset": "flowers", "data_dir": bench.flowers(), "model": "efficientnet_b0",
        "image_size": 224, "augment": "crop+flip", "batch_size": batch,
    }  # fmt: skip
    with apart(_naive_of_files, knobs) as other:
        mine = ours.ready(**knobs)
        found = ours.windows(mine, bench.windows, bench.steps_of(6, 24), other)
    bench.notes.append(
        f"P3: batches of {batch}, {statistics.median(found.ours):.1f} images/s, the naive loop "
        f"{statistics.median(found.others):.1f}"
    )
    return found.each


def _naive_of_files(knobs: dict[str, Any]) -> naive.Naive:
    mine = ours.ready(**knobs)
    twin = prepare.build_model(mine.config, mine.data, mine.where._replace(channels_last=False))
    rows = mine.data.train_rows
    root = Path(knobs["data_dir"], "flowers")
    files = [str(root / mine.data.image_set.files[row]) for row in rows]
    if not Path(files[0]).exists():
        files = [str(Path(knobs["data_dir"]) / mine.data.image_set.files[row]) for row in rows]
    look = naive.transform(224, mine.data.mean.tolist(), mine.data.std.tolist(), resize=True)
    data = naive.Photographs(files, mine.data.train_labels[rows], look)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.002)
    return naive.Naive(twin, optimizer, data, mine.procedure.batch_size, mine.where.device)


def over_bare(bench: Bench) -> list[float]:
    """P4: our loop over the model step alone."""
    mine = ours.ready(**bench.cifar(model="efficientnet_b0"))
    found = ours.windows(mine, 4 * bench.windows, bench.steps_of(10), ours.bare(mine))
    return found.each


def share_of_feeding(bench: Bench) -> list[float]:
    """P9: seconds of sampler, gathering and augmentation over those of as many steps."""
    mine = ours.ready(**bench.cifar(model="efficientnet_b0"))
    found = ours.windows(mine, bench.windows, bench.steps_of(20), ours.feeding(mine))
    return found.each


def tracking(bench: Bench) -> list[float]:
    """P5: from the first step to the end of the last epoch, tracked and not, in turns."""
    from imbalance_study import config
    from imbalance_study.tracking import run

    steps = bench.steps_of(40, 100)
    knobs = bench.cifar(
        model="mobilenet_v2", imbalance="exponential:ratio=100", analyses="none", epochs=5,
        steps_per_epoch=steps, tracking_uri=f"sqlite:///{bench.folder / 'tracked.db'}",
        device=bench.device,
    )  # fmt: skip
    resolved = config.resolve(knobs)

    def timed(train: Any) -> float:
        times = []
        train(lambda result: times.append(time.perf_counter()))
        return times[-1] - times[0]

    def tracked(hook: Any) -> None:
        run.train(resolved, on_epoch=hook, show_progress=False)

    def plain(hook: Any) -> None:
        experiment.run(resolved.config, hook, output_dir=bench.folder, show_progress=False)

    timed(plain)
    return [timed(tracked) / timed(plain) for _ in range(bench.windows)]


def start(bench: Bench) -> list[float]:
    """P6: the command's own clock, which starts with its process, at its first step."""
    import mlflow  # noqa: TID251

    uri = f"sqlite:///{bench.folder / 'start.db'}"
    words = f"train --dataset digits --epochs 1 --analyses none --tracking_uri {uri}".split()
    for _ in range(bench.windows + 1):  # the first makes the store and fills the page cache
        subprocess.run(
            [sys.executable, "-m", "imbalance_study", *words],
            check=True,
            capture_output=True,
            cwd=bench.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(["", str(Path(__file__).parents[1])])},
        )
    runs = mlflow.MlflowClient(uri).search_runs(["1"])
    newest_first = sorted(runs, key=lambda one: -one.info.start_time)
    return [one.data.metrics["time/start_seconds"] for one in newest_first[: bench.windows]]


def _with_images(mine: ours.Ours, count: int, *, resident: bool) -> Batches:
    """The training images, repeated or cut to that many."""
    rows = np.resize(mine.data.train_rows, count)
    return Batches(
        mine.data.train_images, mine.data.train_labels, rows, mine.where.device, resident=resident
    )


def _paired(bench: Bench, first: Batches, second: Batches, mine: ours.Ours) -> list[float]:
    """Images per second with the first part over that with the second, in turns."""
    speeds: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(bench.windows + 1):
        for which, part in enumerate((first, second)):
            ours.epochs(
                mine, 1, bench.steps_of(30),
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


def memory(bench: Bench) -> list[float]:
    """P8: in processes of their own; on a GPU, peak of its memory over the naive loop's."""
    if not Path("/proc/self/clear_refs").exists():
        raise CannotMeasure("needs Linux")
    kinds = ("ours", "naive") if bench.device == "cuda" else ("ours",)
    context = multiprocessing.get_context("spawn")
    found: dict[str, float] = {}
    for kind in kinds:
        receive, send = context.Pipe(duplex=False)
        process = context.Process(
            target=_peak, args=(kind, bench.cifar(), bench.steps_of(20), send)
        )
        process.start()
        send.close()
        found[kind] = receive.recv()
        process.join()
    if bench.device == "cuda":
        return [found["ours"] / found["naive"]]
    return [found["ours"]]


def _peak(kind: str, knobs: dict[str, Any], steps: int, send: Any) -> None:
    """GB beyond imports and data of a training of efficientnet_b0."""
    before = _resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    mine = ours.ready(**knobs, model="efficientnet_b0")
    data = len(mine.data.train_rows) * mine.data.image_size**2 * 3
    if kind == "naive":
        _naive(mine).window(steps)
    else:
        ours.epochs(mine, 2, steps, lambda result: None)
    if torch.cuda.is_available():
        # The naive loop's images stay on the host.
        peak = torch.cuda.max_memory_allocated() - (data if kind == "ours" else 0)
    else:
        peak = _resident_bytes("VmHWM") - before - data
    send.send(peak / 1e9)


def _resident_bytes(name: str) -> int:
    """Memory of this process: now (VmRSS) or at its highest (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def three_at_once(bench: Bench) -> list[float]:
    """P10: images per second of three processes together over those of one."""
    if bench.device != "cuda":
        raise CannotMeasure("needs a GPU")
    context = multiprocessing.get_context("spawn")
    found = []
    for _ in range(bench.windows):
        alone, together = (_at_once(context, count, bench) for count in (1, 3))
        found.append(together / alone)
    return found


def _at_once(context: Any, count: int, bench: Bench) -> float:
    barrier, queue = context.Barrier(count), context.Queue()
    knobs = bench.cifar(model="efficientnet_b0")
    arguments = (knobs, bench.steps_of(20, 300), barrier, queue)
    processes = [context.Process(target=_one_of_several, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    speeds = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(speeds)


def _one_of_several(knobs: dict[str, Any], steps: int, barrier: Any, queue: Any) -> None:
    speeds = []

    def meet(result: Any) -> None:
        speeds.append(result.metrics["time/images_per_second"])
        barrier.wait()

    ours.epochs(ours.ready(**knobs), 3, steps, meet)
    queue.put(statistics.median(speeds[1:]))


def first_losses(bench: Bench, updates: int = 50) -> list[float]:
    """P11: losses of the same updates on the same images, without augmentation."""
    knobs = bench.cifar(
        model="resnet20", augment="none", optimizer="sgd:momentum=0,nesterov=false", lr=5e-4,
        weight_decay=0, schedule="constant:warmup=0", precision="fp32",
    )  # fmt: skip
    mine = ours.ready(**knobs)
    drawn: list[torch.Tensor] = []
    draw = mine.procedure.sampler

    def sampler(targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn.append(draw(targets, generator)[:BATCH])
        return drawn[-1]

    mine = mine._replace(procedure=dataclasses.replace(mine.procedure, sampler=sampler))
    start = {name: value.clone() for name, value in mine.model.state_dict().items()}
    losses: list[float] = []
    ours.epochs(mine, updates, 1, lambda result: losses.append(result.metrics["train/loss"]))
    order = torch.cat(drawn).tolist()
    twin = prepare.build_model(mine.config, mine.data, mine.where._replace(channels_last=False))
    twin.load_state_dict(start)
    optimizer = torch.optim.SGD(twin.parameters(), lr=5e-4)
    look = naive.transform(
        mine.data.image_size, mine.data.mean.tolist(), mine.data.std.tolist(), resize=False,
        augment=False,
    )  # fmt: skip
    rows = mine.data.train_rows
    data = naive.Photographs(
        np.asarray(mine.data.train_images[rows]), mine.data.train_labels[rows], look
    )
    other = naive.Naive(twin, optimizer, data, BATCH, mine.where.device, order=order)
    other.epochs(1)
    return [max(abs(a - b) for a, b in zip(losses, other.losses, strict=True))]


def _cosine(lr: float, done: float) -> float:
    return lr * 0.5 * (1 + math.cos(math.pi * done))


def parity(bench: Bench, seeds: int = 3) -> list[float]:
    """P11: test accuracy of our loop minus that of the naive one, the same recipe, in points."""
    epochs = 20 if bench.device == "cuda" else 3
    steps = 390 if bench.device == "cuda" else bench.steps_of(60)
    differences = []
    for seed in range(seeds):
        knobs = bench.cifar(
            model="resnet20", image_size=32, seed=seed, lr=0.002, weight_decay=0.01,
            schedule="cosine:warmup=0", epochs=epochs, steps_per_epoch=steps,
        )  # fmt: skip
        mine = ours.ready(**knobs)
        # To zero, as the accuracy of a last update at a high rate is a matter of luck.
        other = _naive(mine, schedule=lambda done: _cosine(0.002, (done + 0.5) / (epochs * steps)))
        ours.epochs(mine, epochs, steps, lambda result: None)
        with naive._deterministic():
            other._train(epochs * steps)
        test = prepare.part(mine.data, "test", mine.config, mine.where.device)
        scores = []
        for model in (mine.model, other.model):
            model.eval()
            found = predict(model, test, mine.procedure.normalise, mine.procedure.precision)
            scores.append(float((found.logits.argmax(1) == found.targets).mean()))
        differences.append(100 * (scores[0] - scores[1]))
    error = 2 * statistics.stdev(differences) / seeds**0.5
    bench.notes.append(
        f"P11a: {', '.join(f'{one:+.2f}' for one in differences)} points, twice the standard error "
        f"{error:.2f}"
    )
    return differences
