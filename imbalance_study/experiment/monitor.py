"""Monitor: the same images, predicted and explained again and again while a model trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from imbalance_study.evaluation import errors
from imbalance_study.evaluation import figures as drawing
from imbalance_study.experiment.analyses import saliency
from imbalance_study.experiment.analyses.context import HeatmapOptions
from imbalance_study.experiment.setup.build import RunSetup
from imbalance_study.models.classifier import Classifier

WATCHED = 25
EXPLAINED = 10


class Monitor:
    """Draws the predictions and Grad-CAM of fixed images, never test images, every few epochs.

    The images are spread over the classes of the validation part, or of the training part where
    there is none.

    Args:
        setup: Of the run; ``figure_every`` of its configuration is the number of epochs between
            two looks, 0 for none.
        heatmaps: The layers, of which the last is drawn, and the colours.
    """

    def __init__(self, setup: RunSetup, heatmaps: HeatmapOptions) -> None:
        self._setup, self._heatmaps = setup, heatmaps
        self._every = setup.config.figure_every
        if not self._every:
            return
        self._name = "train" if setup.parts.val is None else "val"
        part = setup.parts.train if setup.parts.val is None else setup.parts.val
        generator = np.random.default_rng(setup.seeds("watching"))
        targets, everyone = part.targets.numpy(), np.arange(len(part))
        chosen = errors.spread_over_classes(targets, everyone, generator, WATCHED).astype(np.int64)
        self._few = np.sort(generator.permutation(len(chosen))[:EXPLAINED])
        self._images, self._labels = part.read(chosen), targets[chosen]

    def look(
        self, model: Classifier, epoch: int, probabilities: Callable[[Tensor], Tensor]
    ) -> dict[str, Any]:
        """Draw the images as the model sees them now.

        Args:
            model: The model.
            epoch: Finished epochs.
            probabilities: From the model's logits (N, C) to probabilities, at this stage.

        Returns:
            Key to Figure; nothing between two looks.
        """
        if not self._every or epoch % self._every:
            return {}
        setup = self._setup
        view = saliency.View(
            model,
            setup.procedure.normalise,
            probabilities,
            setup.device_setup.device,
            setup.data.image_set.class_names,
            self._heatmaps.colormap,
        )
        probs = view.probs(self._images)
        title = f"{self._name}: the same images after epoch {epoch}"
        drawn = {
            f"images/{self._name}_predictions": drawing.errors.labelled_images(
                self._images, self._labels, probs.argmax(1), probs.max(1), view.class_names, title
            )
        }
        for layer in saliency.layers_of(model, self._heatmaps.layers)[-1:]:
            drawn[f"images/{self._name}_gradcam"] = self._gradcam(view, probs, layer, title)
        return drawn

    def _gradcam(self, view: saliency.View, probs: Any, layer: str, title: str) -> Any:
        few = self._few
        images, labels, probs = self._images[few], self._labels[few], probs[few]
        classes = np.stack([probs.argmax(1), labels], axis=1)
        return drawing.attribution.gradcam_errors(
            images,
            saliency.gradcam_maps(view, images, classes, layer),
            labels,
            probs,
            view.class_names,
            title=f"{title}: Grad-CAM of the predicted and of the true class",
            colormap=view.colormap,
        )
