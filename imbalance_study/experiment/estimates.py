"""Seconds and bytes that a training will take, measured before it on updates as it makes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from imbalance_study.data.loader import Batches
from imbalance_study.experiment.setup import features as features_setup
from imbalance_study.experiment.setup.data import Parts
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.models import profiling
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import features
from imbalance_study.training.cpu import convolutions
from imbalance_study.training.procedure import Procedure
from imbalance_study.training.trainer import Trainer

# An update that takes longer is measured on fewer images; these are tried first.
_SECONDS, _FIRST = 3.0, 8


class Measured(NamedTuple):
    """The duration of an update."""

    seconds: float
    images: int  # that were measured; of fewer than an update has, the duration is multiplied


def of_update(
    inputs: RunInputs, model: Classifier, train: Batches, procedure: Procedure
) -> Measured:
    """Time updates of the training itself; the model gets other weights.

    Args:
        inputs: Of the run.
        model: On its device.
        train: Images, or features.
        procedure: Of this model.
    """
    trainer = Trainer(model, train, procedure, inputs.seeds)
    procedure.train_mode(model, 0.0)

    def update(images: int) -> None:
        batch = train.take(torch.arange(images) % len(train))
        trainer.step(batch, procedure.class_weights)[0].item()

    size, first = procedure.batch_size, min(procedure.batch_size, _FIRST)
    with convolutions.enabled(model), torch.enable_grad():
        each = _seconds(lambda: update(first)) / first
        if each * size < _SECONDS or first == size:
            each = _seconds(lambda: update(first)) / first
        measured = min(size, max(first, int(_SECONDS / each)))
        seconds = _seconds(lambda: update(measured))
        if seconds < _SECONDS:
            seconds = min(seconds, _seconds(lambda: update(measured)))
    return Measured(seconds * size / measured, measured)


def of_head(inputs: RunInputs, model: Classifier, procedure: Procedure) -> Measured:
    """Time updates of the head on features, which need not be there."""
    rows = np.arange(int(inputs.config.batch_size))
    values = np.random.default_rng(0).random((len(rows), model.num_features), dtype=np.float32)
    labels = rows % inputs.data.num_classes
    train = Batches(values, labels, rows, inputs.device_setup.device, resident=True)
    return of_update(inputs, model.on_features(), train, features_setup.on_features(procedure))


def of_pass(inputs: RunInputs, model: Classifier, procedure: Procedure, train: Batches) -> float:
    """Time the pass of an image through the backbone, on a batch as the features are computed."""
    size = features.batch_size(train.device)
    batch = train.take(torch.arange(size) % len(train)).images
    device = train.device

    def run() -> None:
        with torch.inference_mode():
            model.forward_features(procedure.normalise(batch))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    model.eval()
    run()
    return _seconds(run) / size


def of_memory(inputs: RunInputs, model: Classifier) -> int:
    """Return the bytes of weights, optimizer, and activations or features."""
    config, copies = inputs.config, 5 if inputs.config.ema else 4
    size = int(config.batch_size)
    if config.space == "pixels":
        return profiling.estimate_training_memory(
            model, inputs.data.image_size, size, copies=copies
        )
    trained = sum(w.numel() * w.element_size() for w in model.classifier.parameters())
    rows = passed_images(inputs) + size
    return profiling.model_bytes(model) + (copies - 1) * trained + 4 * rows * model.num_features


def passed_images(inputs: RunInputs) -> int:
    """Count the images that pass the backbone for features: all parts, with the views."""
    split, views = inputs.data.split, max(1, inputs.config.feature_views)
    return len(split.train) * views + len(split.val) + len(split.test)


def parts_of_files(inputs: RunInputs) -> Parts:
    """Return the parts as images that stay where they are, not copied into memory."""
    data, device = inputs.data, inputs.device_setup.device

    def part(rows: np.ndarray) -> Batches:
        return Batches(data.image_set.images, data.image_set.labels, rows, device, resident=False)

    train = Batches(data.train_images, data.train_labels, data.train_rows, device, resident=False)
    val = part(data.split.val) if len(data.split.val) else None
    return Parts(train, val, part(data.split.test))


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
