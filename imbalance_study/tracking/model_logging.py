"""The kept model of a run in the form that MLflow keeps and serves."""

from __future__ import annotations

import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from imbalance_study import __version__
from imbalance_study.experiment.result import RunResult
from imbalance_study.models import serving


def save_model(result: RunResult, example: np.ndarray[Any, Any], folder: Path) -> None:
    """Save the kept model in MLflow's pt2 form, which is loaded without pickle.

    Its metadata hold the class names, in the order of the probabilities.

    Args:
        result: The finished run.
        example: One or two raw images uint8 (N, H, W, 3). One is taken twice: of a single image,
            torch takes the size of the batch for fixed.
        folder: New folder of the model.
    """
    network = result.model.to("cpu").to(memory_format=torch.contiguous_format).eval()
    model = serving.RawImageClassifier(
        network,
        result.procedure.probabilities,
        result.data.mean.tolist(),
        result.data.std.tolist(),
    ).eval()
    side, decoding = result.data.image_size, result.data.image_set.decoding.to_dict()
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
            input_example=np.resize(example, (2, side, side, 3)),
            serialization_format="pt2",
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in _REQUIREMENTS],
            metadata={
                "class_names": list(result.data.image_set.class_names),
                "image_size": side,
                **decoding,
                "preprocessing": serving.preprocessing(side, decoding),
                "imbalance_study": __version__,
            },
        )


_REQUIREMENTS = ("mlflow", "torch", "numpy")
