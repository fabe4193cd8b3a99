"""ANALYSES: the analyses of a finished training, beyond its metrics.

Each one takes an `EvaluationContext` and returns an `AnalysisResult`; a chain of their names, or
of the groups standard and all, chooses among them. A failure becomes a note: a picture that cannot
be drawn must not cost the training.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from imbalance_study.evaluation import embedding
from imbalance_study.experiment.analyses import (
    attribution,
    classification,
    costs,
    features,
    saliency,
)
from imbalance_study.experiment.analyses.context import AnalysisResult, EvaluationContext
from imbalance_study.models.classifier import Classifier

GROUPS = {
    "standard": (
        *("predictions", "intervals", "confusion", "errors", "curves", "calibration"),
        *("pca", "tsne", "umap", "gradcam", "complexity"),
    ),
    "all": (),  # every name in ANALYSES
    "none": (),
}


def names_in(text: str) -> frozenset[str]:
    """Return the analyses that a chain such as ``standard+occlusion`` asks for.

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
    """Return the analyses that a chain asks for, all of them possible with this model.

    Raises:
        ValueError: An unknown analysis or layer.
    """
    wanted = names_in(text)
    if wanted & {"gradcam", "feature_maps", "deletion"}:
        saliency.layers_of(model, gradcam_layers)
    return wanted


def warm_up(wanted: frozenset[str]) -> threading.Thread | None:
    """Start to compile UMAP beside the training, where it is wanted."""
    return embedding.warm_up_umap() if "umap" in wanted else None


def analyse(context: EvaluationContext) -> AnalysisResult:
    """Run the analyses that are wanted."""
    functions = {function: name for name, function in ANALYSES.items() if name in context.wanted}
    found = AnalysisResult()
    for function, name in functions.items():
        begun = time.perf_counter()
        try:
            found.add(function(context))
        except Exception as error:
            found.notes.append(f"{name} failed: {type(error).__name__}: {error}")
        found.seconds[name] = time.perf_counter() - begun
    if functions:
        found.metrics["time/analyses_seconds"] = sum(found.seconds.values())
    return found


ANALYSES: dict[str, Callable[[EvaluationContext], AnalysisResult]] = {
    "predictions": classification.predictions,
    "intervals": classification.confidence_intervals,
    "confusion": classification.confusion,
    "errors": classification.mistakes,
    "curves": classification.curves,
    "calibration": classification.reliability,
    "complexity": costs.costs,
    "pca": features.features,
    "tsne": features.features,
    "umap": features.features,
    "gradcam": attribution.gradcam,
    "feature_maps": attribution.feature_map_figures,
    "occlusion": attribution.occlusions,
    "deletion": attribution.deletions,
}
