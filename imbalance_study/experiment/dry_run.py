"""The dry run: what a configuration would do and cost, without training it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from imbalance_study.config.recipes import recipe_note
from imbalance_study.config.resolve import Resolved, usual_batch_size
from imbalance_study.config.schema import Config
from imbalance_study.experiment.setup import build, procedures
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import Data, load_data
from imbalance_study.experiment.setup.device import resolve_device
from imbalance_study.models import pretrained, profiling
from imbalance_study.training.loop import sampler_context


def describe(resolved: Resolved) -> str:
    """Resolved configuration with origins, class counts, steps, parameters, time and memory.

    Time is measured on a few batches of random pixels; augmentation, evaluation and tracking are
    not in it. Memory is that of weights, optimizer and activations in fp32.

    Raises:
        ValueError: What training would raise before its first step.
    """
    config = resolved.config
    if config.batch_size == "auto":
        config = dataclasses.replace(config, batch_size=usual_batch_size(config))
    batch_size = int(config.batch_size)
    choices = bind(config)
    where = resolve_device(config)
    data = load_data(config, choices)
    with torch.random.fork_rng():
        model, loaded = build.build(config, data, where)
        procedure = procedures.first(config, choices, data, model, where)
    drawn = len(_one_epoch(procedure, data))
    steps = config.steps_per_epoch or math.ceil(drawn / batch_size)
    images = steps * batch_size if config.steps_per_epoch else drawn
    parameters = profiling.count_parameters(model)
    per_image = profiling.estimate_seconds_per_image(model, data.image_size, where.device)
    memory = profiling.estimate_training_memory(
        model, data.image_size, batch_size, copies=5 if config.ema else 4
    )
    sizes = {name: len(rows) for name, rows in data.split._asdict().items()}
    lines = [
        *_table(resolved),
        "",
        f"device          {where.device.type}, {where.precision}, "
        f"{'channels_last' if where.channels_last else 'contiguous'}",
        f"images          {sizes['train']:,} train, {sizes['val']:,} validation, "
        f"{sizes['test']:,} test, {data.image_size} px",
        f"class counts    {_counts(data)}",
        f"steps           {steps:,} an epoch, {steps * config.epochs:,} in all "
        f"({images:,} images an epoch)",
        f"parameters      {parameters.total:,}, of which {parameters.trainable:,} are trained",
        *(_weights(loaded) if loaded else ()),
        f"estimated time  {_duration(per_image * images * config.epochs)} of training",
        f"estimated memory  {memory / 2**30:.2f} GiB for weights, optimizer and activations",
    ]
    if procedures.has_second(choices):
        with torch.random.fork_rng():
            second = procedures.second(config, choices, procedure, model, 0.0)
        lines.append(
            f"second stage    {second.epochs} epochs of {len(_one_epoch(second, data)):,} images "
            "on frozen features, not in the time above"
        )
    note = recipe_note(config.recipe, config.model)
    return "\n".join([*lines, note] if note else lines)


def _weights(loaded: dict[str, Any]) -> list[str]:
    return [f"weights         {pretrained.in_words(loaded)}"]


def _one_epoch(procedure: Any, data: Data) -> torch.Tensor:
    targets = torch.from_numpy(data.train_labels[data.train_rows]).long()
    context = sampler_context(procedure.sampler, 0.0, None)
    generator = torch.Generator().manual_seed(0)
    indices: torch.Tensor = procedure.sampler(targets, generator, **context)
    return indices


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
    counts = data.class_counts.tolist()
    named = [
        f"{name} {count}" for name, count in zip(data.image_set.class_names, counts, strict=True)
    ]
    if len(named) > 20:
        named = [*named[:10], "...", *named[-5:]]
    return f"{', '.join(named)} (ratio {max(counts) / min(counts):.3g})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
