"""The command that trains the whole network with the advised remedy, and its hours."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from imbalance_study.config.schema import Config
from imbalance_study.experiment import estimates
from imbalance_study.experiment.setup import model as model_setup
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.components import bind
from imbalance_study.models import profiling
from imbalance_study.studies.advise.heads import Remedy
from imbalance_study.studies.advise.material import Material

SEEDS = 3
# Multiply-adds a second of a middling GPU that trains a small network: assumed, not measured.
GPU_MACS = 5e11
# Training images up to which so many epochs are taken.
_EPOCHS = ((1_000, 60), (10_000, 30), (math.inf, 15))
_OWN = (
    *("dataset", "data_dir", "image_size", "on_bad_image", "fit", "pixel_range", "csv_columns"),
    *("test_fold", "imbalance", "class_order", "data_seed", "model", "weights", "normalisation"),
)


class NextStep(NamedTuple):
    """Commands, and the hours that they take."""

    commands: list[str]
    remedies: list[str]  # that are trained, the baseline first
    trainings: int
    epochs: int
    hours_here: float  # of all trainings; NaN where it was not measured
    hours_gpu: float  # at GPU_MACS


def plan(material: Material, baseline: Remedy, chosen: Remedy, *, measure: bool = True) -> NextStep:
    """Write the command, and measure an update of the whole network.

    Args:
        material: The images.
        baseline: The remedy without correction.
        chosen: The remedy to compare it with.
        measure: Measure an update, which takes some seconds.
    """
    count = len(material.pool)
    train = round(0.72 * count) if not material.unseen else round(0.9 * count)
    epochs = next(number for most, number in _EPOCHS if train <= most)
    options = _given(material.config) | {"epochs": epochs}
    commands = _commands(options, dict(chosen.options))
    trainings = SEEDS * (1 if chosen.name == baseline.name else 2)
    config = dataclasses.replace(
        material.config, freeze="none", space="pixels", augment="crop+flip", epochs=epochs
    )
    here = gpu = math.nan
    if measure:
        updates = math.ceil(train / int(config.batch_size)) * epochs * trainings
        seconds, macs = _update(material, config)
        here = seconds * updates / 3600
        gpu = 3 * macs * train * epochs * trainings / GPU_MACS / 3600
    names = list(dict.fromkeys((baseline.name, chosen.name)))
    return NextStep(commands, names, trainings, epochs, here, gpu)


def of_pixels(ranked: Sequence[str], tried: Mapping[str, Remedy]) -> Remedy:
    """Return the first remedy that acts alike on a whole network: SMOTE on pixels is another."""
    return next(tried[name] for name in ranked if tried[name].choices.resample is None)


def _given(config: Config) -> dict[str, Any]:
    """Return the options that differ from the defaults, and those that name data and model."""
    always = ("dataset", "data_dir", "model", "weights")
    values = {name: getattr(config, name) for name in _OWN}
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    defaults["imbalance"] = "none"
    return {
        name: value for name, value in values.items() if name in always or value != defaults[name]
    }


def _commands(options: Mapping[str, Any], remedy: Mapping[str, Any]) -> list[str]:
    """Compare the remedy with the baseline; one of several options is trained beside it."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    remedy = {name: value for name, value in remedy.items() if value != getattr(Config, name)}
    if len(remedy) == 1:
        [(name, value)] = remedy.items()
        vary = f"{name}={getattr(Config, name)}|{value}"
        start = ["imbalance-study", "compare", *words]
        return [shlex.join([*start, "--vary", vary, "--seeds", str(SEEDS)])]
    own = [word for name, value in remedy.items() for word in (f"--{name}", str(value))]
    return [_with_seeds([*words, *more]) for more in ([[], own] if own else [[]])]


def _with_seeds(words: Sequence[str]) -> str:
    """Write a loop of the shell over the seeds."""
    seeds = " ".join(map(str, range(SEEDS)))
    train = shlex.join(["imbalance-study", "train", *words])
    return f"for seed in {seeds}; do {train} --seed $seed; done"


def _update(material: Material, config: Config) -> tuple[float, int]:
    """Measure the seconds of an update of the whole network, and count its multiply-adds."""
    inputs = dataclasses.replace(material.inputs, config=config, choices=bind(config))
    with torch.random.fork_rng([]):
        model = model_setup.build(inputs).model
        procedure = procedures.first(inputs, model, 1e-4)
        measured = estimates.of_update(
            inputs, model, estimates.parts_of_files(inputs).train, procedure
        )
    return measured.seconds, profiling.macs(model, inputs.data.image_size)
