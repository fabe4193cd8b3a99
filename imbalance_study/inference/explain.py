"""Explanations of any model on any photographs, written as PNG files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from imbalance_study.config.fields import unknown
from imbalance_study.data import decode
from imbalance_study.evaluation.figures import attribution as figures
from imbalance_study.experiment.analyses import saliency
from imbalance_study.experiment.analyses.saliency import View
from imbalance_study.files import file_name
from imbalance_study.inference.load import LoadedModel

Images = npt.NDArray[np.uint8]
Classes = npt.NDArray[np.integer[Any]]


@dataclasses.dataclass(frozen=True)
class Options:
    """Choices of an explanation."""

    class_name: str = ""  # explained beside the predicted class; the runner-up when empty
    methods: Sequence[str] = ("gradcam", "occlusion", "feature_maps", "deletion")
    layers: str = "auto"  # as `experiment.analyses.saliency.layers_of` takes them
    colormap: str = "inferno"


def read_images(
    paths: Sequence[Path], size: int, decoding: decode.Decoding = decode.AS_BEFORE
) -> Images:
    """Read image files as an array (N, size, size, 3), as those of the training were.

    Raises:
        ValueError: A file is no image.
    """
    images = []
    for path in paths:
        try:
            images.append(decode.decode(path.read_bytes(), size, decoding))
        except Exception as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error
    return np.stack(images)


def explain(
    loaded: LoadedModel,
    paths: Sequence[Path],
    out: Path,
    options: Options = Options(),
    *,
    device: str = "cpu",
) -> list[str]:
    """Write figures and overlays of photographs into a folder.

    Args:
        loaded: The model.
        paths: The photographs.
        out: The folder; made when missing.
        options: Methods, layers, class and colours.
        device: Device of the computation.

    Returns:
        A line for each photograph: its three most probable classes.

    Raises:
        ValueError: The class or a layer is unknown, or the model has no maps.
    """
    names = [str(name) for name in loaded.class_names]
    label = _label(options.class_name, names)
    images = read_images(paths, loaded.image_size, loaded.decoding)
    view = View(
        loaded.model.to(torch.device(device)),
        loaded.normalise,
        loaded.probabilities,
        torch.device(device),
        names,
        options.colormap,
    )
    layers = saliency.layers_of(view.model, options.layers)
    if not layers and set(options.methods) != {"occlusion"}:
        raise ValueError("no layer of this model gives maps: name layers, or use methods=occlusion")
    explanation = _Explanation(view, images, paths, out, layers, label)
    for method, draw in _METHODS.items():
        if method in options.methods:
            draw(explanation)
    return [_line(path, row, names) for path, row in zip(paths, explanation.probs, strict=True)]


def _label(class_name: str, names: Sequence[str]) -> int | None:
    if not class_name:
        return None
    lower = [name.lower() for name in names]
    if class_name.lower() not in lower:
        raise ValueError(unknown(class_name, names, "class"))
    return lower.index(class_name.lower())


class _Explanation:
    """Photographs (N, H, W, 3) with their predictions, and the folder of their figures."""

    def __init__(
        self,
        view: View,
        images: Images,
        paths: Sequence[Path],
        out: Path,
        layers: Sequence[str],
        label: int | None,
    ) -> None:
        self.view, self.images, self.paths, self.layers = view, images, paths, layers
        self.probs = view.probs(images)  # (N, C)
        predicted = self.probs.argmax(1)
        runner_up = figures.runner_up(predicted, self.probs)
        self.explained = predicted if label is None else np.full_like(predicted, label)
        other = np.where(self.explained == predicted, runner_up, self.explained)
        self.compared = np.stack([predicted, other], axis=1)  # (N, 2)
        self._out = out
        out.mkdir(parents=True, exist_ok=True)

    def save_figure(self, name: str, figure: Any) -> None:
        """Write a figure of all photographs."""
        figure.savefig(self._out / f"{name}.png")

    def save_overlays(self, method: str, maps: Any, classes: Classes) -> None:
        """Write one file for each photograph: its map (N, H, W) for a class, above the image."""
        folder = self._out / "overlays"
        folder.mkdir(exist_ok=True)
        for index, path in enumerate(self.paths):
            class_name = self.view.class_names[classes[index]]
            name = file_name(f"{index + 1:03d}", path.stem, method, class_name)
            overlay = figures.overlay(self.images[index], maps[index], self.view.colormap)
            Image.fromarray(overlay).save(folder / f"{name}.png")


def _gradcam(explanation: _Explanation) -> None:
    view, images, classes = explanation.view, explanation.images, explanation.compared
    for layer in explanation.layers:
        name = f"gradcam_{file_name(layer)}" if len(explanation.layers) > 1 else "gradcam"
        maps = saliency.gradcam_maps(view, images, classes, layer)
        figure = figures.gradcam_of_classes(
            figures.ClassMaps(images, maps, classes, explanation.probs, view.class_names),
            [path.name for path in explanation.paths],
            title=f"Grad-CAM at {layer}",
            colormap=view.colormap,
        )
        explanation.save_figure(name, figure)
        for column in range(classes.shape[1]):
            explanation.save_overlays(name, maps[:, column], classes[:, column])


def _feature_maps(explanation: _Explanation) -> None:
    for layer in explanation.layers:
        figure = saliency.feature_maps(explanation.view, explanation.images, layer)
        explanation.save_figure(f"feature_maps_{file_name(layer)}", figure)


def _occlusion(explanation: _Explanation) -> None:
    view, images, classes = explanation.view, explanation.images, explanation.explained
    result = saliency.occlusion(view, images, classes)
    figure = saliency.occlusion_figure(view, images, classes, result)
    explanation.save_figure("occlusion", figure)
    explanation.save_overlays("occlusion", result.drop, classes)


def _deletion(explanation: _Explanation) -> None:
    view, images, classes = explanation.view, explanation.images, explanation.explained
    layer = explanation.layers[-1]
    maps = saliency.gradcam_maps(view, images, classes[:, None], layer)[:, 0]
    score = saliency.deletion(view, images, classes, maps, 0)
    curves = {"Grad-CAM": (score.salient, score.random)}
    explanation.save_figure("deletion", figures.deletion(curves, score.fraction))


# In the order in which they are drawn.
_METHODS: dict[str, Callable[[_Explanation], None]] = {
    "gradcam": _gradcam,
    "feature_maps": _feature_maps,
    "occlusion": _occlusion,
    "deletion": _deletion,
}


def _line(path: Path, probs: Any, names: Sequence[str]) -> str:
    best = np.argsort(-probs)[:3]
    return f"{path.name}: " + ", ".join(f"{names[label]} {probs[label]:.1%}" for label in best)
