"""The rows of run.py that hold our loop against the naive one."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import naive
import numpy as np
import ours
import torch
from speed import BATCH, Bench, CannotMeasure

from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.training.predict import predict


def naive_beside(mine: ours.Ours, **options: Any) -> naive.Naive:
    """The naive loop with the same model, stem, data, batch size and kind of optimizer."""
    twin = mine.contiguous_twin()
    look = naive.transform(
        mine.data.image_size, mine.data.mean.tolist(), mine.data.std.tolist(), resize=False,
        augment=options.pop("augment", True),
    )  # fmt: skip
    rows = mine.data.train_rows
    data = naive.Photographs(
        np.asarray(mine.data.train_images[rows]), mine.data.train_labels[rows], look
    )
    optimizer = options.pop("optimizer", None) or torch.optim.AdamW(twin.parameters(), lr=0.002)
    return naive.Naive(twin, optimizer, data, BATCH, mine.device_setup.device, **options)


def over_naive(bench: Bench, model: str) -> list[float]:
    """P1, P2: images per second of our loop over the naive one's."""
    settings = bench.cifar(model=model)
    steps = bench.steps_of(6 if model == "resnet18" else 20)
    with apart(_naive_of, settings) as other:
        graph = {"cuda_graph": "true"} if bench.graph else {}
        found = ours.windows(ours.ready(**settings | graph), bench.windows, steps, other)
    bench.notes.append(
        f"{model} at 32 px{', captured' * bench.graph}: {statistics.median(found.ours):.0f} "
        f"images/s, the naive loop "
        f"{statistics.median(found.others):.0f}"
    )
    return found.each


def _naive_of(settings: dict[str, Any]) -> naive.Naive:
    return naive_beside(ours.ready(**settings))


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
    settings = {
        "dataset": "flowers", "data_dir": bench.flowers(), "model": "efficientnet_b0",
        "image_size": 224, "augment": "crop+flip", "batch_size": batch,
    }  # fmt: skip
    with apart(_naive_of_files, settings) as other:
        mine = ours.ready(**settings)
        found = ours.windows(mine, bench.windows, bench.steps_of(6, 24), other)
    bench.notes.append(
        f"P3: batches of {batch}, {statistics.median(found.ours):.1f} images/s, the naive loop "
        f"{statistics.median(found.others):.1f}"
    )
    return found.each


def _naive_of_files(settings: dict[str, Any]) -> naive.Naive:
    mine = ours.ready(**settings)
    twin = mine.contiguous_twin()
    rows = mine.data.train_rows
    root = Path(settings["data_dir"], "flowers")
    files = [str(root / mine.data.image_set.files[row]) for row in rows]
    if not Path(files[0]).exists():
        files = [str(Path(settings["data_dir"]) / mine.data.image_set.files[row]) for row in rows]
    look = naive.transform(224, mine.data.mean.tolist(), mine.data.std.tolist(), resize=True)
    data = naive.Photographs(files, mine.data.train_labels[rows], look)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.002)
    return naive.Naive(twin, optimizer, data, mine.procedure.batch_size, mine.device_setup.device)


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


def _peak(kind: str, settings: dict[str, Any], steps: int, send: Any) -> None:
    """GB beyond imports and data of a training of efficientnet_b0."""
    before = _resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    resident = "auto" if kind == "ours" else "false"  # the naive loop's images stay on the host
    mine = ours.ready(**settings, model="efficientnet_b0", resident=resident)
    data = len(mine.data.train_rows) * mine.data.image_size**2 * 3
    if kind == "naive":
        other = naive_beside(mine)
        mine.model.to("cpu")  # so that one model is on the GPU, as in the other process
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        other.window(steps)
    else:
        ours.epochs(mine, 2, steps, lambda result: None)
    if torch.cuda.is_available():
        on_device = kind == "ours" and mine.train.resident
        peak = torch.cuda.max_memory_allocated() - (data if on_device else 0)
    else:
        peak = _resident_bytes("VmHWM") - before - data
    send.send(peak / 1e9)


def _resident_bytes(name: str) -> int:
    """Memory of this process: now (VmRSS) or at its highest (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


@contextlib.contextmanager
def all_digits() -> Iterator[None]:
    """Let cuDNN multiply fp32 as it is inside the context, not cut to 10 bits (TF32)."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


@all_digits()
def first_losses(bench: Bench, updates: int = 50) -> list[float]:
    """P11: losses of the same updates on the same images, without augmentation."""
    settings = bench.cifar(
        model="resnet20", augment="none", optimizer="sgd:momentum=0,nesterov=false", lr=5e-4,
        weight_decay=0, schedule="constant:warmup=0", precision="fp32",
    )  # fmt: skip
    mine = ours.ready(**settings)
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
    twin = mine.contiguous_twin()
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
    other = naive.Naive(twin, optimizer, data, BATCH, mine.device_setup.device, order=order)
    other.epochs(1)
    return [max(abs(a - b) for a, b in zip(losses, other.losses, strict=True))]


def _cosine(lr: float, updates: int) -> Callable[[int], float]:
    """The rate of an update, by the number of those before it."""
    return lambda done: lr * 0.5 * (1 + math.cos(math.pi * (done + 0.5) / updates))


def parity(bench: Bench, seeds: int = 3) -> list[float]:
    """P11: test accuracy of our loop minus that of the naive one, the same recipe, in points."""
    epochs = 20 if bench.device == "cuda" else 3
    steps = 390 if bench.device == "cuda" else bench.steps_of(60)
    differences = []
    for seed in range(seeds):
        settings = bench.cifar(
            model="resnet20", image_size=32, seed=seed, lr=0.002, weight_decay=0.01,
            schedule="cosine:warmup=0", epochs=epochs, steps_per_epoch=steps,
        )  # fmt: skip
        mine = ours.ready(**settings)
        # To zero, as the accuracy of a last update at a high rate is a matter of luck.
        other = naive_beside(mine, schedule=_cosine(0.002, epochs * steps))
        ours.epochs(mine, epochs, steps, lambda result: None)
        with naive._deterministic():
            other._train(epochs * steps)
        test = batches_of(mine.data, "test", mine.config, mine.device_setup.device)
        scores = []
        for model in (mine.model, other.model):
            model.eval()
            found = predict(model, test, mine.procedure.normalise, mine.procedure.precision)
            scores.append(float((found.logits.argmax(1) == found.targets).mean()))
        differences.append(100 * (scores[0] - scores[1]))
    deviation = statistics.stdev(differences)
    bench.notes.append(
        f"P11a: {', '.join(f'{one:+.2f}' for one in differences)} points, standard deviation "
        f"{deviation:.2f}"
    )
    return differences
