"""The memory format and precision that train a model fastest on this machine, found by trying.

The fastest choice varies several-fold with the machine, the version of torch, model and image size,
so it is measured, and remembered. On a GPU as well: where the images are small, it waits for the
launches of operations, and bf16 adds one for each weight.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from imbalance_study import files
from imbalance_study.data.loader import Batches
from imbalance_study.experiment.auto_batch_size import trainer_of
from imbalance_study.experiment.setup.device import DeviceSetup, has_fast_fp16, kernels_tried
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.files import default_cache_dir
from imbalance_study.training import distributed
from imbalance_study.training.cpu import convolutions
from imbalance_study.training.trainer import Trainer

# Updates of a training from which on trying costs less than it may save.
WORTH = 200
# Others are taken only when so many times faster than fp32 in channels_last: timings are noisy,
# and bf16 has 8 bits of precision.
_FORMAT_GAIN, _PRECISION_GAIN = 1.1, 1.3
# Images of a trial: at most so many, and so many pixels in all.
_IMAGES, _PIXELS = 32, 2**18
_ROUNDS, _SECONDS = 3, 2.0
# Updates of a round on a GPU, at the batch size of the training, after as many to warm up.
_GPU_UPDATES, _GPU_WARM_UP = 10, 5
_HOPELESS = 3.0  # times slower in its first update: not tried again


class Verdict(NamedTuple):
    """The result of a trial."""

    memory_format: str
    precision: Any
    seconds: dict[str, float]  # of an update, by memory format and precision


def settle(
    inputs: RunInputs, train: Batches, before: RunFacts | None
) -> tuple[RunInputs, Verdict | None]:
    """Decide memory format and precision: by a trial, a former trial, or the run that goes on.

    Tried on processors and CUDA devices, with ``auto_precision=true`` and a training on images of
    200 updates or more. The verdict is kept in the cache folder for this host, GPU, version of
    torch, number of threads, model and size, so that a repeated run computes in the same way.

    Args:
        inputs: Of the run; its `device_setup` has the defaults.
        train: The training part.
        before: The facts of a run that goes on.

    Returns:
        The inputs with the device set-up decided, and the verdict where there was a trial.
    """
    config, device_setup = inputs.config, inputs.device_setup
    if before is not None:
        return _with(inputs, _as_before(inputs, before)), None
    ways = list(_ways(inputs))
    few = _updates(inputs, train) < WORTH or config.space == "features"
    if not _tries(inputs) or few or len(ways) < 2:
        return inputs, None
    if distributed.group().size > 1:  # they would have to agree
        return inputs, None
    place = _place(inputs, train, ways)
    verdict = _remembered(place)
    if verdict is None:
        with kernels_tried(device_setup.device):
            seconds = _measure(inputs, train, ways)
        if _name(ways[0]) not in seconds:
            return inputs, None
        verdict = _judge(seconds)
        with contextlib.suppress(OSError), files.replacing(place) as partial:
            partial.write_text(json.dumps(verdict._asdict()), "utf-8")
    channels_last = verdict.memory_format == "channels_last"
    chosen = DeviceSetup(device_setup.device, verdict.precision, channels_last)
    return _with(inputs, chosen), verdict


def _with(inputs: RunInputs, device_setup: DeviceSetup) -> RunInputs:
    return dataclasses.replace(inputs, device_setup=device_setup)


def _as_before(inputs: RunInputs, before: RunFacts) -> DeviceSetup:
    config, device_setup = inputs.config, inputs.device_setup
    if not _tries(inputs):
        return device_setup
    if config.precision == "auto" and before.precision:
        precision: Any = before.precision
        device_setup = device_setup._replace(precision=precision)
    if config.memory_format == "auto" and before.memory_format:
        channels_last = before.memory_format == "channels_last"
        device_setup = device_setup._replace(channels_last=channels_last)
    return device_setup


def _tries(inputs: RunInputs) -> bool:
    return inputs.config.auto_precision and inputs.device_setup.device.type in ("cpu", "cuda")


def _ways(inputs: RunInputs) -> Iterator[DeviceSetup]:
    """Yield the ways to try: fp32 first, from which the others have to differ clearly."""
    config, device_setup = inputs.config, inputs.device_setup
    plain = device_setup
    if config.precision == "auto":
        plain = device_setup._replace(precision="fp32")
    yield plain
    if config.memory_format == "auto":
        yield plain._replace(channels_last=False)
    if config.precision == "auto":
        for precision in _precisions(device_setup.device, config.cuda_graph):
            yield plain._replace(precision=precision)


def _precisions(device: torch.device, graph: str) -> list[Any]:
    """List the precisions to try beside fp32."""
    if device.type != "cuda":
        return ["bf16"]
    found = ["bf16"] if torch.cuda.is_bf16_supported(including_emulation=False) else []
    return found + (["fp16"] if has_fast_fp16() and graph != "true" else [])


def _updates(inputs: RunInputs, train: Batches) -> int:
    config = inputs.config
    an_epoch = config.steps_per_epoch or math.ceil(len(train) / int(config.batch_size))
    return an_epoch * config.epochs


def _images(inputs: RunInputs, train: Batches) -> int:
    if inputs.device_setup.device.type == "cuda":
        return int(inputs.config.batch_size)
    bound = max(2, _PIXELS // inputs.data.image_size**2)
    return min(int(inputs.config.batch_size), _IMAGES, bound, len(train))


def _place(inputs: RunInputs, train: Batches, ways: list[DeviceSetup]) -> Path:
    config = inputs.config
    made_of = {
        "host": platform.node(),
        **_gpu(inputs),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "model": [config.model, config.stem, config.head, config.autoencoder, config.freeze],
        "size": [inputs.data.image_size, _images(inputs, train)],
        "optimizer": config.optimizer,
        "ways": [_name(way) for way in ways],
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    named = config.cache_dir
    folder = default_cache_dir() if named == "auto" else Path(named).expanduser()
    return folder / "probes" / f"{digest}.json"


def _gpu(inputs: RunInputs) -> dict[str, Any]:
    """Describe the GPU and what its pace depends on; nothing on a processor."""
    device = inputs.device_setup.device
    if device.type != "cuda":
        return {}
    return {"gpu": torch.cuda.get_device_name(device), "graph": inputs.config.cuda_graph}


def _remembered(place: Path) -> Verdict | None:
    """Read the verdict of a former trial; a damaged file counts as none."""
    try:
        return Verdict(**json.loads(place.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _name(way: DeviceSetup) -> str:
    return f"{'channels_last' if way.channels_last else 'contiguous'} {way.precision}"


def _measure(inputs: RunInputs, train: Batches, ways: list[DeviceSetup]) -> dict[str, float]:
    """Measure the seconds of an update of each way that works, the fastest of several turns."""
    begun, size = time.perf_counter(), _images(inputs, train)
    found: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        tried = {}
        for way in ways:
            trainer = trainer_of(_with(inputs, way), train, size)
            stack.enter_context(convolutions.enabled(trainer.model))
            try:
                first = _update(trainer, size)
            except RuntimeError:  # bf16 lacks an operation; if it is fp32, the training will say so
                continue
            fastest = min(found.values(), default=math.inf)
            found[_name(way)] = first
            if first < _HOPELESS * fastest:
                tried[_name(way)] = trainer
        for number in range(_ROUNDS):
            if number and time.perf_counter() - begun > _SECONDS:
                break
            for name, trainer in tried.items():
                seconds = _update(trainer, size)
                found[name] = seconds if number == 0 else min(found[name], seconds)
    return found


def _update(trainer: Trainer, size: int) -> float:
    """Return the seconds of an update; on a GPU, the mean of several after some to warm up."""
    cuda = trainer.train.device.type == "cuda"
    indices = torch.arange(size) % len(trainer.train)

    def updates(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            trainer.step(trainer.train.take(indices), trainer.procedure.class_weights)
        if cuda:
            torch.cuda.synchronize(trainer.train.device)
        return (time.perf_counter() - begun) / count

    if cuda:
        updates(_GPU_WARM_UP)
    return updates(_GPU_UPDATES if cuda else 1)


def _judge(seconds: dict[str, float]) -> Verdict:
    """Choose the fastest way that is clearly faster than the ways before it, the default first."""
    ways = iter(seconds)
    chosen = next(ways)
    for way in ways:
        same = way.split()[1] == chosen.split()[1]
        if seconds[chosen] > (_FORMAT_GAIN if same else _PRECISION_GAIN) * seconds[way]:
            chosen = way
    memory_format, precision = chosen.split()
    return Verdict(memory_format, precision, seconds)
