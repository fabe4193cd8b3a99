"""A trained model, rebuilt from a file of weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from imbalance_study.config import spec
from imbalance_study.config.schema import Config
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.components import bind_loss, head_spec
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.models import checkpoint, pretrained, serving, transfer, zoo
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import second_stage


class LoadedModel(NamedTuple):
    """A trained model and what it was made for."""

    model: Classifier
    probabilities: Callable[[Tensor], Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    class_names: Sequence[str]
    image_size: int
    config: Config | None = None  # of the run, where it is of one

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) to what the model takes."""
        scale, shift = serving.scale_and_shift(self.mean, self.std)
        return images.float() * scale.to(images.device) + shift.to(images.device)

    def raw(self) -> serving.RawImageClassifier:
        """The model that takes raw images and gives probabilities."""
        return serving.RawImageClassifier(
            self.model, self.probabilities, self.mean, self.std
        ).eval()


def from_checkpoint(path: Path, model: str = "", *, own_code: bool = False) -> LoadedModel:
    """The model of a run, rebuilt from its checkpoint.

    Args:
        path: As `experiment.run` writes it: with weights, configuration and facts.
        model: The model that it should be; any when empty.
        own_code: Import the functions ``package.module:function`` that the configuration names. To
            be allowed for files that are trusted alone: what they name would be called.

    Raises:
        ValueError: The file is no such checkpoint, or it is of another model, or it names a
            function that may not be imported.
    """
    content = checkpoint.load(path)
    if not {"model", "config", "facts"} <= content.keys():
        raise ValueError(f"{path} holds weights alone; say which model they are of")
    config = _config_of(content["config"])
    if model and model != config.model:
        raise ValueError(f"{path} holds {config.model}, not model={model}")
    if not own_code:
        _refuse_own_code(config, path, model)
    facts = RunFacts.from_dict(content["facts"])
    names, size = facts.class_names, facts.image_size
    made = zoo.create(
        config.model,
        len(names),
        image_size=size,
        stem=pretrained.stem_of(content["config"], content["facts"]),
        head=head_spec(config.head, spec.parse(config.loss).name),
    )
    made.decoder = None
    if config.stage2 != "none":
        spec.bind(second_stage.STAGES, config.stage2, "stage2")(made)  # puts its head in place
    _load(made, content["model"], path)
    return LoadedModel(
        made.eval(),
        _softmax if config.stage2 != "none" else procedures.probabilities(bind_loss(config)),
        facts.mean,
        facts.std,
        names,
        size,
        config,
    )


def _refuse_own_code(config: Config, path: Path, named: str) -> None:
    """A file must not choose what is called; what was typed beside it may."""
    for option in ("model", "loss", "head", "stage2"):
        function = spec.parse(getattr(config, option)).name
        if ":" in function and getattr(config, option) != named:
            raise ValueError(
                f"{path} names the function {function} as its {option}, and a file does not decide "
                "what is called; take the model from its run, with runs:/ID"
            )


def _config_of(values: Mapping[str, Any]) -> Config:
    """The options of a checkpoint; those that another version knew are left out."""
    known = {field.name for field in dataclasses.fields(Config)}
    return Config(**{name: value for name, value in values.items() if name in known})


def from_weights(model: str, weights: str) -> LoadedModel:
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
    mean, std = transfer.imagenet_preprocessing()
    return LoadedModel(made.eval(), _softmax, mean, std, names, 224)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(1)


def _imagenet(model: str) -> LoadedModel:
    found = transfer.imagenet(model)
    made = zoo.create(model, len(found.class_names), image_size=found.image_size, stem="imagenet")
    path = transfer.imagenet_file(found)
    _load(made, transfer.own_names(made, pretrained.state_of(path)), path)
    return LoadedModel(
        made.eval(), _softmax, found.mean, found.std, found.class_names, found.image_size
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
