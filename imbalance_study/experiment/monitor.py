"""Fixed images, looked at again and again while a model trains; never test images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import errors
from imbalance_study.evaluation.figures import attribution as attribution_figures
from imbalance_study.evaluation.figures import errors as errors_figures
from imbalance_study.experiment.analyses import attribution as attribution_analyses
from imbalance_study.experiment.setup import seeding
from imbalance_study.experiment.setup.data import Data
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.loop import Procedure

WATCHED = 25
EXPLAINED = 10

Probabilities = Callable[[Tensor], Tensor]
Watch = Callable[[Classifier, int, Probabilities], dict[str, Any]]


def watcher(
    every: int,
    part: Batches,
    name: str,
    data: Data,
    procedure: Procedure,
    *,
    gradcam_layers: str = "auto",
    colormap: str = "inferno",
    seed: int = 0,
) -> Watch:
    """A function that draws what a model sees now.

    Args:
        every: Epochs between two looks; 0 for never.
        part: Validation, or the training set where there is none.
        name: "val" or "train", a part of the keys.
        data: The data, for the names of the classes.
        procedure: How the model takes images.
        gradcam_layers: See `explanations.layers_of`; the last one is drawn.
        colormap: Of the maps.
        seed: Of the choice of images, which are spread over the classes.

    Returns:
        The function of the model, the number of finished epochs and what turns the model's logits
        (N, C) into probabilities at this stage; it gives key to Figure, nothing between two looks.
    """
    if not every:
        return lambda model, epoch, probabilities: {}
    generator = np.random.default_rng(seeding.seeds(seed)("watching"))
    targets = part.targets.numpy()
    everyone = np.arange(len(part))
    chosen = errors.spread_over_classes(targets, everyone, generator, WATCHED).astype(np.int64)
    few = np.sort(generator.permutation(len(chosen))[:EXPLAINED])
    images, labels = part.read(chosen), targets[chosen]
    names = data.image_set.class_names

    def look(model: Classifier, epoch: int, probabilities: Probabilities) -> dict[str, Any]:
        if epoch % every:
            return {}
        view = attribution_analyses.View(
            model, procedure.normalise, probabilities, part.device, names, colormap
        )
        probs = view.probs(images)
        found = probs.argmax(1)
        title = f"{name}: the same images after epoch {epoch}"
        drawn = {
            f"images/{name}_predictions": errors_figures.labelled_images(
                images, labels, found, probs.max(1), names, title
            )
        }
        for layer in attribution_analyses.layers_of(model, gradcam_layers)[-1:]:
            classes = np.stack([found[few], labels[few]], axis=1)
            maps = attribution_analyses.gradcam_maps(view, images[few], classes, layer)
            drawn[f"images/{name}_gradcam"] = attribution_figures.gradcam_errors(
                images[few],
                maps,
                labels[few],
                probs[few],
                names,
                title=f"{title}: Grad-CAM of the predicted and of the true class",
                colormap=colormap,
            )
        return drawn

    return look
