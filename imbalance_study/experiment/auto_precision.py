"""The memory format and precision that train a model fastest on this processor, found by trying.

The fastest choice varies several-fold with the processor, the version of torch, model and image
size, so it is measured, and remembered. A GPU needs no trial: channels_last and bf16 are faster on
all that have it.
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
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.files import default_cache_dir
from imbalance_study.training import distributed
from imbalance_study.training.cpu import convolutions

# Updates of a training from which on trying costs less than it may save.
WORTH = 200
# Others are taken only when so many times faster than fp32 in channels_last: timings are noisy,
# and bf16 has 8 bits of precision.
_FORMAT_GAIN, _PRECISION_GAIN = 1.1, 1.3
# Images of a trial: at most so many, and so many pixels in all.
_IMAGES, _PIXELS = 32, 2**18
_ROUNDS, _SECONDS = 3, 2.0
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

    Tried on a processor alone, with ``auto_precision=true`` and a training on images of 200 updates
    or more.
    The verdict is kept in the cache folder for this host, version of torch, number of threads,
    model and size, so that a repeated run computes in the same way.

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
    if device_setup.device.type != "cpu" or not config.auto_precision or few or len(ways) < 2:
        return inputs, None
    if distributed.group().size > 1:  # they would have to agree
        return inputs, None
    place = _place(inputs, train, ways)
    verdict = _remembered(place)
    if verdict is None:
        seconds = _measure(inputs, train, ways)
        if _name(device_setup) not in seconds:
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
    if device_setup.device.type != "cpu" or not config.auto_precision:
        return device_setup
    if config.precision == "auto" and before.precision:
        precision: Any = before.precision
        device_setup = device_setup._replace(precision=precision)
    if config.memory_format == "auto" and before.memory_format:
        channels_last = before.memory_format == "channels_last"
        device_setup = device_setup._replace(channels_last=channels_last)
    return device_setup


def _ways(inputs: RunInputs) -> Iterator[DeviceSetup]:
    """Yield the ways to try, the default first."""
    config, device_setup = inputs.config, inputs.device_setup
    yield device_setup
    if config.memory_format == "auto":
        yield device_setup._replace(channels_last=False)
    if config.precision == "auto":
        yield device_setup._replace(precision="bf16")


def _updates(inputs: RunInputs, train: Batches) -> int:
    config = inputs.config
    an_epoch = config.steps_per_epoch or math.ceil(len(train) / int(config.batch_size))
    return an_epoch * config.epochs


def _images(inputs: RunInputs, train: Batches) -> int:
    bound = max(2, _PIXELS // inputs.data.image_size**2)
    return min(int(inputs.config.batch_size), _IMAGES, bound, len(train))


def _place(inputs: RunInputs, train: Batches, ways: list[DeviceSetup]) -> Path:
    config = inputs.config
    made_of = {
        "host": platform.node(),
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


def _update(trainer: Any, size: int) -> float:
    begun = time.perf_counter()
    batch = trainer.train.take(torch.arange(size))
    trainer.step(batch, trainer.procedure.class_weights)
    return time.perf_counter() - begun


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
