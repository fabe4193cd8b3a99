"""Analysis of the costs of a model."""

from __future__ import annotations

import torch

from imbalance_study.experiment.analyses.context import AnalysisResult, EvaluationContext
from imbalance_study.models import profiling

LATENCY_SECONDS = 1.5  # for each batch size


def costs(context: EvaluationContext) -> AnalysisResult:
    """Measure parameters, multiplications, size, latency, memory and speed."""
    model, device = context.model, context.device
    size = context.data.image_size
    peak = profiling.peak_memory_bytes(device)  # before the measurement adds its own
    parameters = profiling.count_parameters(model)
    found = {
        "parameters": parameters.total,
        "trainable_parameters": parameters.trainable,
        "size_mb": profiling.model_bytes(model) / 1e6,
        "train_images_per_second": context.fit.images_seen / context.fit.seconds,
    }
    if torch.device(device).type != "cuda":  # each training on a GPU has its own peak
        found["peak_memory_mb"] = peak / 1e6
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
    return AnalysisResult(metrics=measured, notes=notes)
