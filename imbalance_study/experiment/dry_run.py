"""The dry run: the steps and costs of a configuration, without training it."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch

from imbalance_study.config import spec
from imbalance_study.config.recipes import recipe_note
from imbalance_study.config.resolve import Resolved, usual_batch_size
from imbalance_study.config.schema import Config
from imbalance_study.experiment import estimates
from imbalance_study.experiment.setup import features as features_setup
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.data import Data, Parts
from imbalance_study.experiment.setup.inputs import LocalFiles, RunInputs, load_inputs
from imbalance_study.experiment.setup.model import Built, build
from imbalance_study.models import pretrained, profiling
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import features
from imbalance_study.training.procedure import Procedure
from imbalance_study.training.trainer import sampler_context


def describe(resolved: Resolved, local: LocalFiles | None = None) -> str:
    """Describe the resolved configuration: origins, class counts, steps, parameters, time, memory.

    Time is measured on updates of the training itself, with its images and augmentation; evaluation
    and tracking are not in it. Memory is that of weights, optimizer and activations in fp32.

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
            f"second stage    {second.epochs} epochs of {_drawn(second, inputs):,} images "
            "on frozen features, not in the time above"
        )
    note = recipe_note(config.recipe, config.model)
    return "\n".join([*lines, note] if note else lines)


def _lines(inputs: RunInputs, built: Built, procedure: Procedure) -> list[str]:
    """Describe device, images, steps, parameters and costs, a line each."""
    config, data, device_setup = inputs.config, inputs.data, inputs.device_setup
    batch_size = procedure.batch_size
    drawn = _drawn(procedure, inputs)
    steps = config.steps_per_epoch or math.ceil(drawn / batch_size)
    images = steps * batch_size if config.steps_per_epoch else drawn
    model = built.model
    parameters = profiling.count_parameters(model)
    memory = estimates.of_memory(inputs, model)  # before any update
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
        *_times(inputs, model, procedure, steps * config.epochs),
        f"estimated memory  {memory / 2**30:.2f} GiB for weights, optimizer and "
        + ("features" if config.space == "features" else f"activations of {batch_size} images"),
    ]


def _times(
    inputs: RunInputs, model: Classifier, procedure: Procedure, updates: int
) -> Iterator[str]:
    """Say how long the training takes, on what that was measured, and what features save."""
    images, on_features = estimates.parts_of_files(inputs), inputs.config.space == "features"
    if spec.parse(inputs.config.freeze).name == "head_only":
        yield f"features        {_features(inputs, model, procedure, images, updates)}"
    if on_features:
        measured = estimates.of_head(inputs, model, procedure)
    else:
        measured = estimates.of_update(inputs, model, images.train, procedure)
    size, what = procedure.batch_size, "feature vectors" if on_features else "images"
    fewer = "" if measured.images == size else f", as {size} take longer than 3 s"
    yield (
        f"estimated time  {_duration(measured.seconds * updates)} of training, measured on updates "
        f"of {measured.images} {what}{fewer}"
    )


def _features(
    inputs: RunInputs, model: Classifier, procedure: Procedure, images: Parts, updates: int
) -> str:
    """Say whether the features of the frozen backbone are kept, and what that costs or saves."""
    config, count = inputs.config, estimates.passed_images(inputs)
    if config.space == "features" and features_setup.are_kept(inputs, model, images):
        return "read from the cache"
    each = estimates.of_pass(inputs, model, procedure, images.train)
    once, size = _duration(each * count), features.batch_size(images.train.device)
    if config.space == "features":
        return f"computed once, then kept: {count:,} images, {once}, measured on {size} images"
    anew = [f"augment={config.augment}"] if config.augment != "none" else []
    anew += [f"tail_augment={config.tail_augment}"] if config.tail_augment != "none" else []
    head = estimates.of_head(inputs, copy.deepcopy(model), procedure).seconds * updates
    rest = f"{_duration(head)} of training after {once} for the features, measured on {size} images"
    if not anew:
        return f"computed in each epoch, as space=pixels asks; space=features would take {rest}"
    return (
        f"computed in each epoch, as {' and '.join(anew)} draws images anew; without that (or "
        f"with feature_views=K, which takes K times as long for the features) {rest}"
    )


def _drawn(procedure: Procedure, inputs: RunInputs) -> int:
    """Count the images that the sampler draws for an epoch."""
    counts = torch.from_numpy(procedures.trained_counts(inputs))
    targets = torch.arange(len(counts)).repeat_interleave(counts)
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
