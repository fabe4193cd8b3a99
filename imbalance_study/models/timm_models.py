"""Classifiers of timm by their names, ``timm/NAME`` or ``timm/NAME.TAG``, and their weights.

timm is an extra and takes seconds to import, so it is imported when a model of it is asked for.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from imbalance_study.models.classifier import Classifier

PREFIX = "timm/"
_SAFE = "model.safetensors"  # of a repository of timm's hub


class Training(NamedTuple):
    """Weights that timm has for a model, and how their training saw images."""

    name: str  # timm/NAME.TAG
    file: str  # its name in torch's folder
    url: str  # empty where timm has no weights
    num_classes: int
    class_names: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


def is_timm(name: str) -> bool:
    """Return whether the name of a model is one of timm's."""
    return name.startswith(PREFIX)


def architecture(name: str) -> str:
    """Return the name without the tag of the weights; names that are not timm's stay."""
    return name.partition(".")[0] if is_timm(name) else name


def builder(name: str) -> Callable[..., Classifier]:
    """Return a model function for `zoo.create`.

    Raises:
        ValueError: timm is not installed, or has no such model (the message names near ones).
    """
    _settings(name)

    def build(
        num_classes: int,
        *,
        image_size: int,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> Classifier:
        rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
        for option, value in rates.items():
            if not 0 <= value < 1:
                raise ValueError(f"{option} of model {name} must be in [0, 1), got {value:g}")
        options = {option: value for option, value in rates.items() if value}
        return _classifier(name, _create(name, num_classes, image_size, **options), image_size)

    return build


def training_of(name: str) -> Training:
    """Return the weights that timm has under a name, and the preprocessing of their training.

    Raises:
        ValueError: timm is not installed, or has no such model.
    """
    from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_data_config

    settings = _settings(name)
    data = resolve_data_config(pretrained_cfg=settings, verbose=False)
    tagged = ".".join(part for part in (settings["architecture"], settings.get("tag")) if part)
    url = _address(settings)
    subset = infer_imagenet_subset(settings)
    return Training(
        PREFIX + tagged,
        tagged + os.path.splitext(url)[1],
        url,
        int(settings.get("num_classes") or 0),
        tuple(ImageNetInfo(subset).label_descriptions()) if subset else (),
        int(data["input_size"][-1]),
        tuple(data["mean"]),
        tuple(data["std"]),
        str(data["interpolation"]),
    )


def cached_file(name: str) -> Path | None:
    """Return the file of the weights in the cache of timm's hub, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    settings = _settings(name)
    if not settings.get("hf_hub_id"):
        return None
    repository, _, revision = settings["hf_hub_id"].partition("@")
    found = try_to_load_from_cache(repository, _hub_file(settings), revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def converted(
    name: str, state: Mapping[str, Tensor], image_size: int, *, run: bool = False
) -> dict[str, Tensor]:
    """Convert weights as timm's own loader does it, for images of another size above all.

    It renames the tensors of the original code, resizes position embeddings, and drops a class for
    the background.

    Args:
        name: The model.
        state: Name to tensor, with timm's names, or those of the original code.
        image_size: Of the model that gets the weights.
        run: The names are those of a Classifier of this package.

    Returns:
        Name in a Classifier to tensor; `state` itself where timm cannot convert it.
    """
    settings = _settings(name)
    head = settings.get("classifier")
    if not isinstance(head, str):
        return dict(state)
    given = dict(state)
    if run:
        given = {
            key.removeprefix("backbone."): value
            for key, value in state.items()
            if key.startswith("backbone.")
        }
    last = given.get(f"{head}.weight")
    rows = settings["num_classes"] if last is None else len(last)
    rows -= settings.get("label_offset") or 0
    if run:
        rows = 0
    try:
        with torch.random.fork_rng(devices=[]):
            overlay = {"state_dict": given, "num_classes": rows, "custom_load": False}
            model = _create(name, rows, image_size, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception:  # another architecture, which `transfer.load` refuses with its reason
        return dict(state)
    made = {_own_name(key, head): value for key, value in model.state_dict().items()}
    if "classifier.weight" in made:
        made["classifier.weight"] = made["classifier.weight"].flatten(1)  # of a 1x1 convolution
    return made | {key: value for key, value in state.items() if run and key not in made}


def _own_name(name: str, head: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"classifier.{kind}" if layer == head else f"backbone.{name}"


def _settings(name: str) -> dict[str, Any]:
    """Return timm's settings of a model: its head, size, scale and the place of its weights."""
    if importlib.util.find_spec("timm") is None:
        raise ValueError(
            f"model={name} needs the package timm, which is not installed: "
            "pip install 'imbalance-study[timm]'"
        )
    import timm

    bare = name.removeprefix(PREFIX)
    known, _, tag = bare.partition(".")
    if not timm.is_model(known):
        raise ValueError(_unknown(name, known, timm.list_models()))
    tags = [one.partition(".")[2] for one in timm.list_models(f"{known}.*", pretrained=True)]
    if tag and tag not in tags:
        raise ValueError(
            f"unknown weights {tag!r} of {PREFIX}{known}; timm has {', '.join(tags) or 'none'}"
        )
    return dict(timm.get_pretrained_cfg(bare).to_dict())


def _unknown(name: str, bare: str, known: list[str]) -> str:
    close = difflib.get_close_matches(bare, known, n=5, cutoff=0.5)
    names = ", ".join(PREFIX + one for one in close) or f"{len(known)} others, see timm.list_models"
    return f"unknown model {name!r}: timm has no {bare}; it has {names}"


def _create(name: str, num_classes: int, image_size: int, **options: Any) -> nn.Module:
    import timm

    settings = _settings(name)
    if settings.get("fixed_input_size"):
        options["img_size"] = image_size
    bare = name.removeprefix(PREFIX)
    try:
        model = timm.create_model(bare, num_classes=num_classes, **options)
    except TypeError as error:
        unknown = next((option for option in options if repr(option) in str(error)), "")
        if not unknown.startswith("drop"):
            raise
        raise ValueError(f"model {name} has no option {unknown!r}") from error
    except AssertionError as error:
        raise ValueError(f"{name} cannot take image_size={image_size} ({error})") from error
    _check_patches(name, model, image_size)
    made: nn.Module = model
    return made


def _check_patches(name: str, model: nn.Module, image_size: int) -> None:
    """Refuse a size whose last pixels would lie in no patch."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(side, int) and image_size % side:
        raise ValueError(
            f"{name} needs an image_size that is a multiple of {side}, got {image_size}"
        )


def _classifier(name: str, model: nn.Module, image_size: int) -> Classifier:
    """Cut a model before the Linear that timm calls its classifier."""
    head: Any = cast(Any, model).pretrained_cfg.get("classifier")
    if isinstance(head, str) and getattr(model, "head_dist", None) is not None:
        head = (head, "head_dist")
    if not isinstance(head, str):
        what = f"{len(head)} heads ({', '.join(head)})" if head else "no head"
        raise ValueError(
            f"{name} has {what}, and a model here has one: a last Linear, which gives the logits; "
            "take another model of timm's"
        )
    layer = dict(model.named_modules()).get(head)
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
        linear = nn.Linear(layer.in_channels, layer.out_channels)
        model.set_submodule(head, nn.Sequential(nn.Flatten(), linear))
        head = f"{head}.1"
    elif not isinstance(layer, nn.Linear):
        raise ValueError(
            f"{name} has no Linear called {head}, and a model here ends with one; take another "
            "model of timm's"
        )
    return Classifier(model, image_size=image_size, stem="imagenet", last=head)


def _address(settings: Mapping[str, Any]) -> str:
    from huggingface_hub import hf_hub_url

    if not settings.get("hf_hub_id"):
        return str(settings.get("url") or "")
    repository, _, revision = settings["hf_hub_id"].partition("@")
    return str(hf_hub_url(repository, _hub_file(settings), revision=revision or None))


def _hub_file(settings: Mapping[str, Any]) -> str:
    return str(settings.get("hf_hub_filename") or _SAFE)
