"""One experiment, from a Config to a result: the page that tells the whole story.

Data are loaded and cut, a model is built and trained, the kept epoch and the last one are each
shown the test set once, and what comes of it is handed back. Nothing here knows MLflow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study import prepare
from imbalance_study.config import Config
from imbalance_study.data import longtail
from imbalance_study.data.batches import Batches
from imbalance_study.evaluation import figures, intervals, metrics
from imbalance_study.models import complexity
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import checkpoint
from imbalance_study.training.loop import EpochResult, Fit, Procedure, fit
from imbalance_study.training.predict import Predictions, negative_log_likelihood, predict
from imbalance_study.training.progress import Progress

OnEpoch = Callable[[EpochResult], None]

# Rows of the grid of augmented samples, and images in a row.
_SAMPLE_ROWS, _SAMPLES = 20, 8
# Metrics of the last epoch's test predictions: enough to see what selection did.
_LAST_NAMES = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A finished experiment."""

    config: Config
    metrics: dict[str, float]  # final ones, named with their split
    history: list[EpochResult]
    facts: dict[str, Any]
    tables: dict[str, dict[str, list[Any]]]  # name -> columns
    figures: dict[str, Any]  # name -> matplotlib Figure
    model: Classifier  # with the weights of the kept epoch, in evaluation mode
    fit: Fit
    test: Predictions
    data: prepare.Data
    machine: prepare.Machine
    procedure: Procedure
    checkpoints: dict[str, Path]  # "best", "last"


class Parts(NamedTuple):
    """The batches of each part; validation may be missing."""

    train: Batches
    val: Batches | None
    test: Batches


def run(
    config: Config,
    on_epoch: OnEpoch = lambda result: None,
    *,
    output_dir: Path,
    show_progress: bool = True,
) -> RunResult:
    """Train and evaluate one configuration.

    Args:
        config: As `config.make` or `config.resolve` give it.
        on_epoch: Called before the first epoch (epoch 0, with the facts and pictures of the data)
            and after each one; what it raises ends the run.
        output_dir: Gets the checkpoints.
        show_progress: Show a bar or a line an epoch.

    Raises:
        ValueError: Something in the configuration or the data is wrong; the message says what.
    """
    choices = prepare.bind(config)
    where = prepare.machine(config)
    data = prepare.load_data(config, choices)
    devices = [where.device] if where.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        model = prepare.build_model(config, data, where)
        procedure = prepare.procedure(config, choices, data, model, where)
        parts = _parts(config, data, where)
        facts = _facts(config, data, model, where)
        on_epoch(EpochResult(0, {}, facts=facts, figures=_first_figures(data, procedure)))
        torch.manual_seed(prepare.seeds(config.seed)("dropout"))
        with Progress(config.epochs, enabled=show_progress) as progress:
            fitted = fit(
                model,
                parts.train,
                parts.val,
                procedure,
                seeds=prepare.seeds(config.seed),
                on_epoch=on_epoch,
                progress=progress,
            )
    return _evaluate(config, data, where, model, procedure, parts, fitted, facts, output_dir)


def _parts(config: Config, data: prepare.Data, where: prepare.Machine) -> Parts:
    def part(name: str) -> Batches:
        return prepare.part(data, name, config, where.device)

    return Parts(part("train"), part("val") if len(data.split.val) else None, part("test"))


def _facts(
    config: Config, data: prepare.Data, model: Classifier, where: prepare.Machine
) -> dict[str, Any]:
    """What was found out and decided before training, for the record."""
    parameters = complexity.count_parameters(model)
    return {
        "fingerprint": longtail.fingerprint(data.image_set, data.split, config.data_seed),
        "class_names": list(data.image_set.class_names),
        "train_counts": data.class_counts.tolist(),
        "images": {name: len(rows) for name, rows in data.split._asdict().items()},
        "skipped_images": list(data.image_set.skipped),
        "image_size": data.image_size,
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
        "parameters": parameters.total,
        "trainable_parameters": parameters.trainable,
        "device": where.device.type,
        "precision": where.precision,
        "memory_format": "channels_last" if where.channels_last else "contiguous",
        "threads": torch.get_num_threads(),
    }


def _evaluate(
    config: Config,
    data: prepare.Data,
    where: prepare.Machine,
    model: Classifier,
    procedure: Procedure,
    parts: Parts,
    fitted: Fit,
    facts: dict[str, Any],
    output_dir: Path,
) -> RunResult:
    """Show the test set to the last epoch and to the kept one, each once."""
    found: dict[str, float] = {}
    model.load_state_dict(fitted.last)
    last = None
    if fitted.best_epoch != len(fitted.history):
        last = _predict(model, parts.test, procedure)
    model.load_state_dict(fitted.best)
    model.eval()
    test = _predict(model, parts.test, procedure)
    test_metrics = _metrics(test, procedure, data.class_counts)
    found |= metrics.prefixed(test_metrics, "test")
    last_metrics = test_metrics if last is None else _metrics(last, procedure, data.class_counts)
    found |= metrics.prefixed({name: last_metrics[name] for name in _LAST_NAMES}, "test_last")
    if parts.val is not None:
        found |= _selected(model, parts.val, procedure, data, fitted)
    found |= _costs(fitted)
    probs = procedure.probabilities(torch.from_numpy(test.logits)).numpy()
    confusion = metrics.confusion_matrix(test.targets, probs.argmax(1), data.num_classes)
    names = data.image_set.class_names
    return RunResult(
        config=config,
        metrics=found,
        history=fitted.history,
        facts=facts,
        tables={"per_class": metrics.per_class_table(confusion, names, data.class_counts)},
        figures=_last_figures(fitted, confusion, data),
        model=model,
        fit=fitted,
        test=test,
        data=data,
        machine=where,
        procedure=procedure,
        checkpoints=_save(fitted, config, facts, output_dir),
    )


def _predict(model: Classifier, batches: Batches, procedure: Procedure) -> Predictions:
    return predict(model, batches, procedure.normalise, procedure.precision, features=True)


def _metrics(
    found: Predictions, procedure: Procedure, train_counts: npt.NDArray[np.int64]
) -> dict[str, float]:
    probs = procedure.probabilities(torch.from_numpy(found.logits)).numpy()
    loss = negative_log_likelihood(probs, found.targets)
    return metrics.classification_metrics(found.targets, probs, train_counts, loss)


def _selected(
    model: Classifier, val: Batches, procedure: Procedure, data: prepare.Data, fitted: Fit
) -> dict[str, float]:
    """All validation metrics of the kept epoch, and how sure the one that chose it is."""
    found = _predict(model, val, procedure)
    values = _metrics(found, procedure, data.class_counts)
    predictions = procedure.probabilities(torch.from_numpy(found.logits)).numpy().argmax(1)
    error = intervals.standard_error_of_balanced_accuracy(
        found.targets, predictions, data.num_classes
    )
    return metrics.prefixed(values, "selected_val") | {
        "selected_val/balanced_accuracy_standard_error": error,
        "selected_val/epoch": float(fitted.best_epoch),
    }


def _costs(fitted: Fit) -> dict[str, float]:
    return {
        "time/train_seconds": fitted.seconds,
        "train/images_seen": float(fitted.images_seen),
        "train/steps": float(fitted.steps),
        "train/epochs": float(len(fitted.history)),
    }


def _save(fitted: Fit, config: Config, facts: dict[str, Any], output_dir: Path) -> dict[str, Path]:
    """Write the best and the last weights, loadable without pickle."""
    saved = {}
    for name, state, epoch in (
        ("best", fitted.best, fitted.best_epoch),
        ("last", fitted.last, len(fitted.history)),
    ):
        saved[name] = output_dir / f"{name}.pt"
        content = {
            "model": state,
            "epoch": epoch,
            "config": prepare.as_dict(config),
            "facts": facts,
        }
        checkpoint.save(saved[name], content)
    return saved


def _first_figures(data: prepare.Data, procedure: Procedure) -> dict[str, Any]:
    """What the data look like, before anything is trained on them."""
    names, num_classes = data.image_set.class_names, data.num_classes
    labels = data.image_set.labels
    counts = {
        name: np.bincount(labels[rows], minlength=num_classes)
        for name, rows in data.split._asdict().items()
        if name != "train" and len(rows)
    }
    return {
        "class_distribution": figures.class_distribution(
            {"train": data.class_counts} | counts, names
        ),
        "augmented_samples": _augmented_samples(data, procedure),
    }


def _augmented_samples(data: prepare.Data, procedure: Procedure) -> Any:
    """A row a class, the most frequent first: an image and what augmentation makes of it."""
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
    return figures.augmented_samples(grid, [data.image_set.class_names[label] for label in shown])


def _last_figures(
    fitted: Fit, confusion: npt.NDArray[np.integer[Any]], data: prepare.Data
) -> dict[str, Any]:
    names, counts = data.image_set.class_names, data.class_counts
    drawn = fitted.history[0].drawn
    assert drawn is not None
    columns = {
        name: [epoch.metrics[name] for epoch in fitted.history]
        for name in _CURVES
        if name in fitted.history[0].metrics
    }
    recall = metrics.class_scores(confusion).recall
    return {
        "training_curves": figures.training_curves(columns, fitted.best_epoch),
        "confusion_matrix": figures.confusion_matrices(confusion, names),
        "recall_by_frequency": figures.recall_by_frequency(counts, recall, confusion.sum(1), names),
        "sampled_classes": figures.sampled_classes(counts, drawn, names),
    }


_CURVES = (
    "train/loss",
    "val/loss",
    "train/accuracy",
    "val/accuracy",
    "val/balanced_accuracy",
    "train/lr",
)
