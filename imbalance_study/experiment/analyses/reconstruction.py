"""What a decoder makes of images: the error, and a grid to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import errors
from imbalance_study.evaluation.figures import reconstruction as reconstruction_figures
from imbalance_study.experiment.setup import seeding
from imbalance_study.experiment.setup.data import Data
from imbalance_study.models.autoencoder import encode_decode
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.loop import Procedure

SHOWN = 24


def after_training(
    model: Classifier, procedure: Procedure, test: Batches, data: Data, seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """The squared error on the test images, and a grid of some of them; nothing without decoder.

    Args:
        model: With its decoder, and the weights to look at.
        procedure: How the model takes images.
        test: The test images.
        data: For names, mean and deviation.
        seed: Of the choice of images, which are spread over the classes.

    Returns:
        ``reconstruction/test_mse``, the mean over all numbers of the normalised images, as
        ``reconstruction/test_variance`` is that of the images themselves (what a mean image would
        leave), and the figure ``reconstructions``.
    """
    if model.decoder is None:
        return {}, {}
    model.eval()
    mse, variance = _error(model, procedure, test)
    generator = np.random.default_rng(seeding.seeds(seed)("reconstructions"))
    targets = test.targets.numpy()
    chosen = errors.spread_over_classes(targets, np.arange(len(test)), generator, SHOWN)
    images = test.read(chosen.astype(np.int64))
    figure = reconstruction_figures.reconstructions(
        images, _drawn_again(model, procedure, images, data), targets[chosen],
        data.image_set.class_names,
    )  # fmt: skip
    return {
        "reconstruction/test_mse": mse,
        "reconstruction/test_variance": variance,
    }, {"reconstructions": figure}


@torch.inference_mode()
def _error(model: Classifier, procedure: Procedure, part: Batches) -> tuple[float, float]:
    sums, count = np.zeros(3), 0
    for batch in part.epoch(torch.arange(len(part)), 500):
        inputs = procedure.normalise(batch.images)
        drawn = encode_decode(model, inputs)[1]
        found = ((drawn - inputs) ** 2).sum(), inputs.sum(), (inputs**2).sum()
        sums += [float(value) for value in found]
        count += inputs.numel()
    error, mean, square = sums / count
    return float(error), float(square - mean**2)


@torch.inference_mode()
def _drawn_again(
    model: Classifier, procedure: Procedure, images: Any, data: Data
) -> np.ndarray[Any, Any]:
    """Reconstructions of raw images (K, H, W, 3), as raw images."""
    device = next(model.parameters()).device
    inputs = procedure.normalise(torch.from_numpy(images).to(device).permute(0, 3, 1, 2))
    drawn = encode_decode(model, inputs)[1].float().cpu().permute(0, 2, 3, 1).numpy()
    return np.asarray((255 * (drawn * data.std + data.mean)).round().clip(0, 255).astype(np.uint8))
