"""Saliency: Grad-CAM, feature maps, occlusion and deletion of any images for any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imbalance_study.evaluation import attribution
from imbalance_study.evaluation import figures as drawing
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.models.classifier import Classifier
from imbalance_study.models.feature_maps import all_maps

Images = npt.NDArray[np.uint8]


class View(NamedTuple):
    """A model, and how it takes raw images."""

    model: Classifier
    normalise: Callable[[Tensor], Tensor]  # uint8 (N, 3, H, W) -> float
    probabilities: Callable[[Tensor], Tensor]  # logits (N, C) -> (N, C)
    device: torch.device
    class_names: Sequence[str]
    colormap: str

    def inputs(self, images: Images) -> Tensor:
        """Normalise raw images (N, H, W, 3) for the model."""
        moved = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return self.normalise(moved.permute(0, 3, 1, 2))

    @property
    def black(self) -> Tensor:
        """A black pixel (3, 1, 1) as the model takes it."""
        return self.inputs(np.zeros((1, 1, 1, 3), np.uint8))[0]

    def probs(self, images: Images) -> npt.NDArray[np.float32]:
        """Predict class probabilities (N, C) of raw images (N, H, W, 3)."""
        with attribution.evaluating(self.model), torch.inference_mode():
            parts = [
                self.probabilities(self.model(part).float())
                for part in self.inputs(images).split(attribution.BATCH)
            ]
        return np.asarray(torch.cat(parts).cpu())


class _LogProbabilities(nn.Module):
    """Returns log p, of which the softmax is p, whatever the model's logits mean."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.model, self.probabilities = view.model, view.probabilities

    def forward(self, images: Tensor) -> Tensor:
        return self.probabilities(self.model(images).float()).clamp_min(1e-12).log()


def layers_of(model: Classifier, text: str) -> tuple[str, ...]:
    """Choose the layers to explain: auto (the last), all (one for each resolution), or names.

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
    maps = {found.name for found in all_maps(model, model.image_size)}
    for name in names:
        if name not in maps:
            raise ValueError(
                f"gradcam_layers must name layers that give maps, joined by +, got {name!r}; "
                f"such are {', '.join(model.cam_layers) or 'none in this model'}"
            )
    return names


def gradcam_maps(view: View, images: Images, classes: Ints, layer: str) -> Floats:
    """Compute Grad-CAM (N, K, h, w) of K classes (N, K) for each raw image (N, H, W, 3)."""
    inputs = view.inputs(images)
    maps = [
        attribution.grad_cam(view.model, inputs, column.tolist(), layer) for column in classes.T
    ]
    return np.stack(maps, axis=1)


def feature_maps(view: View, images: Images, layer: str) -> Any:
    """Draw the channels of a layer that differ most within these images."""
    maps, channels = attribution.feature_maps(view.model, view.inputs(images), layer)
    return drawing.attribution.feature_maps(
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
    """Draw the result of `occlusion`."""
    return drawing.attribution.occlusion(
        images, found, classes, view.class_names, colormap=view.colormap
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
