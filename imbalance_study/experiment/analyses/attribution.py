"""Where a model looks: Grad-CAM, feature maps, occlusion and the deletion test, as figures.

The functions on top explain any images to any model (`View`); those at the end are analyses of a
finished training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imbalance_study.evaluation import attribution, errors
from imbalance_study.evaluation.figures import attribution as attribution_figures
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.experiment.analyses.subject import Analysis, Subject
from imbalance_study.models.classifier import Classifier
from imbalance_study.models.feature_maps import all_maps

Images = npt.NDArray[np.uint8]

CAM_IMAGES = 25
OCCLUDED = 8
DELETED = 16
MAPPED = 4


class View(NamedTuple):
    """A model, and how it takes raw images."""

    model: Classifier
    normalise: Callable[[Tensor], Tensor]  # uint8 (N, 3, H, W) -> float
    probabilities: Callable[[Tensor], Tensor]  # logits (N, C) -> (N, C)
    device: torch.device
    class_names: Sequence[str]
    colormap: str

    def inputs(self, images: Images) -> Tensor:
        """Raw images (N, H, W, 3) as the model takes them."""
        moved = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return self.normalise(moved.permute(0, 3, 1, 2))

    @property
    def black(self) -> Tensor:
        """What a raw 0 becomes (3, 1, 1)."""
        return self.inputs(np.zeros((1, 1, 1, 3), np.uint8))[0]

    def probs(self, images: Images) -> npt.NDArray[np.float32]:
        """Class probabilities (N, C) of raw images (N, H, W, 3)."""
        with attribution.evaluating(self.model), torch.inference_mode():
            parts = [
                self.probabilities(self.model(part).float())
                for part in self.inputs(images).split(attribution.BATCH)
            ]
        return np.asarray(torch.cat(parts).cpu())


class _LogProbabilities(nn.Module):
    """Gives log p, of which the softmax is p, whatever the model's logits mean."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.model, self.probabilities = view.model, view.probabilities

    def forward(self, images: Tensor) -> Tensor:
        return self.probabilities(self.model(images).float()).clamp_min(1e-12).log()


def layers_of(model: Classifier, text: str) -> tuple[str, ...]:
    """The layers to explain: auto (the first choice), all (one for each resolution), or names.

    Args:
        model: The model.
        text: ``auto``, ``all``, or submodule names joined by ``+``.

    Returns:
        Names; none for ``auto`` where no layer of the model gives a map.

    Raises:
        ValueError: A layer is not in the model, or its output is no map.
    """
    if text in ("auto", "all"):
        return model.cam_layers[-1:] if text == "auto" else model.cam_layers
    names = tuple(part.strip() for part in text.split("+"))
    maps = {name for name, _ in all_maps(model, model.image_size)}
    for name in names:
        if name not in maps:
            raise ValueError(
                f"gradcam_layers must name layers that give maps, joined by +, got {name!r}; "
                f"such are {', '.join(model.cam_layers) or 'none in this model'}"
            )
    return names


def gradcam_maps(view: View, images: Images, classes: Ints, layer: str) -> Floats:
    """Grad-CAM (N, K, h, w) of K classes (N, K) for each raw image (N, H, W, 3)."""
    inputs = view.inputs(images)
    maps = [
        attribution.grad_cam(view.model, inputs, column.tolist(), layer) for column in classes.T
    ]
    return np.stack(maps, axis=1)


def feature_maps(view: View, images: Images, layer: str) -> Any:
    """Figure of the channels of a layer that differ most within these images."""
    maps, channels = attribution.feature_maps(view.model, view.inputs(images), layer)
    return attribution_figures.feature_maps(
        images, maps, channels, title=f"Feature maps of {layer}"
    )


def occlusion(view: View, images: Images, classes: Ints) -> attribution.Occlusion:
    """Hide one part after the other and watch the probability of a class (N,)."""
    model = _LogProbabilities(view)
    # One by one: captum holds all windows of its images at once.
    found = [
        attribution.occlusion(model, view.inputs(image[None]), [int(label)], view.black)
        for image, label in zip(images, classes, strict=True)
    ]
    return attribution.Occlusion(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def occlusion_figure(
    view: View, images: Images, classes: Ints, found: attribution.Occlusion
) -> Any:
    """Figure of `occlusion`."""
    return attribution_figures.occlusion(
        images,
        found.drop,
        found.probability,
        classes,
        found.whole,
        view.class_names,
        colormap=view.colormap,
    )


def deletion(
    view: View, images: Images, classes: Ints, maps: Floats, seed: int
) -> attribution.Deletion:
    """Hide the most salient part by maps (N, h, w), then others of the same shape."""
    return attribution.deletion_score(
        _LogProbabilities(view),
        view.inputs(images),
        classes.tolist(),
        np.asarray(maps, dtype=np.float32),
        view.black,
        torch.Generator().manual_seed(seed),
    )


def file_name(*parts: object) -> str:
    """A file name of words: letters, digits and hyphens, joined by underscores."""
    words = [re.sub(r"[^\w-]+", "-", str(part)).replace("_", "-").strip("-") for part in parts]
    return "_".join(word[:40] or "x" for word in words)


def view_of(subject: Subject) -> View:
    """The model of a finished training, and how it takes raw images."""
    return View(
        subject.model,
        subject.procedure.normalise,
        subject.procedure.probabilities,
        subject.machine.device,
        subject.class_names,
        subject.colormap,
    )


def gradcam(subject: Subject) -> Analysis:
    """Grad-CAM of misclassified and of correctly classified images."""
    found = Analysis()
    layers = layers_of(subject.model, subject.gradcam_layers)
    if not layers:
        found.notes.append("Grad-CAM left out: no layer of this model gives maps")
    for layer in layers:
        suffix = "" if layer == layers[-1] else f"_{file_name(layer)}"
        found.add(_gradcam_errors(subject, layer, suffix))
        found.add(_gradcam_correct(subject, layer, suffix))
    return found


def _gradcam_errors(subject: Subject, layer: str, suffix: str) -> Analysis:
    """25 misclassified images: maps of the predicted and of the true class."""
    targets = subject.test.targets
    chosen = errors.misclassified(
        targets, subject.predictions, subject.generator("misclassified"), CAM_IMAGES
    )
    images, probs = subject.images(chosen), subject.probs[chosen]
    classes = np.stack([subject.predictions[chosen], targets[chosen]], axis=1)
    maps = _maps(subject, images, classes, layer)
    figure = attribution_figures.gradcam_errors(
        images,
        maps,
        targets[chosen],
        probs,
        subject.class_names,
        title=f"Misclassified: Grad-CAM at {layer} of the predicted and of the true class",
        colormap=subject.colormap,
    )
    overlays = _overlays(subject, chosen, classes, maps, ("as", "true"), f"errors{suffix}")
    return Analysis(figures={f"gradcam_errors{suffix}": figure}, overlays=overlays)


def _gradcam_correct(subject: Subject, layer: str, suffix: str) -> Analysis:
    """The surest right predictions of each class: maps of the class and of the runner-up."""
    targets = subject.test.targets
    each = 3 if subject.data.num_classes <= 20 else 1
    chosen: Ints = np.concatenate(errors.surest_of_each_class(targets, subject.probs, each))
    images, probs = subject.images(chosen), subject.probs[chosen]
    classes = np.stack(
        [targets[chosen], attribution_figures.runner_up(targets[chosen], probs)], axis=1
    )
    maps = _maps(subject, images, classes, layer)
    figure = attribution_figures.gradcam_correct(
        images,
        maps,
        targets[chosen],
        probs,
        subject.class_names,
        title=f"Right and surest: Grad-CAM at {layer} of the class and of the runner-up",
        colormap=subject.colormap,
    )
    overlays = _overlays(subject, chosen, classes[:, :1], maps, ("true",), f"correct{suffix}")
    return Analysis(figures={f"gradcam_correct{suffix}": figure}, overlays=overlays)


def _maps(subject: Subject, images: Images, classes: Ints, layer: str) -> Floats:
    if not len(images):
        return np.zeros((0, classes.shape[1], 1, 1), np.float32)
    return gradcam_maps(view_of(subject), images, classes, layer)


def _overlays(
    subject: Subject,
    chosen: Ints,
    classes: Ints,
    maps: Floats,
    roles: Sequence[str],
    folder: str,
) -> dict[str, Images]:
    """Each overlay by itself: index of the image, role, class."""
    found = {}
    rows, images = subject.rows(chosen), subject.images(chosen)
    for index, row in enumerate(rows):
        for which, role in enumerate(roles):
            name = file_name(f"{row:05d}", role, subject.class_names[classes[index, which]])
            found[f"gradcam_{folder}/{name}"] = attribution_figures.overlay(
                images[index], maps[index, which], subject.colormap
            )
    return found


def _sample(subject: Subject, count: int) -> Ints:
    """Test images spread over the classes, half of them misclassified where there are so many."""
    targets = subject.test.targets
    wrong = errors.misclassified(
        targets, subject.predictions, subject.generator("misclassified"), CAM_IMAGES
    )
    wrong = subject.generator("sample of errors").permutation(wrong)[: count // 2]
    right = errors.spread_over_classes(
        targets,
        np.flatnonzero(subject.predictions == targets),
        subject.generator("sample"),
        count - len(wrong),
    )
    return np.concatenate([right, wrong])


def feature_map_figures(subject: Subject) -> Analysis:
    """Feature maps of the explained layers for 4 images."""
    found = Analysis()
    layers = layers_of(subject.model, subject.gradcam_layers)
    if not layers:
        found.notes.append("feature maps left out: no layer of this model gives maps")
    images = subject.images(_sample(subject, MAPPED))
    for layer in layers:
        suffix = "" if layer == layers[-1] else f"_{file_name(layer)}"
        found.figures[f"feature_maps{suffix}"] = feature_maps(view_of(subject), images, layer)
    return found


def occlusions(subject: Subject) -> Analysis:
    """Occlusion maps: where hiding a part changes the probability of the predicted class."""
    chosen = _sample(subject, OCCLUDED)
    images, classes = subject.images(chosen), subject.predictions[chosen]
    view = view_of(subject)
    found = occlusion(view, images, classes)
    overlays = _overlays(subject, chosen, classes[:, None], found.drop[:, None], ("as",), "")
    return Analysis(
        figures={"occlusion": occlusion_figure(view, images, classes, found)},
        overlays={name.replace("gradcam_", "occlusion"): one for name, one in overlays.items()},
    )


def deletions(subject: Subject) -> Analysis:
    """Deletion score: does hiding the most salient part hurt more than hiding another?"""
    view = view_of(subject)
    seed = int(subject.generator("deletion").integers(2**31))
    scores: dict[str, attribution.Deletion] = {}
    layers = layers_of(subject.model, subject.gradcam_layers)
    if layers:
        chosen = _sample(subject, DELETED)
        images, classes = subject.images(chosen), subject.predictions[chosen]
        maps = gradcam_maps(view, images, classes[:, None], layers[-1])[:, 0]
        scores["Grad-CAM"] = deletion(view, images, classes, maps, seed)
    chosen = _sample(subject, OCCLUDED)
    images, classes = subject.images(chosen), subject.predictions[chosen]
    maps = occlusion(view, images, classes).drop
    scores["occlusion"] = deletion(view, images, classes, maps, seed)
    measured = {}
    for method, score in scores.items():
        name = method.replace("-", "").lower()
        measured[f"test_deletion/{name}_salient"] = float(score.salient.mean())
        measured[f"test_deletion/{name}_random"] = float(score.random.mean())
    pairs = {method: (score.salient, score.random) for method, score in scores.items()}
    figure = attribution_figures.deletion(pairs, scores["occlusion"].fraction)
    return Analysis(metrics=measured, figures={"deletion": figure})
