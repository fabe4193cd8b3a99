"""The figures of a run, before and after its training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imbalance_study.evaluation import figures as drawing
from imbalance_study.experiment.setup.data import Data
from imbalance_study.training.procedure import Fit, Procedure

# Rows of the grid of augmented samples, and images in a row.
_SAMPLE_ROWS, _SAMPLES = 20, 8
_CURVES = (
    "train/loss",
    "val/loss",
    "train/accuracy",
    "val/accuracy",
    "val/balanced_accuracy",
    "train/lr",
)


def of_data(data: Data, procedure: Procedure) -> dict[str, Any]:
    """Draw the data before the training: name to Figure."""
    names, num_classes = data.image_set.class_names, data.num_classes
    labels = data.image_set.labels
    counts = {
        name: np.bincount(labels[rows], minlength=num_classes)
        for name, rows in data.split._asdict().items()
        if name != "train" and len(rows)
    }
    return {
        "class_distribution": drawing.run.class_distribution(
            {"train": data.class_counts} | counts, names
        ),
        "augmented_samples": _augmented_samples(data, procedure),
    }


def _augmented_samples(data: Data, procedure: Procedure) -> Any:
    """Draw a row a class, the most frequent first: an image and augmented versions of it."""
    order = np.argsort(-data.class_counts, kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(_SAMPLE_ROWS, len(order))).astype(int)]
    train_labels = data.train_labels[data.train_rows]
    firsts = [data.train_rows[np.flatnonzero(train_labels == label)[0]] for label in shown]
    originals = np.stack([data.train_images[row] for row in firsts])
    repeated = torch.from_numpy(np.repeat(originals, _SAMPLES - 1, axis=0)).permute(0, 3, 1, 2)
    targets = torch.from_numpy(np.repeat(shown, _SAMPLES - 1)).long()
    generator = torch.Generator().manual_seed(0)
    augmented = procedure.augment(repeated, generator)
    if procedure.tail_augment is not None:
        counts = procedure.class_counts.cpu()
        augmented = procedure.tail_augment(augmented, targets, counts, generator)
    shape = (len(shown), _SAMPLES - 1, *originals.shape[1:])
    grid = augmented.permute(0, 2, 3, 1).numpy().reshape(shape)
    grid = np.concatenate([originals[:, None], grid], axis=1)
    return drawing.run.augmented_samples(
        grid, [data.image_set.class_names[label] for label in shown]
    )


def of_training(fit: Fit, data: Data) -> dict[str, Any]:
    """Draw the course of the training: name to Figure."""
    names, counts = data.image_set.class_names, data.class_counts
    columns = {
        name: [epoch.metrics.get(name, np.nan) for epoch in fit.history]
        for name in _CURVES
        if name in fit.history[-1].metrics
    }
    found = {"training_curves": drawing.run.training_curves(columns, fit.best_epoch)}
    for stage, name in ((1, "sampled_classes"), (2, "sampled_classes_stage2")):
        epochs = [h for h in fit.history if (h.metrics.get("train/stage") or 1) == stage]
        if epochs and (drawn := epochs[0].drawn) is not None:
            found[name] = drawing.run.sampled_classes(counts, drawn, names)
    return found
