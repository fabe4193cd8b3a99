"""Prediction of a part of the data: logits and features, and the metrics of an epoch."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imbalance_study.data.loader import Batches
from imbalance_study.evaluation.calibration import negative_log_likelihood
from imbalance_study.evaluation.metrics import (
    class_scores,
    classification_metrics,
    confusion_matrix,
)
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.distributed import ALONE, Group
from imbalance_study.training.memory import is_out_of_memory

Precision = Literal["fp32", "bf16", "fp16"]


class Predictions(NamedTuple):
    """Logits, features and targets of a part of the data."""

    logits: npt.NDArray[np.float32]  # (N, C)
    features: npt.NDArray[np.float32]  # (N, num_features), or (N, 0) when not asked for
    targets: npt.NDArray[np.int64]  # (N,)


def summary(
    predictions: Predictions,
    probabilities: Callable[[Tensor], Tensor],
    train_counts: npt.NDArray[np.int64],
) -> tuple[dict[str, float], npt.NDArray[np.float64]]:
    """Compute all metrics, and the recall (C,) of each class.

    The loss is the mean negative log-likelihood of the probabilities for every training loss, so
    that it is comparable.
    """
    probs = probabilities(torch.from_numpy(predictions.logits)).numpy()
    loss = negative_log_likelihood(predictions.targets, probs)
    metrics = classification_metrics(predictions.targets, probs, train_counts, loss)
    confusion = confusion_matrix(predictions.targets, probs.argmax(1), probs.shape[1])
    return metrics, np.asarray(class_scores(confusion).recall)


def predict(
    model: Classifier,
    batches: Batches,
    normalise: Callable[[Tensor], Tensor],
    precision: Precision = "fp32",
    *,
    features: bool = False,
    batch_size: int = 500,
    group: Group = ALONE,
) -> Predictions:
    """Predict all images in order: logits, and the penultimate features when asked for.

    The processes of a `group` share the pass, and each gets all of it. Where a batch does not fit
    into the memory of the device, the pass begins anew with half of it.
    """
    was_training = model.training
    model.eval()
    group = group if len(batches) >= group.size else ALONE
    try:
        while True:
            try:
                return _pass(model, batches, normalise, precision, features, batch_size, group)
            except RuntimeError as error:
                if batch_size == 1 or group.size > 1 or not is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)  # they hold the batch
                batch_size //= 2
    finally:
        model.train(was_training)


@torch.inference_mode()
def _pass(
    model: Classifier,
    batches: Batches,
    normalise: Callable[[Tensor], Tensor],
    precision: Precision,
    features: bool,
    batch_size: int,
    group: Group,
) -> Predictions:
    count = len(batches)
    indices = torch.arange(count)[group.part(count)]
    logits, penultimate = [], []
    for batch in batches.epoch(indices, batch_size):
        with autocast(batches.device, precision):
            features_of_batch = model.forward_features(normalise(batch.images))
            logits.append(model.forward_head(features_of_batch).float())
        if features:
            penultimate.append(features_of_batch.float())
    return Predictions(
        group.gather(torch.cat(logits), count).cpu().numpy(),
        group.gather(torch.cat(penultimate), count).cpu().numpy()
        if features
        else np.empty((count, 0), "f4"),
        batches.targets.numpy(),
    )


def autocast(
    device: torch.device, precision: Precision
) -> contextlib.AbstractContextManager[object]:
    """Return the autocast context of a precision; none for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    # A cache of cast weights saves nothing, as each is used once, and forbids capturing a graph.
    return torch.autocast(device.type, dtype=dtype, cache_enabled=device.type != "cuda")
