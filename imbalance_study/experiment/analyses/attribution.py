"""Attribution analyses: Grad-CAM, feature maps, occlusion and the deletion test as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imbalance_study.evaluation import attribution, errors
from imbalance_study.evaluation import figures as drawing
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.experiment.analyses import saliency
from imbalance_study.experiment.analyses.context import AnalysisResult, EvaluationContext
from imbalance_study.files import file_name

CAM_IMAGES = 25
OCCLUDED = 8
DELETED = 16
MAPPED = 4


def view_of(context: EvaluationContext) -> saliency.View:
    """Return the model of a finished training, and how it takes raw images."""
    return saliency.View(
        context.model,
        context.procedure.normalise,
        context.procedure.probabilities,
        context.device,
        context.class_names,
        context.heatmaps.colormap,
    )


def gradcam(context: EvaluationContext) -> AnalysisResult:
    """Draw Grad-CAM of misclassified and of correctly classified images."""
    found = AnalysisResult()
    layers = saliency.layers_of(context.model, context.heatmaps.layers)
    if not layers:
        found.notes.append("Grad-CAM left out: no layer of this model gives maps")
    for layer in layers:
        suffix = "" if layer == layers[-1] else f"_{file_name(layer)}"
        found.add(_gradcam_errors(context, layer, suffix))
        found.add(_gradcam_correct(context, layer, suffix))
    return found


def _gradcam_errors(context: EvaluationContext, layer: str, suffix: str) -> AnalysisResult:
    """Draw 25 misclassified images with maps of the predicted and of the true class."""
    targets = context.test.targets
    chosen = errors.misclassified(
        targets, context.predictions, context.generator("misclassified"), CAM_IMAGES
    )
    images, probs = context.images(chosen), context.probs[chosen]
    classes = np.stack([context.predictions[chosen], targets[chosen]], axis=1)
    maps = _maps(context, images, classes, layer)
    figure = drawing.attribution.gradcam_errors(
        images,
        maps,
        targets[chosen],
        probs,
        context.class_names,
        title=f"Misclassified: Grad-CAM at {layer} of the predicted and of the true class",
        colormap=context.heatmaps.colormap,
    )
    overlays = _overlays(context, chosen, classes, maps, ("as", "true"), f"errors{suffix}")
    return AnalysisResult(figures={f"gradcam_errors{suffix}": figure}, overlays=overlays)


def _gradcam_correct(context: EvaluationContext, layer: str, suffix: str) -> AnalysisResult:
    """Draw the surest right predictions of each class, with maps of the class and the runner-up."""
    targets = context.test.targets
    each = 3 if context.data.num_classes <= 20 else 1
    chosen: Ints = np.concatenate(errors.surest_of_each_class(targets, context.probs, each))
    images, probs = context.images(chosen), context.probs[chosen]
    classes = np.stack(
        [targets[chosen], drawing.attribution.runner_up(targets[chosen], probs)], axis=1
    )
    maps = _maps(context, images, classes, layer)
    figure = drawing.attribution.gradcam_correct(
        images,
        maps,
        targets[chosen],
        probs,
        context.class_names,
        title=f"Right and surest: Grad-CAM at {layer} of the class and of the runner-up",
        colormap=context.heatmaps.colormap,
    )
    overlays = _overlays(context, chosen, classes[:, :1], maps, ("true",), f"correct{suffix}")
    return AnalysisResult(figures={f"gradcam_correct{suffix}": figure}, overlays=overlays)


def _maps(context: EvaluationContext, images: saliency.Images, classes: Ints, layer: str) -> Floats:
    if not len(images):
        return np.zeros((0, classes.shape[1], 1, 1), np.float32)
    return saliency.gradcam_maps(view_of(context), images, classes, layer)


def _overlays(
    context: EvaluationContext,
    chosen: Ints,
    classes: Ints,
    maps: Floats,
    roles: Sequence[str],
    folder: str,
) -> dict[str, saliency.Images]:
    """Draw each overlay by itself, named by index of the image, role and class."""
    found = {}
    rows, images = context.rows(chosen), context.images(chosen)
    for index, row in enumerate(rows):
        for which, role in enumerate(roles):
            name = file_name(f"{row:05d}", role, context.class_names[classes[index, which]])
            found[f"gradcam_{folder}/{name}"] = drawing.attribution.overlay(
                images[index], maps[index, which], context.heatmaps.colormap
            )
    return found


def _sample(context: EvaluationContext, count: int) -> Ints:
    """Choose test images spread over the classes, half of them misclassified if so many are."""
    targets = context.test.targets
    wrong = errors.misclassified(
        targets, context.predictions, context.generator("misclassified"), CAM_IMAGES
    )
    wrong = context.generator("sample of errors").permutation(wrong)[: count // 2]
    right = errors.spread_over_classes(
        targets,
        np.flatnonzero(context.predictions == targets),
        context.generator("sample"),
        count - len(wrong),
    )
    return np.concatenate([right, wrong])


def feature_map_figures(context: EvaluationContext) -> AnalysisResult:
    """Draw the feature maps of the explained layers for 4 images."""
    found = AnalysisResult()
    layers = saliency.layers_of(context.model, context.heatmaps.layers)
    if not layers:
        found.notes.append("feature maps left out: no layer of this model gives maps")
    images = context.images(_sample(context, MAPPED))
    for layer in layers:
        suffix = "" if layer == layers[-1] else f"_{file_name(layer)}"
        found.figures[f"feature_maps{suffix}"] = saliency.feature_maps(
            view_of(context), images, layer
        )
    return found


def occlusions(context: EvaluationContext) -> AnalysisResult:
    """Map where hiding a part of an image changes the probability of the predicted class."""
    chosen = _sample(context, OCCLUDED)
    images, classes = context.images(chosen), context.predictions[chosen]
    view = view_of(context)
    found = saliency.occlusion(view, images, classes)
    overlays = _overlays(context, chosen, classes[:, None], found.drop[:, None], ("as",), "")
    return AnalysisResult(
        figures={"occlusion": saliency.occlusion_figure(view, images, classes, found)},
        overlays={name.replace("gradcam_", "occlusion"): one for name, one in overlays.items()},
    )


def deletions(context: EvaluationContext) -> AnalysisResult:
    """Measure whether hiding the most salient part hurts more than hiding another part."""
    view = view_of(context)
    seed = int(context.generator("deletion").integers(2**31))
    scores: dict[str, attribution.Deletion] = {}
    layers = saliency.layers_of(context.model, context.heatmaps.layers)
    if layers:
        chosen = _sample(context, DELETED)
        images, classes = context.images(chosen), context.predictions[chosen]
        maps = saliency.gradcam_maps(view, images, classes[:, None], layers[-1])[:, 0]
        scores["Grad-CAM"] = saliency.deletion(view, images, classes, maps, seed)
    chosen = _sample(context, OCCLUDED)
    images, classes = context.images(chosen), context.predictions[chosen]
    maps = saliency.occlusion(view, images, classes).drop
    scores["occlusion"] = saliency.deletion(view, images, classes, maps, seed)
    measured = {}
    for method, score in scores.items():
        name = method.replace("-", "").lower()
        measured[f"test_deletion/{name}_salient"] = float(score.salient.mean())
        measured[f"test_deletion/{name}_random"] = float(score.random.mean())
    pairs = {method: (score.salient, score.random) for method, score in scores.items()}
    figure = drawing.attribution.deletion(pairs, scores["occlusion"].fraction)
    return AnalysisResult(metrics=measured, figures={"deletion": figure})
