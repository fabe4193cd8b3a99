"""ANALYSES: what is looked at after a training, beyond its metrics.

Each one takes a `Subject` and returns an `Analysis`; which ones run is a chain of their names, or
of the groups standard and all. One that fails says so in the notes: a picture that cannot be drawn
must not cost the training.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from imbalance_study.evaluation import (
    bootstrap,
    calibration,
    embedding,
    errors,
    metrics,
)
from imbalance_study.evaluation.figures import (
    calibration as calibration_figures,
)
from imbalance_study.evaluation.figures import (
    embedding as embedding_figures,
)
from imbalance_study.evaluation.figures import (
    errors as errors_figures,
)
from imbalance_study.evaluation.figures import (
    run as run_figures,
)
from imbalance_study.evaluation.metrics import Ints
from imbalance_study.experiment.analyses import attribution as attribution_analyses
from imbalance_study.experiment.analyses.subject import Analysis, Subject
from imbalance_study.models import profiling
from imbalance_study.models.classifier import Classifier

GRID_IMAGES = 25
FEATURE_SAMPLE = 1_000
LATENCY_SECONDS = 1.5  # for each batch size
GROUPS = {
    "standard": (
        *("predictions", "intervals", "confusion", "errors", "curves", "calibration"),
        *("pca", "tsne", "umap", "gradcam", "complexity"),
    ),
    "all": (),  # every name in ANALYSES
    "none": (),
}


def names_in(text: str) -> frozenset[str]:
    """The analyses that a chain such as ``standard+occlusion`` asks for.

    Raises:
        ValueError: An unknown name, or ``none`` beside others.
    """
    parts = [part.strip() for part in text.split("+")]
    if "none" in parts and len(parts) > 1:
        raise ValueError(f"analyses=none goes with nothing else, got {text!r}")
    found: set[str] = set()
    for part in parts:
        if part not in GROUPS and part not in ANALYSES:
            known = ", ".join([*GROUPS, *ANALYSES])
            raise ValueError(f"unknown analysis {part!r}; known: {known}")
        members = tuple(ANALYSES) if part == "all" else GROUPS.get(part, (part,))
        found.update(members)
    return frozenset(found)


def check(text: str, gradcam_layers: str, model: Classifier) -> frozenset[str]:
    """The analyses that a chain asks for; refuses before a training what could not be done after.

    Raises:
        ValueError: An unknown analysis or layer.
    """
    wanted = names_in(text)
    if wanted & {"gradcam", "feature_maps", "deletion"}:
        attribution_analyses.layers_of(model, gradcam_layers)
    return wanted


def get_ready(text: str, gradcam_layers: str, model: Classifier) -> None:
    """Before the training: check, and warm UMAP up beside it.

    Raises:
        ValueError: An unknown analysis or layer.
    """
    if "umap" in check(text, gradcam_layers, model) and _warming_up() is None:
        embedding.warm_up_umap()


def _warming_up() -> threading.Thread | None:
    return next((t for t in threading.enumerate() if t.name == embedding.WARM_UP), None)


def analyse(text: str, subject: Subject) -> Analysis:
    """Run the analyses that a chain asks for."""
    subject = dataclasses.replace(subject, wanted=names_in(text))
    functions = {function: name for name, function in ANALYSES.items() if name in subject.wanted}
    found = Analysis()
    for function, name in functions.items():
        begun = time.perf_counter()
        try:
            found.add(function(subject))
        except Exception as error:
            found.notes.append(f"{name} failed: {type(error).__name__}: {error}")
        found.seconds[name] = time.perf_counter() - begun
    if functions:
        found.metrics["time/analyses_seconds"] = sum(found.seconds.values())
    return found


def predictions(subject: Subject) -> Analysis:
    """The test predictions, so that anyone can recompute."""
    everyone = np.arange(len(subject.test.targets))
    names = np.asarray(subject.class_names, dtype=object)
    columns: dict[str, Any] = _identity(subject, everyone)
    columns["class"] = names[subject.test.targets].tolist()
    columns["predicted_class"] = names[subject.predictions].tolist()
    probs = {
        f"p_{name}": column.astype(np.float32)
        for name, column in zip(subject.class_names, subject.probs.T, strict=True)
    }
    return Analysis(frames={"predictions/test": columns | probs})


def _identity(subject: Subject, positions: Ints) -> dict[str, Any]:
    """Which images, and what became of them."""
    return {
        "index": subject.rows(positions),
        "file": subject.files(positions),
        "label": subject.test.targets[positions],
        "prediction": subject.predictions[positions],
        "confidence": subject.probs[positions].max(1).astype(np.float32),
    }


def confidence_intervals(subject: Subject) -> Analysis:
    """95 % bootstrap intervals of the test metrics."""
    counts, targets = subject.data.class_counts, subject.test.targets
    found = bootstrap.bootstrap_intervals(
        targets, subject.probs, counts, subject.generator("bootstrap")
    )
    values = metrics.count_metrics(subject.confusion, counts)
    values |= metrics.auc_means(metrics.ranking_scores(targets, subject.probs))
    low, high = found["balanced_accuracy"]
    return Analysis(
        metrics={
            "test_ci/balanced_accuracy_low": low,
            "test_ci/balanced_accuracy_high": high,
        },
        intervals=found,
        tables={
            "intervals": {
                "metric": list(found),
                "value": [float(values[name]) for name in found],
                "low_95": [one.low for one in found.values()],
                "high_95": [one.high for one in found.values()],
            }
        },
    )


def confusion(subject: Subject) -> Analysis:
    """Confusion matrices, recall against class frequency, and the table of classes."""
    names, counts, matrix = subject.class_names, subject.data.class_counts, subject.confusion
    recall = metrics.class_scores(matrix).recall
    return Analysis(
        tables={"per_class": metrics.per_class_table(matrix, names, counts)},
        figures={
            "confusion_matrix": run_figures.confusion_matrices(matrix, names),
            "recall_by_frequency": run_figures.recall_by_frequency(
                counts, recall, matrix.sum(1), names
            ),
        },
    )


def mistakes(subject: Subject) -> Analysis:
    """Confused pairs, misclassified images, the most confident errors, recall over the epochs."""
    names, targets = subject.class_names, subject.test.targets
    pairs = errors.most_confused(subject.confusion, names)
    surest = errors.most_confident_errors(targets, subject.probs, GRID_IMAGES)
    chosen = {
        "misclassified": (
            "Misclassified images, spread over the classes",
            errors.misclassified(
                targets, subject.predictions, subject.generator("misclassified"), GRID_IMAGES
            ),
        ),
        "most_confident_errors": ("The most confident errors", surest),
        "least_certain": (
            "The least certain predictions",
            errors.least_certain(subject.probs, GRID_IMAGES),
        ),
    }
    drawn = {
        name: errors_figures.labelled_images(
            subject.images(positions),
            targets[positions],
            subject.predictions[positions],
            subject.probs[positions].max(1),
            names,
            title,
        )
        for name, (title, positions) in chosen.items()
    }
    counted = errors.error_counts(targets, subject.predictions)
    return Analysis(
        metrics={"test_errors/count": counted["errors"], "test_errors/rate": counted["error_rate"]},
        tables={
            "confused_pairs": pairs,
            "most_confident_errors": {
                "file": subject.files(surest),
                "class": [names[label] for label in targets[surest]],
                "predicted_class": [names[label] for label in subject.predictions[surest]],
                "confidence": subject.probs[surest].max(1).astype(float).tolist(),
            },
        },
        figures=drawn
        | {"confused_pairs": errors_figures.confused_pairs(pairs)}
        | _recall_over_epochs(subject),
    )


def _recall_over_epochs(subject: Subject) -> dict[str, Any]:
    known = [epoch.val_recall for epoch in subject.fitted.history if epoch.val_recall is not None]
    if not known:
        return {}
    figure = errors_figures.recall_over_epochs(
        np.stack(known), subject.data.class_counts, subject.class_names
    )
    return {"recall_over_epochs": figure}


def curves(subject: Subject) -> Analysis:
    """ROC and precision-recall curve of each class."""
    found = errors.class_curves(subject.test.targets, subject.probs)
    figure = errors_figures.roc_pr(found, subject.class_names, subject.data.class_counts)
    return Analysis(figures={"roc_pr": figure})


def reliability(subject: Subject) -> Analysis:
    """Calibration errors, reliability diagram, confidence of right and wrong, rejection."""
    targets = subject.test.targets
    found = calibration.calibration_metrics(targets, subject.probs)
    del found["nll"]  # which is test/loss
    return Analysis(
        metrics={f"test_calibration/{name}": value for name, value in found.items()},
        figures={"calibration": calibration_figures.calibration(targets, subject.probs)},
    )


def features(subject: Subject) -> Analysis:
    """Penultimate features of 1,000 test images in two dimensions, and how the classes separate.

    The images are the same for all runs on the same data, so that their pictures compare.
    """
    methods = [name for name in embedding.METHODS if name in subject.wanted]
    thread = _warming_up()
    if "umap" in methods and thread is not None:
        thread.join()
    generator = subject.generator("features", by_data=True)
    chosen = embedding.balanced_sample(subject.test.targets, generator, FEATURE_SAMPLE)
    vectors, targets = subject.test.features[chosen], subject.test.targets[chosen]
    points, explained = embedding.project(vectors, subject.seed % 2**32, methods)
    names = subject.class_names
    columns = _identity(subject, chosen)
    for method, coordinates in points.items():
        columns |= {f"{method}_{axis + 1}": coordinates[:, axis] for axis in range(2)}
    separation = embedding.separation_metrics(vectors, targets)
    return Analysis(
        metrics={f"test_features/{name}": value for name, value in separation.items()},
        tables={
            "features_by_class": embedding.class_spread(vectors, targets, names),
            "explained_variance": {
                "component": list(range(1, len(explained) + 1)),
                "share": explained.tolist(),
                "cumulated": np.cumsum(explained).tolist(),
            },
        },
        figures={"features": embedding_figures.embedding(points, targets, names, explained)},
        frames={"features/coordinates": columns},
    )


def costs(subject: Subject) -> Analysis:
    """Parameters, multiplications, size, latency, memory and speed."""
    model, device = subject.model, subject.machine.device
    size = subject.data.image_size
    peak = profiling.peak_memory_bytes(device)  # before the measurement adds its own
    parameters = profiling.count_parameters(model)
    fitted = subject.fitted
    found = {
        "parameters": parameters.total,
        "trainable_parameters": parameters.trainable,
        "size_mb": profiling.model_bytes(model) / 1e6,
        "peak_memory_mb": peak / 1e6,
        "train_images_per_second": fitted.images_seen / fitted.seconds,
    }
    notes = []
    try:
        found["macs"] = profiling.macs(model, size)
    except ValueError as error:
        notes.append(str(error))
    with torch.inference_mode():
        times = profiling.latency(model, size, device, seconds=LATENCY_SECONDS)
    for batch_size, latency in times.items():
        found[f"latency_ms_b{batch_size}"] = latency.median_ms
        found[f"latency_ms_b{batch_size}_p95"] = latency.p95_ms
    measured = {f"cost/{name}": float(value) for name, value in found.items()}
    return Analysis(metrics=measured, notes=notes)


ANALYSES: dict[str, Callable[[Subject], Analysis]] = {
    "predictions": predictions,
    "intervals": confidence_intervals,
    "confusion": confusion,
    "errors": mistakes,
    "curves": curves,
    "calibration": reliability,
    "complexity": costs,
    "pca": features,
    "tsne": features,
    "umap": features,
    "gradcam": attribution_analyses.gradcam,
    "feature_maps": attribution_analyses.feature_map_figures,
    "occlusion": attribution_analyses.occlusions,
    "deletion": attribution_analyses.deletions,
}
