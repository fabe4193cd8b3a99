"""Analyses of the test predictions: intervals, confusion, errors, curves, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np

from imbalance_study.evaluation import calibration, errors, intervals, metrics
from imbalance_study.evaluation import figures as drawing
from imbalance_study.evaluation.metrics import Ints
from imbalance_study.experiment.analyses.context import AnalysisResult, EvaluationContext

GRID_IMAGES = 25


def predictions(context: EvaluationContext) -> AnalysisResult:
    """Return the test predictions as columns, so that anyone can recompute."""
    everyone = np.arange(len(context.test.targets))
    names = np.asarray(context.class_names, dtype=object)
    columns: dict[str, Any] = context.identity(everyone)
    columns["class"] = names[context.test.targets].tolist()
    columns["predicted_class"] = names[context.predictions].tolist()
    probs = {
        f"p_{name}": column.astype(np.float32)
        for name, column in zip(context.class_names, context.probs.T, strict=True)
    }
    return AnalysisResult(frames={"predictions/test": columns | probs})


def confidence_intervals(context: EvaluationContext) -> AnalysisResult:
    """Estimate 95 % intervals of the test metrics."""
    scores = metrics.ranking_scores(context.test.targets, context.probs)
    return _intervals(context, metrics.auc_means(scores))


def quick_intervals(context: EvaluationContext) -> AnalysisResult:
    """Estimate the same intervals without those of the areas, which take most of the time."""
    return _intervals(context, {}, auc_resamples=0)


def _intervals(
    context: EvaluationContext, areas: dict[str, float], **resamples: int
) -> AnalysisResult:
    counts = context.data.class_counts
    found = intervals.metric_intervals(
        context.test.targets,
        context.probs,
        counts,
        context.generator("bootstrap"),
        **resamples,
    )
    values = metrics.count_metrics(context.confusion, counts) | areas
    low, high = found["balanced_accuracy"]
    return AnalysisResult(
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


def per_class(context: EvaluationContext) -> AnalysisResult:
    """Tabulate precision, recall and more of each class."""
    names, counts = context.class_names, context.data.class_counts
    table = metrics.per_class_table(context.confusion, names, counts)
    return AnalysisResult(tables={"per_class": table})


def confusion(context: EvaluationContext) -> AnalysisResult:
    """Draw confusion matrices and recall against class frequency, and tabulate the classes."""
    names, counts, matrix = context.class_names, context.data.class_counts, context.confusion
    recall = metrics.class_scores(matrix).recall
    found = per_class(context)
    found.figures = {
        "confusion_matrix": drawing.run.confusion_matrices(matrix, names),
        "recall_by_frequency": drawing.run.recall_by_frequency(
            counts, recall, matrix.sum(1), names
        ),
    }
    return found


def mistakes(context: EvaluationContext) -> AnalysisResult:
    """Show confused pairs, misclassified images, the surest errors, recall over the epochs."""
    names, targets = context.class_names, context.test.targets
    pairs = errors.most_confused(context.confusion, names)
    surest = errors.most_confident_errors(targets, context.probs, GRID_IMAGES)
    wrong = errors.misclassified(
        targets, context.predictions, context.generator("misclassified"), GRID_IMAGES
    )
    unsure = errors.least_certain(context.probs, GRID_IMAGES)
    counted = errors.error_counts(targets, context.predictions)
    return AnalysisResult(
        metrics={"test_errors/count": counted["errors"], "test_errors/rate": counted["error_rate"]},
        tables={
            "confused_pairs": pairs,
            "most_confident_errors": {
                "file": context.files(surest),
                "class": [names[label] for label in targets[surest]],
                "predicted_class": [names[label] for label in context.predictions[surest]],
                "confidence": context.probs[surest].max(1).astype(float).tolist(),
            },
        },
        figures={
            "misclassified": _grid(context, wrong, "Misclassified images, spread over the classes"),
            "most_confident_errors": _grid(context, surest, "The most confident errors"),
            "least_certain": _grid(context, unsure, "The least certain predictions"),
            "confused_pairs": drawing.errors.confused_pairs(pairs),
            **_recall_over_epochs(context),
        },
    )


def _grid(context: EvaluationContext, positions: Ints, title: str) -> Any:
    return drawing.errors.labelled_images(
        context.images(positions),
        context.test.targets[positions],
        context.predictions[positions],
        context.probs[positions].max(1),
        context.class_names,
        title,
    )


def _recall_over_epochs(context: EvaluationContext) -> dict[str, Any]:
    known = [epoch.val_recall for epoch in context.fit.history if epoch.val_recall is not None]
    if not known:
        return {}
    figure = drawing.errors.recall_over_epochs(
        np.stack(known), context.data.class_counts, context.class_names
    )
    return {"recall_over_epochs": figure}


def curves(context: EvaluationContext) -> AnalysisResult:
    """Draw the ROC and precision-recall curve of each class."""
    found = errors.class_curves(context.test.targets, context.probs)
    figure = drawing.errors.roc_pr(found, context.class_names, context.data.class_counts)
    return AnalysisResult(figures={"roc_pr": figure})


def reliability(context: EvaluationContext) -> AnalysisResult:
    """Measure calibration errors, and draw reliability, confidence and rejection."""
    targets = context.test.targets
    found = calibration.calibration_metrics(targets, context.probs)
    del found["nll"]  # which is test/loss
    return AnalysisResult(
        metrics={f"test_calibration/{name}": value for name, value in found.items()},
        figures={"calibration": drawing.calibration.calibration(targets, context.probs)},
    )
