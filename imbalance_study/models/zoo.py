"""Image classifiers by name: ours, any other of torchvision or timm, and a user's own.

A model function takes the number of classes, optionally `image_size` and `stem`, and returns a
module whose last Linear gives the logits; `create` makes a Classifier of it. Nothing is downloaded.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_type_hints

from torch import nn

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import SUPPLIED, with_trait
from imbalance_study.models import stems, timm_models
from imbalance_study.models.classifier import Classifier
from imbalance_study.models.feature_maps import dry_forward, on_meta_or_cpu

Stem = Literal["auto", "small", "imagenet"]

LARGEST_TRIED = 512
# Arguments of `create` whose networks were seen to take their images: a pass takes 0.1 s.
_CHECKED: set[tuple[Any, ...]] = set()


def create(
    text: str,
    num_classes: int,
    *,
    image_size: int,
    stem: str = "auto",
    head: str = "last",
) -> Classifier:
    """Build the model of a spec string, its weights drawn from torch's default generator.

    Args:
        text: A name in `choices.MODELS`, of a torchvision classifier, ``timm/NAME`` of one of
            timm's, or ``module:function`` for a function of the number of classes; options behind
            it, ``efficientnet_b0:dropout=0.3``.
        num_classes: C, at least 2.
        image_size: Side of the square images in pixels.
        stem: "small" keeps the resolution of small images, "imagenet" is torchvision's own;
            "auto" see `stems.resolve`.
        head: A spec string of `choices.HEADS`; linear and mlp stand on the pooled maps, see
            `Classifier.drop_hidden_layers`.

    Raises:
        ValueError: The name, an option, stem or head is unknown; the model has no such stem; or it
            cannot take images of this size (the message names a size that it can take).
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1, got {image_size}")
    named = spec.parse(text)
    function = spec.with_options(_find(named.name), named, "model", SUPPLIED["model"])
    resolved = _resolve_stem(named.name, function, stem, image_size)
    supplied = {"image_size": image_size, "stem": resolved}
    supplied = {key: value for key, value in supplied.items() if spec.takes(function, key)}
    made = function(num_classes, **supplied)
    if not isinstance(made, Classifier):
        made = Classifier(made, image_size=image_size, stem=resolved)
    made.image_size = image_size
    if made.num_classes != num_classes:
        raise ValueError(
            f"the last Linear of model {named.name} must have num_classes={num_classes} outputs, "
            f"got {made.num_classes}"
        )
    if head != "last":
        if spec.parse(head).name in with_trait(choices.HEADS, "pooled"):
            made.drop_hidden_layers()
        made.reset_classifier(num_classes, head)
    checked = (text, num_classes, image_size, resolved, head)
    if checked not in _CHECKED:
        _check_size(named.name, made, image_size)
        if ":" not in named.name:  # a function of the user may give another network next time
            _CHECKED.add(checked)
    return made


def resnet18(num_classes: int, *, image_size: int, stem: str) -> nn.Module:
    """Build the ResNet with 18 layers, 11 million parameters (He et al. 2016)."""
    return _torchvision("resnet18", num_classes, image_size, stem)


def efficientnet_b0(
    num_classes: int,
    *,
    image_size: int,
    stem: str,
    dropout: float = 0.2,
    stochastic_depth_prob: float = 0.2,
) -> nn.Module:
    """Build inverted bottlenecks with squeeze-and-excitation, 4 million (Tan and Le 2019)."""
    options = {"dropout": dropout, "stochastic_depth_prob": stochastic_depth_prob}
    return _torchvision("efficientnet_b0", num_classes, image_size, stem, **options)


def mobilenet_v2(
    num_classes: int, *, image_size: int, stem: str, dropout: float = 0.2
) -> nn.Module:
    """Build inverted residuals with linear bottlenecks, 2.2 million (Sandler et al. 2018)."""
    return _torchvision("mobilenet_v2", num_classes, image_size, stem, dropout=dropout)


def mobilenet_v3_large(
    num_classes: int, *, image_size: int, stem: str, dropout: float = 0.2
) -> nn.Module:
    """Build searched inverted residuals with hard-swish, 4.2 million (Howard et al. 2019)."""
    return _torchvision("mobilenet_v3_large", num_classes, image_size, stem, dropout=dropout)


def vgg16(num_classes: int, *, image_size: int, stem: str, dropout: float = 0.5) -> nn.Module:
    """Build 13 plain convolutions and a dense head, 15 million at 32 px, else 134 million."""
    return _torchvision("vgg16", num_classes, image_size, stem, dropout=dropout)


def _find(name: str) -> Callable[..., Any]:
    if ":" in name or name in choices.MODELS:
        return spec.find(choices.MODELS, name, "model")
    if timm_models.is_timm(name):
        return timm_models.builder(name)
    import torchvision

    others = torchvision.models.list_models(module=torchvision.models)
    if name in others:
        return _torchvision_function(name)
    close = difflib.get_close_matches(name, {*choices.MODELS, *others})
    raise ValueError(
        f"unknown model {name!r}"
        + (f", did you mean {' or '.join(close)}?" if close else "")
        + f"; known: {', '.join(choices.MODELS)}, any other torchvision classifier by its name "
        "(densenet121, convnext_tiny, ...), timm/NAME, or package.module:function"
    )


def _torchvision_function(name: str) -> Callable[..., nn.Module]:
    """Return a model function whose signature has the options of torchvision's builder."""
    from torchvision.models import get_model_builder

    network = get_type_hints(get_model_builder(name))["return"]
    parameters = inspect.signature(network).parameters
    known: dict[str, type] = {
        option: float
        for option in ("dropout", "attention_dropout", "drop_rate", "stochastic_depth_prob")
        if option in parameters
    }
    if name.startswith(("swin", "maxvit")):
        known.pop("stochastic_depth_prob")  # torchvision's builders set it themselves

    def build(num_classes: int, *, image_size: int, stem: str, **options: float) -> nn.Module:
        return _torchvision(name, num_classes, image_size, stem, **options)

    names = (*known, *sorted(SUPPLIED["model"]))
    keywords = [inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY) for k in names]
    first = inspect.Parameter("num_classes", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    build.__signature__ = inspect.Signature([first, *keywords])  # type: ignore[attr-defined]
    build.__annotations__ = {"num_classes": int, "image_size": int, "stem": str, **known}
    return build


def _torchvision(
    name: str, num_classes: int, image_size: int, stem: str, **options: float
) -> nn.Module:
    from torchvision.models import get_model

    for option, value in options.items():
        if not 0 <= value < 1:
            raise ValueError(f"{option} of model {name} must be in [0, 1), got {value}")
    fixed: dict[str, Any] = {}
    if name.startswith("vit"):
        patch = int(name.rpartition("_")[2])
        if image_size % patch:
            raise ValueError(
                f"{name} needs an image_size that is a multiple of {patch}, got {image_size}"
            )
        fixed["image_size"] = image_size
    elif name.startswith("maxvit"):
        if image_size % 224:
            raise ValueError(
                f"{name} needs an image_size that is a multiple of 224, got {image_size}"
            )
        fixed["input_size"] = (image_size, image_size)
    elif name in ("googlenet", "inception_v3"):
        fixed = {"aux_logits": False, "init_weights": False}
    model: nn.Module = get_model(name, weights=None, num_classes=num_classes, **fixed, **options)
    if name.startswith("squeezenet"):
        _give_linear_head(model, num_classes)
    if stem == "small":
        stems.shrink(name, model)
    return model


def _give_linear_head(squeezenet: nn.Module, num_classes: int) -> None:
    """Average the 512 maps, then one Linear, in place of a 1x1 convolution, ReLU and averaging.

    The same function without the ReLU on the logits, which would stop negative logits and their
    gradients.
    """
    dropout = squeezenet.get_submodule("classifier.0")
    head = nn.Linear(512, num_classes)
    squeezenet.classifier = nn.Sequential(dropout, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def _resolve_stem(name: str, function: Callable[..., Any], stem: str, image_size: int) -> str:
    if stem not in get_args(Stem):
        raise ValueError(f"stem must be one of {', '.join(get_args(Stem))}, got {stem!r}")
    if name in with_trait(choices.MODELS, "small_stem"):
        if stem == "imagenet":
            raise ValueError(f"{name} has no imagenet stem; use stem=auto or stem=small")
        return "small"
    if name in with_trait(choices.MODELS, "imagenet_stem") or timm_models.is_timm(name):
        if stem == "small":
            raise ValueError(f"{name} has no small stem; use stem=auto or stem=imagenet")
        return "imagenet"
    if ":" in name:
        if stem != "auto" and not spec.takes(function, "stem"):
            raise ValueError(f"{name} has no {stem} stem; use stem=auto")
        return stem
    return stems.resolve(name, stem, image_size)


def _check_size(name: str, model: Classifier, image_size: int) -> None:
    """Refuse an image size that the model cannot take, naming the smallest that it can."""
    try:
        shape = _feature_shape(model, image_size)
    except Exception as error:
        smallest = _smallest_size(model, image_size)
        hint = (
            f"needs an image_size of at least {smallest}" if smallest else "cannot take image_size"
        )
        raise ValueError(f"{name} {hint}, got {image_size} ({error})") from error
    if shape != (2, model.num_features):
        raise ValueError(
            f"the last Linear of model {name} must be its last layer and take (N, features): "
            f"without it the model must return (2, {model.num_features}) for 2 images, got {shape}"
        )


def _feature_shape(model: Classifier, image_size: int) -> tuple[int, ...]:
    features: Any = on_meta_or_cpu(
        lambda device: dry_forward(model.backbone, image_size, device=device), image_size
    )
    return tuple(getattr(features, "shape", ()))


def _smallest_size(model: Classifier, too_small: int) -> int:
    """Find the smallest size above `too_small` that works, by bisection; 0 if none up to 512."""
    too_small, enough = too_small, 2 * too_small
    while not _takes_size(model, enough):
        too_small, enough = enough, 2 * enough
        if enough > 2 * LARGEST_TRIED:
            return 0
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        too_small, enough = (too_small, middle) if _takes_size(model, middle) else (middle, enough)
    return enough


def _takes_size(model: Classifier, image_size: int) -> bool:
    try:
        return _feature_shape(model, image_size) == (2, model.num_features)
    except Exception:  # `_check_size` reports the first one
        return False
