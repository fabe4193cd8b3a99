"""Which memory format and precision train a model fastest on this processor: tried, remembered.

Which one does differs by factors between processors, versions of torch, models and sizes, and no
rule tells beforehand. A GPU is not asked: channels_last and bf16 are faster on all that have it.
"""

from __future__ import annotations

import contextlib
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
from imbalance_study.experiment.auto_batch_size import Setting, trainer_of
from imbalance_study.experiment.setup.device import DeviceSetup
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
    """What the trial found; `seconds` holds those of an update of each way that was tried."""

    memory_format: str
    precision: Any
    seconds: dict[str, float]


def settle(setting: Setting, state: dict[str, Any] | None) -> tuple[DeviceSetup, Verdict | None]:
    """Where to compute, with what was left open decided: by a trial, a former one, or a checkpoint.

    Asked on a processor alone, for `probe` and a training of 200 updates or more. The verdict is
    kept in the cache folder for this host, version of torch, number of threads, model and size, so
    that a repeated run computes in the same way.

    Args:
        setting: The training; its `where` has the defaults.
        state: The checkpoint of a run that goes on.
    """
    config, where = setting.config, setting.where
    if state is not None:
        return _as_before(setting, state["facts"]), None
    ways = list(_ways(setting))
    few = _updates(setting) < WORTH
    if where.device.type != "cpu" or not config.probe or few or len(ways) < 2:
        return where, None
    if distributed.group().size > 1:  # they would have to agree
        return where, None
    place = _place(setting, ways)
    verdict = _remembered(place)
    if verdict is None:
        seconds = _measure(setting, ways)
        if _name(where) not in seconds:
            return where, None
        verdict = _judge(seconds)
        with contextlib.suppress(OSError), files.replacing(place) as partial:
            partial.write_text(json.dumps(verdict._asdict()), "utf-8")
    channels_last = verdict.memory_format == "channels_last"
    return DeviceSetup(where.device, verdict.precision, channels_last), verdict


def _as_before(setting: Setting, facts: dict[str, Any]) -> DeviceSetup:
    config, where = setting.config, setting.where
    if where.device.type != "cpu" or not config.probe:
        return where
    if config.precision == "auto":
        where = where._replace(precision=facts["precision"])
    if config.memory_format == "auto":
        where = where._replace(channels_last=facts["memory_format"] == "channels_last")
    return where


def _ways(setting: Setting) -> Iterator[DeviceSetup]:
    """What may be tried, the default first."""
    config, where = setting.config, setting.where
    yield where
    if config.memory_format == "auto":
        yield where._replace(channels_last=False)
    if config.precision == "auto":
        yield where._replace(precision="bf16")


def _updates(setting: Setting) -> int:
    config = setting.config
    an_epoch = config.steps_per_epoch or math.ceil(len(setting.train) / int(config.batch_size))
    return an_epoch * config.epochs


def _images(setting: Setting) -> int:
    bound = max(2, _PIXELS // setting.data.image_size**2)
    return min(int(setting.config.batch_size), _IMAGES, bound, len(setting.train))


def _place(setting: Setting, ways: list[DeviceSetup]) -> Path:
    config = setting.config
    made_of = {
        "host": platform.node(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "model": [config.model, config.stem, config.head, config.autoencoder, config.freeze],
        "size": [setting.data.image_size, _images(setting)],
        "optimizer": config.optimizer,
        "ways": [_name(way) for way in ways],
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    named = config.cache_dir
    folder = default_cache_dir() if named == "auto" else Path(named).expanduser()
    return folder / "probes" / f"{digest}.json"


def _remembered(place: Path) -> Verdict | None:
    """The verdict of before; a damaged file is none."""
    try:
        return Verdict(**json.loads(place.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _name(way: DeviceSetup) -> str:
    return f"{'channels_last' if way.channels_last else 'contiguous'} {way.precision}"


def _measure(setting: Setting, ways: list[DeviceSetup]) -> dict[str, float]:
    """Seconds of an update of each way that works, the fastest of several that took turns."""
    begun, size = time.perf_counter(), _images(setting)
    found: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        tried = {}
        for way in ways:
            trainer = trainer_of(setting._replace(where=way), size)
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
    """The fastest way that is clearly faster than those before it; the first is the default."""
    ways = iter(seconds)
    chosen = next(ways)
    for way in ways:
        same = way.split()[1] == chosen.split()[1]
        if seconds[chosen] > (_FORMAT_GAIN if same else _PRECISION_GAIN) * seconds[way]:
            chosen = way
    memory_format, precision = chosen.split()
    return Verdict(memory_format, precision, seconds)


def facts(where: DeviceSetup, verdict: Verdict | None) -> dict[str, Any]:
    """How a run computes, for the record."""
    known: dict[str, Any] = {
        "precision": where.precision,
        "memory_format": "channels_last" if where.channels_last else "contiguous",
    }
    return known | ({} if verdict is None else {"probe_seconds": verdict.seconds})
