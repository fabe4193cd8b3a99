"""Weights to start from: their file, the training that made them, and loading into a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import with_trait
from imbalance_study.models import checkpoint, stems, transfer
from imbalance_study.models.classifier import Classifier


class Source(NamedTuple):
    """A file of weights and the known facts about it; unknown ones are empty."""

    origin: str  # as a person would name it
    path: Path
    model: str = ""  # by its name, without options
    stem: str = "auto"
    image_size: int = 0
    mean: tuple[float, ...] = ()  # (3,) in 0..1
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()


def find(weights: str, model: str, weights_file: Path | None = None) -> Source | None:
    """Find the weights that a Config names, downloaded if need be; None for none.

    Args:
        weights: ``none``, ``imagenet``, ``runs:/ID``, or a file: a checkpoint of a run, or a
            state_dict as torchvision (or this package) makes it. A plain state_dict of a
            torchvision model is taken for one that was trained as torchvision's own.
        model: The spec string of the model that they are for.
        weights_file: The downloaded checkpoint of ``runs:/ID``.

    Raises:
        ValueError: They are not there, not to be downloaded, damaged, or of another model.
    """
    if weights == "none":
        return None
    name = spec.parse(model).name
    if weights == "imagenet":
        return _of_imagenet(name)
    path = _file(weights, weights_file)
    content = checkpoint.load(path)
    if "config" in content and "facts" in content:
        return _of_run(weights, path, content, name)
    if name in with_trait(choices.MODELS, "small_stem") or ":" in name:
        return Source(str(path), path)
    mean, std = transfer.imagenet_preprocessing()
    return Source(str(path), path, "", "imagenet", 224, mean, std)


def _of_imagenet(name: str) -> Source:
    found = transfer.imagenet(name)
    return Source(
        f"ImageNet weights of {found.model}",
        transfer.imagenet_file(found),
        found.model,
        "imagenet",
        found.image_size,
        found.mean,
        found.std,
        found.class_names,
    )


def _file(weights: str, weights_file: Path | None) -> Path:
    if weights.startswith("runs:/"):
        if weights_file is None:
            raise ValueError(
                f"weights={weights} names a run, whose checkpoint must be downloaded first; give "
                "the downloaded file as weights_file, or use imbalance_study.tracking.run.train"
            )
        path = weights_file
    else:
        path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(
            f"weights must be none, imagenet, runs:/ID or a file, got {weights!r}: "
            "there is no such file"
        )
    return path


def _of_run(origin: str, path: Path, content: Mapping[str, Any], name: str) -> Source:
    config, facts = content["config"], content["facts"]
    theirs = spec.parse(config["model"]).name
    related = {one.removesuffix("_autoencoder") for one in (theirs, name)}
    if len(related) > 1:
        raise ValueError(f"{origin} holds {theirs}, not model={name}")
    return Source(
        origin,
        path,
        theirs,
        stem_of(config, facts),
        int(facts["image_size"]),
        tuple(facts["mean"]),
        tuple(facts["std"]),
        tuple(facts["class_names"]),
    )


def stem_of(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return the stem that a run's model had, as `zoo.create` takes it."""
    name = spec.parse(config["model"]).name
    if "stem" in facts:
        return str(facts["stem"])
    if name in with_trait(choices.MODELS, "small_stem") or ":" in name:
        return "auto"
    return stems.resolve(name, config["stem"], facts["image_size"])


def put_into(model: Classifier, source: Source, class_names: tuple[str, ...]) -> transfer.Loaded:
    """Load the weights into a model.

    Raises:
        ValueError: They are of another model.
    """
    return transfer.load(
        model,
        state_of(source.path),
        source.origin,
        source_classes=source.class_names,
        class_names=class_names,
    )


def state_of(path: Path) -> dict[str, Tensor]:
    """Read name to tensor out of a checkpoint or a state_dict.

    Raises:
        ValueError: The file is damaged, or holds no tensors.
    """
    content = checkpoint.load(path)
    for key in ("model", "state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError(f"{path} holds no weights: there is no tensor in it")
    return state


def describe(source: Source, loaded: transfer.Loaded) -> dict[str, Any]:
    """Return the origin of the weights and the tensors loaded, new and left, for the record."""
    return {
        "from": source.origin,
        "model": source.model,
        "classes": len(source.class_names),
        "head": loaded.head,
        "by_order": loaded.by_order,
        "loaded": len(loaded.loaded),
        "new": loaded.new,
        "left": loaded.left,
        "image_size": source.image_size,
        "stem": source.stem,
    }


def in_words(record: Mapping[str, Any]) -> str:
    """Say the record of `describe` in a line, for a tag."""
    order = ", matched by order as the names differ" if record.get("by_order") else ""
    text = f"{record['loaded']} tensors from {record['from']}{order}; head {record['head']}"
    for kind in ("new", "left"):
        names = record[kind]
        if names:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            text += f"; {kind}: {', '.join(names[:4])}{more}"
    return text
