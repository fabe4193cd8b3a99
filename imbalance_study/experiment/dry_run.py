"""The dry run: the steps and costs of a configuration, without training it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from imbalance_study.config.recipes import recipe_note
from imbalance_study.config.resolve import Resolved, usual_batch_size
from imbalance_study.config.schema import Config
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.inputs import LocalFiles, RunInputs, load_inputs
from imbalance_study.experiment.setup.model import Built, build
from imbalance_study.models import pretrained, profiling
from imbalance_study.training.procedure import Procedure
from imbalance_study.training.trainer import sampler_context


def describe(resolved: Resolved, local: LocalFiles | None = None) -> str:
    """Describe the resolved configuration: origins, class counts, steps, parameters, time, memory.

    Time is measured on a few batches of random pixels; augmentation, evaluation and tracking are
    not in it. Memory is that of weights, optimizer and activations in fp32.

    Args:
        resolved: The configuration, and the origin of each value.
        local: Downloaded weights, and images in memory.

    Raises:
        ValueError: Training would raise it before its first step.
    """
    config = resolved.config
    if config.batch_size == "auto":
        config = dataclasses.replace(config, batch_size=usual_batch_size(config))
    inputs = load_inputs(config, local)
    with torch.random.fork_rng():
        built = build(inputs)
        procedure = procedures.first(
            inputs, built.model, lr=1.0 if config.lr == "auto" else config.lr
        )
    lines = [*_table(resolved), "", *_lines(inputs, built, procedure)]
    if inputs.choices.has_second_stage:
        with torch.random.fork_rng():
            second = procedures.second(inputs, procedure, built.model, 0.0)
        lines.append(
            f"second stage    {second.epochs} epochs of {_drawn(second, inputs.data):,} images "
            "on frozen features, not in the time above"
        )
    note = recipe_note(config.recipe, config.model)
    return "\n".join([*lines, note] if note else lines)


def _lines(inputs: RunInputs, built: Built, procedure: Procedure) -> list[str]:
    """Describe device, images, steps, parameters and costs, a line each."""
    config, data, device_setup = inputs.config, inputs.data, inputs.device_setup
    batch_size = procedure.batch_size
    drawn = _drawn(procedure, data)
    steps = config.steps_per_epoch or math.ceil(drawn / batch_size)
    images = steps * batch_size if config.steps_per_epoch else drawn
    model = built.model
    parameters = profiling.count_parameters(model)
    per_image = profiling.estimate_seconds_per_image(model, data.image_size, device_setup.device)
    memory = profiling.estimate_training_memory(
        model, data.image_size, batch_size, copies=5 if config.ema else 4
    )
    sizes = {name: len(rows) for name, rows in data.split._asdict().items()}
    return [
        f"device          {device_setup.device.type}, {device_setup.precision}, "
        f"{'channels_last' if device_setup.channels_last else 'contiguous'}",
        f"images          {sizes['train']:,} train, {sizes['val']:,} validation, "
        f"{sizes['test']:,} test, {data.image_size} px",
        *data.report.lines(),
        f"class counts    {_counts(data)}",
        f"steps           {steps:,} an epoch, {steps * config.epochs:,} in all "
        f"({images:,} images an epoch)",
        f"parameters      {parameters.total:,}, of which {parameters.trainable:,} are trained",
        *([f"weights         {pretrained.in_words(built.weights)}"] if built.weights else []),
        f"estimated time  {_duration(per_image * images * config.epochs)} of training",
        f"estimated memory  {memory / 2**30:.2f} GiB for weights, optimizer and activations",
    ]


def _drawn(procedure: Procedure, data: Data) -> int:
    """Count the images that the sampler draws for an epoch."""
    targets = torch.from_numpy(data.train_labels[data.train_rows]).long()
    context = sampler_context(procedure.sampler, 0.0, None)
    generator = torch.Generator().manual_seed(0)
    return len(procedure.sampler(targets, generator, **context))


def _table(resolved: Resolved) -> list[str]:
    config, origins = resolved
    names = [field.name for field in dataclasses.fields(Config)]
    values = {name: _text(getattr(config, name)) for name in names}
    wide, middle = max(map(len, names)), max(map(len, values.values()))
    rows = [f"{name:{wide}}  {values[name]:{middle}}  {origins[name]}" for name in names]
    return [f"{'option':{wide}}  {'value':{middle}}  decided by", *rows]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _counts(data: Data) -> str:
    most, least = int(data.class_counts.max()), int(data.class_counts.min())
    after = " after resampling" if len(data.train_rows) != len(data.split.train) else ""
    return f"{most:,} to {least:,} in training{after} (ratio {most / least:.3g})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
