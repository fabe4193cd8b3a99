"""Decide every option: given > recipe > the data set's default > Config's default.

``auto`` means undecided and falls to the next level.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from imbalance_study.config import choices, fields, spec
from imbalance_study.config.choice import with_trait
from imbalance_study.config.recipes import RECIPES
from imbalance_study.config.schema import Config

# Defaults of a data set, where neither the user nor a recipe decides.
_PHOTOGRAPHS = {"imbalance": "none", "augment": "crop+flip", "test_fraction": 0.2, "batch_size": 32}
_CIFAR = {"imbalance": "exponential:ratio=100", "augment": "crop+flip"}
DATASET_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {
        "imbalance": "exponential:ratio=10",
        "augment": "crop:padding=2",
        "test_fraction": 0.3,
        "batch_size": 32,
        "lr": 0.003,
        "epochs": 20,
    },
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "flowers": _PHOTOGRAPHS,
    "flowers102": {key: _PHOTOGRAPHS[key] for key in ("imbalance", "augment", "batch_size")},
    "imagefolder": _PHOTOGRAPHS,
    "csv": _PHOTOGRAPHS,
}

# Defaults of an optimizer.
USUAL: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.05, "weight_decay": 5e-4},
    "adam": {"lr": 0.001, "weight_decay": 0.0},
    "rmsprop": {"lr": 0.001, "weight_decay": 0.0},
}

# Options whose auto is a way to find the value.
_AUTO_IS_A_WAY = frozenset({"lr", "batch_size"})


class Resolved(NamedTuple):
    """A Config and the origin of each of its values."""

    config: Config
    origins: dict[str, str]  # "given", "recipe", "data set", "optimizer", "freeze" or "default"


def resolve(given: Mapping[str, Any]) -> Resolved:
    """Decide every option: given > recipe > the data set's default > Config's default.

    Args:
        given: Option to text or value, as typed; ``auto`` counts as not given, but for `lr` and
            `batch_size`.

    Raises:
        ValueError: An unknown option, a value of the wrong type or range, a combination that makes
            no sense.
    """
    typed = fields.parse_values(Config, given)
    decided = {
        name: value for name, value in typed.items() if value != "auto" or name in _AUTO_IS_A_WAY
    }
    recipe = decided.get("recipe", "none")
    if recipe != "none" and recipe not in RECIPES:
        raise ValueError(fields.unknown(recipe, RECIPES, "recipe"))
    levels: list[tuple[str, Mapping[str, Any]]] = [("given", decided)]
    if recipe != "none":
        levels.append(("recipe", RECIPES[recipe].options))
    dataset = decided.get("dataset", Config.dataset)
    levels.append(("data set", dataset_defaults(dataset)))
    values: dict[str, Any] = {}
    origins = {field.name: "default" for field in dataclasses.fields(Config)}
    for origin, level in reversed(levels):
        values |= level
        origins |= dict.fromkeys(level, origin)
    usual = USUAL.get(spec.parse(values.get("optimizer", Config.optimizer)).name, {})
    for name in usual:
        if origins[name] not in ("default", "data set"):
            continue
        values[name], origins[name] = usual[name], "optimizer"
    _merge_ratio(values, origins)
    _choose_space(values, origins)
    if dataset in with_trait(choices.DATASETS, "own_test_set") and "test_fraction" in values:
        raise ValueError(f"test_fraction has no effect with dataset={dataset}: it has a test set")
    return Resolved(Config(**values), origins)


def dataset_defaults(dataset: str) -> Mapping[str, Any]:
    """Return the defaults of a data set; a user's own has those of photographs."""
    name = spec.parse(dataset).name
    return _PHOTOGRAPHS if ":" in name else DATASET_DEFAULTS.get(name, {})


def usual_batch_size(config: Config) -> int:
    """Return the batch size of the recipe, else of the data set, else the default."""
    levels: list[Mapping[str, Any]] = [dataset_defaults(config.dataset)]
    if config.recipe != "none":
        levels.insert(0, RECIPES[config.recipe].options)
    return next((int(level["batch_size"]) for level in levels if "batch_size" in level), 128)


def make(**given: Any) -> Config:
    """Make a resolved Config: ``make(dataset="digits", epochs=2)``.

    Raises:
        ValueError: As `resolve`.
    """
    return resolve(given).config


def _choose_space(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Train on features where the whole backbone is frozen and no image is drawn anew.

    An augmentation that nobody asked for is left out then.
    """
    if spec.parse(values.get("freeze", Config.freeze)).name != "head_only":
        return
    if origins["augment"] in ("default", "data set"):
        values["augment"], origins["augment"] = "none", "freeze"
    anew = any(values.get(name, "none") != "none" for name in ("augment", "tail_augment"))
    if origins["space"] == "default" and (not anew or values.get("feature_views", 0)):
        values["space"], origins["space"] = "features", "freeze"


def _merge_ratio(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Write `imbalance_ratio` into the spec of `imbalance`."""
    if "imbalance_ratio" not in values:
        return
    ratio = values["imbalance_ratio"]
    fields.check(Config(imbalance_ratio=ratio))
    profile = spec.parse(values.get("imbalance", "exponential"))
    if profile.name == "none" and origins["imbalance"] != "given":
        profile = spec.Spec("exponential", {})
    if profile.name not in ("exponential", "published", "step"):
        raise ValueError(
            f"imbalance_ratio={ratio:g} goes with imbalance=exponential, published or step, "
            f"not with imbalance={profile}"
        )
    typed = profile.options.get("ratio")
    both_given = origins["imbalance"] == origins["imbalance_ratio"] == "given"
    if typed is not None and both_given and float(typed) != ratio:
        raise ValueError(f"imbalance={profile} and imbalance_ratio={ratio:g} contradict each other")
    values["imbalance"] = str(profile._replace(options={**profile.options, "ratio": f"{ratio:g}"}))
    origins["imbalance"] = origins["imbalance_ratio"]
