"""The model as it leaves the lab: raw images in, class probabilities out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import Tensor, nn

from imbalance_study.experiment import RunResult


class RawImageClassifier(nn.Module):
    """Normalisation, network and probabilities in one: uint8 (N, H, W, 3) to float (N, C)."""

    def __init__(
        self,
        network: nn.Module,
        probabilities: Callable[[Tensor], Tensor],
        mean: Any,
        std: Any,
    ) -> None:
        super().__init__()
        self.network = network
        self.probabilities = probabilities
        scale = torch.as_tensor(1 / (255 * np.asarray(std)), dtype=torch.float32)
        shift = torch.as_tensor(-np.asarray(mean) / np.asarray(std), dtype=torch.float32)
        self.scale = nn.Buffer(scale.view(1, 3, 1, 1))
        self.shift = nn.Buffer(shift.view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Class probabilities (N, C) of raw images uint8 (N, H, W, 3)."""
        inputs = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return self.probabilities(self.network(inputs).float())


def save_model(result: RunResult, example: np.ndarray[Any, Any], folder: Path) -> None:
    """Save the kept model in MLflow's pt2 form, which is loaded without pickle.

    Args:
        result: The finished run.
        example: Raw images uint8 (2, H, W, 3).
        folder: Is made.
    """
    network = result.model.to("cpu").to(memory_format=torch.contiguous_format).eval()
    model = RawImageClassifier(
        network, result.procedure.probabilities, result.data.mean, result.data.std
    ).eval()
    side = result.data.image_size
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("uint8"), (-1, side, side, 3))]),
        Schema([TensorSpec(np.dtype("float32"), (-1, result.data.num_classes))]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            model,
            str(folder),
            signature=signature,
            input_example=example,
            serialization_format="pt2",
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _REQUIREMENTS],
            metadata={"class_names": list(result.data.image_set.class_names)},
        )


_REQUIREMENTS = ("mlflow", "torch", "numpy")
