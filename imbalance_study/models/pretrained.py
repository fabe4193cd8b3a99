"""Weights to start from: their file, the training that made them, and loading into a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import with_trait
from imbalance_study.models import checkpoint, imagenet, stems, timm_models, transfer
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
    interpolation: str = ""  # that resized the images of the training
    assumed: bool = False  # size and scale are those of the model's published weights
    of_run: bool = False  # the file is a checkpoint of a run


def find(
    weights: str, model: str, weights_file: Path | None = None, class_names_file: str = "none"
) -> Source | None:
    """Find the weights that a Config names, downloaded if need be; None for none.

    Args:
        weights: ``none``, ``imagenet``, ``runs:/ID``, or a file: a checkpoint of a run, or a
            state_dict as torchvision, timm or this package makes it, with torch or as safetensors.
            A plain state_dict of a model of torchvision or timm is taken for one that was trained
            as their own.
        model: The spec string of the model that they are for.
        weights_file: The downloaded checkpoint of ``runs:/ID``.
        class_names_file: Names of the classes of a plain state_dict, a line each; ``none``: they
            are unknown.

    Raises:
        ValueError: They are not there, not to be downloaded, damaged, or of another model.
    """
    if weights == "none":
        return None
    name = spec.parse(model).name
    if weights == "imagenet":
        return _published(name)
    path = _file(weights, weights_file)
    content = checkpoint.load(path)
    if "config" in content and "facts" in content:
        if class_names_file != "none":
            raise ValueError(
                f"weights_classes has no effect with weights={weights}: the checkpoint of a run "
                "has class names of its own"
            )
        return _of_run(weights, path, content, name)
    return _plain(path, name)._replace(class_names=_names_in(class_names_file))


def _published(name: str) -> Source:
    found = imagenet.published(name)
    owner = "ImageNet" if found.class_names else "Published"
    return Source(
        f"{owner} weights of {found.model}",
        imagenet.weights_file(found),
        found.model,
        "imagenet",
        found.image_size,
        found.mean,
        found.std,
        found.class_names,
        found.interpolation,
    )


def _plain(path: Path, name: str) -> Source:
    """Describe a state_dict: size and scale are unknown, or assumed to be the usual ones."""
    if name in with_trait(choices.MODELS, "small_stem") or ":" in name:
        return Source(str(path), path)
    if timm_models.is_timm(name):
        usual = timm_models.training_of(name)
        return Source(
            str(path),
            path,
            name,
            "imagenet",
            usual.image_size,
            usual.mean,
            usual.std,
            interpolation=usual.interpolation,
            assumed=True,
        )
    if name in imagenet.PACKAGES:
        packaged = imagenet.published(name)
        size, mean, std = packaged.image_size, packaged.mean, packaged.std
    else:
        size, (mean, std) = 224, imagenet.preprocessing()
    return Source(str(path), path, "", "imagenet", size, mean, std, assumed=True)


def _names_in(file: str) -> tuple[str, ...]:
    if file == "none":
        return ()
    path = Path(file).expanduser()
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"weights_classes must be a text file with a class name a line, got {file!r}: {error}"
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) < 2:
        raise ValueError(f"weights_classes must have a class name a line, got {len(names)} names")
    return names


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
    related = {timm_models.architecture(one).removesuffix("_autoencoder") for one in (theirs, name)}
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
        of_run=True,
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
        ValueError: They are of another model, or have not as many classes as names.
    """
    state = state_for(model, source)
    rows = len(state.get("classifier.weight", ()))
    if source.class_names and rows not in (0, len(source.class_names)):
        raise ValueError(
            f"the head of {source.origin} has {rows} classes, and there are "
            f"{len(source.class_names)} class names"
        )
    return transfer.load(
        model, state, source.origin, source_classes=source.class_names, class_names=class_names
    )


def state_for(model: Classifier, source: Source) -> dict[str, Tensor]:
    """Read the weights of a source under the names of a model, converted where timm does it.

    Raises:
        ValueError: The file is damaged, or holds no tensors.
    """
    state = state_of(source.path)
    resized = not source.of_run or source.image_size != model.image_size
    if timm_models.is_timm(source.model) and resized:
        state = timm_models.converted(source.model, state, model.image_size, run=source.of_run)
    return transfer.own_names(model, state)


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


def describe(source: Source, loaded: transfer.Loaded, normalisation: str) -> dict[str, Any]:
    """Return the origin of the weights and the tensors loaded, new and left, for the record.

    Args:
        source: The weights.
        loaded: What became of them.
        normalisation: As the configuration has it: one that is not ``auto`` was given.
    """
    known = "assumed" if source.assumed else "known" if source.mean else "unknown"
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
        "scale": known if normalisation == "auto" else "given",
        "mean": list(source.mean),
        "std": list(source.std),
        "interpolation": source.interpolation,
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
    if record.get("interpolation", "") not in ("", "bicubic"):
        text += (
            f"; trained on images resized by {record['interpolation']} interpolation, where these "
            "are by bicubic"
        )
    return "; ".join([text, *doubts(record)])


def doubts(record: Mapping[str, Any]) -> list[str]:
    """Say that the weights may expect another scale of the pixels than the images have."""
    remedy = "set normalisation=values:mean=M,std=S if they expect another"
    if record.get("scale") == "unknown":
        return [
            "the scale of the pixels that the weights expect is unknown: the images are normalised "
            f"by mean and deviation of the training pixels; {remedy}"
        ]
    if record.get("scale") == "assumed":
        mean, std = (_channels(record[name]) for name in ("mean", "std"))
        return [
            "the file of weights does not say which scale of the pixels they expect: mean "
            f"{mean} and deviation {std} are assumed; {remedy}"
        ]
    return []


def _channels(values: Sequence[float]) -> str:
    texts = [f"{value:.3g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else "/".join(texts)
