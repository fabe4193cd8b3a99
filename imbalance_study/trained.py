"""A trained model, rebuilt from a file of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imbalance_study import prepare, pretrained, stages
from imbalance_study.config import Config
from imbalance_study.models import transfer, zoo
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import checkpoint


class Ready(NamedTuple):
    """A trained model and what it was made for."""

    model: Classifier
    normalise: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor]
    class_names: Sequence[str]
    image_size: int


def from_checkpoint(path: Path, model: str = "") -> Ready:
    """The model of a run, rebuilt from its checkpoint.

    Args:
        path: As `experiment.run` writes it: with weights, configuration and facts.
        model: The model that it should be; any when empty.

    Raises:
        ValueError: The file is no such checkpoint, or it is of another model.
    """
    content = checkpoint.load(path)
    if not {"model", "config", "facts"} <= content.keys():
        raise ValueError(f"{path} holds weights alone; say which model they are of")
    config = _config_of(content["config"])
    if model and model != config.model:
        raise ValueError(f"{path} holds {config.model}, not model={model}")
    facts = content["facts"]
    names, size = facts["class_names"], facts["image_size"]
    made = zoo.create(
        config.model,
        len(names),
        image_size=size,
        stem=pretrained.stem_of(content["config"], facts),
        head=prepare.head_of(config),
    )
    made.decoder = None
    _load(made, content["model"], path)
    return Ready(
        made.eval(),
        _normaliser(facts["mean"], facts["std"]),
        _probabilities(config),
        names,
        size,
    )


def _config_of(values: Mapping[str, Any]) -> Config:
    """The knobs of a checkpoint; those that another version knew are left out."""
    known = {field.name for field in dataclasses.fields(Config)}
    return Config(**{name: value for name, value in values.items() if name in known})


def _probabilities(config: Config) -> Callable[[Tensor], Tensor]:
    if config.stage2 != "none":  # which trains a softmax
        return lambda logits: logits.softmax(1)
    return stages.probabilities(prepare.bind(config).loss, config)


def _normaliser(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    scale = torch.tensor([1 / (255 * one) for one in std]).view(1, 3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(1, 3, 1, 1)
    return lambda images: images.float() * scale.to(images.device) + shift.to(images.device)


def from_weights(model: str, weights: str) -> Ready:
    """A model with weights from a file, or with torchvision's for ImageNet.

    A file holds a checkpoint of a run, or the state_dict of the model as torchvision (or this
    package) makes it; images of such a one are normalised as ImageNet's at 224 px, and its classes
    are numbers.

    Raises:
        ValueError: The weights are not there, not to be downloaded, or not of this model.
    """
    if weights == "imagenet":
        return _imagenet(model)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(f"weights must be imagenet or a file, got {weights!r}")
    content = checkpoint.load(path)
    if "config" in content:
        return from_checkpoint(path, model)
    if not model:
        raise ValueError(f"{path} holds weights alone; say which model they are of with model=NAME")
    state = content.get("model", content)
    matrices = [value for value in state.values() if getattr(value, "ndim", 0) == 2]
    if not matrices:
        raise ValueError(f"{path} is no state_dict of {model}: it has no matrix for a last layer")
    num_classes = len(matrices[-1])
    made = zoo.create(model, num_classes, image_size=224, stem="auto")
    made.decoder = None
    _load(made, transfer.own_names(made, state), path)
    names = [str(label) for label in range(num_classes)]
    how = transfer.imagenet_preprocessing()
    return Ready(made.eval(), _normaliser(*how), _softmax, names, 224)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(1)


def _imagenet(model: str) -> Ready:
    found = transfer.imagenet(model)
    made = zoo.create(model, len(found.class_names), image_size=found.image_size, stem="imagenet")
    path = transfer.imagenet_file(found)
    _load(made, transfer.own_names(made, pretrained.state_of(path)), path)
    return Ready(
        made.eval(),
        _normaliser(found.mean, found.std),
        _softmax,
        found.class_names,
        found.image_size,
    )


def _load(model: Classifier, state: Mapping[str, Tensor], path: Path) -> None:
    wanted = model.state_dict()
    kept = {name: value for name, value in state.items() if name in wanted}
    missing = [name for name in wanted if name not in kept and "num_batches" not in name]
    wrong = [name for name, value in kept.items() if value.shape != wanted[name].shape]
    if missing or wrong:
        first = f"{missing[0]} is missing" if missing else f"{wrong[0]} has another shape"
        raise ValueError(f"{path} does not hold the weights of this model: {first}")
    model.load_state_dict(kept, strict=False)
