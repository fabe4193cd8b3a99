"""Analysis of the penultimate features: projections, and the separation of the classes."""

from __future__ import annotations

import numpy as np

from imbalance_study.evaluation import embedding
from imbalance_study.evaluation import figures as drawing
from imbalance_study.experiment.analyses.context import AnalysisResult, EvaluationContext

FEATURE_SAMPLE = 1_000


def features(context: EvaluationContext) -> AnalysisResult:
    """Project penultimate features of 1,000 test images, and measure how the classes separate.

    The images are the same for all runs on the same data, so that their pictures compare.
    """
    methods = [name for name in embedding.METHODS if name in context.wanted]
    if "umap" in methods and context.umap_warm_up is not None:
        context.umap_warm_up.join()
    generator = context.generator("features", by_data=True)
    chosen = embedding.balanced_sample(context.test.targets, generator, FEATURE_SAMPLE)
    vectors, targets = context.test.features[chosen], context.test.targets[chosen]
    points, explained = embedding.project(vectors, context.seed % 2**32, methods)
    names = context.class_names
    columns = context.identity(chosen)
    for method, coordinates in points.items():
        columns |= {f"{method}_{axis + 1}": coordinates[:, axis] for axis in range(2)}
    separation = embedding.separation_metrics(vectors, targets)
    return AnalysisResult(
        metrics={f"test_features/{name}": value for name, value in separation.items()},
        tables={
            "features_by_class": embedding.class_spread(vectors, targets, names),
            "explained_variance": {
                "component": list(range(1, len(explained) + 1)),
                "share": explained.tolist(),
                "cumulated": np.cumsum(explained).tolist(),
            },
        },
        figures={"features": drawing.embedding.embedding(points, targets, names, explained)},
        frames={"features/coordinates": columns},
    )
