"""Reconstruction analysis: the error of a decoder, and a grid of its images.

It is no analysis of the registry: it needs the decoder, which is taken off before the test set is
predicted, and it belongs to every run that trains one, whatever ``analyses`` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import errors
from imbalance_study.evaluation import figures as drawing
from imbalance_study.experiment.analyses.context import AnalysisResult
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.models.autoencoder import encode_decode
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.procedure import Procedure

SHOWN = 24


def reconstruct(
    inputs: RunInputs, model: Classifier, procedure: Procedure, test: Batches
) -> AnalysisResult:
    """Measure the squared error on the test images, and draw some of them again.

    Args:
        inputs: Of the run.
        model: With the weights to look at; without a decoder there are no findings.
        procedure: How the model takes images.
        test: The test images.

    Returns:
        ``reconstruction/test_mse``, the mean over all numbers of the normalised images, and
        ``reconstruction/test_variance``, that of the images themselves (the error of a mean
        image), and the figure ``reconstructions`` of images spread over the classes.
    """
    if model.decoder is None:
        return AnalysisResult()
    model.eval()
    mse, variance = _error(model, procedure, test)
    generator = np.random.default_rng(inputs.seeds("reconstructions"))
    targets = test.targets.numpy()
    chosen = errors.spread_over_classes(targets, np.arange(len(test)), generator, SHOWN)
    images = test.read(chosen.astype(np.int64))
    drawn = _drawn_again(model, procedure, images, inputs.data)
    names = inputs.data.image_set.class_names
    figure = drawing.reconstruction.reconstructions(images, drawn, targets[chosen], names)
    return AnalysisResult(
        metrics={"reconstruction/test_mse": mse, "reconstruction/test_variance": variance},
        figures={"reconstructions": figure},
    )


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
    """Reconstruct raw images (K, H, W, 3) as raw images."""
    device = next(model.parameters()).device
    inputs = procedure.normalise(torch.from_numpy(images).to(device).permute(0, 3, 1, 2))
    drawn = encode_decode(model, inputs)[1].float().cpu().permute(0, 2, 3, 1).numpy()
    return np.asarray((255 * (drawn * data.std + data.mean)).round().clip(0, 255).astype(np.uint8))
