"""Which configurations a comparison consists of; nothing here imports torch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from imbalance_study.config import fields as config_fields
from imbalance_study.config import spec
from imbalance_study.config.fields import option
from imbalance_study.config.identity import identity
from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.config.schema import Auto, Config
from imbalance_study.studies.comparison.suites import SUITES


@dataclasses.dataclass(frozen=True)
class Comparing:
    """What is compared, and how.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    suite: str = option(
        "none",
        "Comparison",
        "A ready set of configurations; it validates on balanced:per_class=50 where the data "
        "allow, unless validation is given.",
        choices={"none": "no suite"} | {name: suite.about for name, suite in SUITES.items()},
    )
    vary: str = option(
        "none",
        "Comparison",
        "Options apart by ;, values by |, all combinations: "
        '"model=resnet18|vgg16; loss=cross_entropy|focal:gamma=1".',
    )
    recipes: str = option(
        "none", "Comparison", 'Names of recipes apart by |: "paper_ce|paper_ldam_drw".'
    )
    seeds: int = option(
        3,
        "Comparison",
        "Runs of each configuration: seed, seed + 1, ...; below 3 nothing is tested.",
        minimum=1,
    )
    baseline: str = option(
        "auto", "Comparison", "What the others are tested against; auto: the first configuration."
    )
    metric: str = option("test/balanced_accuracy", "Comparison", "The metric that is tested.")
    vary_data: bool = option(
        False, "Comparison", "Vary data_seed with seed: other images and parts for each."
    )
    parallel: int | Auto = option(
        "auto",
        "Comparison",
        "Runs at once, each in a process of its own; auto: as many as the GPU's memory holds, at "
        "most 4; 1 without a GPU.",
        minimum=1,
    )
    again: bool = option(
        False, "Comparison", "Run what is finished once more, instead of taking it over."
    )

    def __post_init__(self) -> None:
        config_fields.check(self)


class Configuration(NamedTuple):
    """What is compared: a label, and the options that set it apart, as typed."""

    label: str
    options: dict[str, Any]


def configurations(comparing: Comparing) -> list[Configuration]:
    """The configurations that suite, vary or recipes name.

    Raises:
        ValueError: None or several of the three are given, fewer than two configurations, a
            mistake in `vary`.
    """
    ways = ("suite", "vary", "recipes")
    chosen = [name for name in ways if getattr(comparing, name) != "none"]
    if len(chosen) != 1:
        came = " and ".join(chosen) if chosen else "none"
        raise ValueError(
            f"a comparison takes one of suite, vary and recipes, got {came}; "
            "recipes can be varied beside other options: "
            "vary='recipe=paper_ce|paper_drw; model=...'"
        )
    if comparing.suite != "none":
        pairs = SUITES[comparing.suite].configurations.items()
        found = [Configuration(label, dict(values)) for label, values in pairs]
    elif comparing.recipes != "none":
        names = _values("recipes", comparing.recipes)
        found = [Configuration(name, {"recipe": name}) for name in names]
    else:
        axes = parse_vary(comparing.vary)
        found = [
            Configuration(label(combination), combination)
            for values in itertools.product(*axes.values())
            for combination in [dict(zip(axes, values, strict=True))]
        ]
    if len(found) < 2:
        raise ValueError(f"a comparison needs at least two configurations, got {found[0].label!r}")
    return found


def parse_vary(text: str) -> dict[str, list[str]]:
    """Take ``option=value|value; option=value|value`` apart.

    Raises:
        ValueError: An unknown option, one that comes twice or cannot be compared, an empty value.
    """
    fields = {field.name: field for field in dataclasses.fields(Config)}
    axes: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise ValueError(
                f"vary is 'option=value|value; option=value|value', got {part.strip()!r}"
            )
        if name not in fields:
            raise ValueError(f"vary: {config_fields.unknown(name, fields, 'option')}")
        if name in axes:
            raise ValueError(f"vary names {name} twice; its values go apart by |")
        if name == "seed":
            raise ValueError("vary cannot vary seed: seeds=N runs each configuration N times")
        if not fields[name].metadata["changes_result"] and name != "recipe":
            raise ValueError(f"vary cannot vary {name}: it changes no result")
        axes[name] = _values(name, values)
    return axes


def _values(name: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split("|")]
    if "" in values:
        raise ValueError(f"{name} has an empty value in {text!r}; values go apart by |")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{name} has the value {value} twice in {text!r}")
    return values


def label(combination: Mapping[str, str]) -> str:
    """What a configuration is called: values, with the option's name where they do not speak."""
    return ", ".join(
        value if _speaks(name, value) else f"{name}={value}" for name, value in combination.items()
    )


def _speaks(name: str, value: str) -> bool:
    choices = options_of_config()[name].metadata["choices"]
    return choices is not None and value != "none" and spec.parse(value).name != "auto"


def options_of_config() -> dict[str, dataclasses.Field[Any]]:
    """Every option of a run by its name."""
    return {field.name: field for field in dataclasses.fields(Config)}


def resolve_all(
    found: list[Configuration], comparing: Comparing, common: Mapping[str, Any]
) -> dict[str, list[Resolved]]:
    """Label to the resolved configuration of each seed.

    Args:
        found: The configurations.
        comparing: Tells how many seeds, and whether the data vary with them.
        common: Options that all share, as typed.

    Raises:
        ValueError: A configuration cannot be (the message names it), two are the same, an option is
            given and varied.
    """
    if comparing.suite != "none":
        common = {**SUITES[comparing.suite].shared, **common}
    typed = config_fields.parse_values(Config, common)
    _refuse_given_and_varied(found, typed)
    _check_baseline(found, comparing.baseline)
    resolved: dict[str, list[Resolved]] = {}
    seen: dict[str, str] = {}
    for label, values in found:
        try:
            resolved[label] = [
                resolve({**common, **values, **_seeds(comparing, typed, number)})
                for number in range(comparing.seeds)
            ]
        except ValueError as error:
            raise ValueError(f"configuration {label}: {error}") from error
        same = seen.setdefault(identity(resolved[label][0].config), label)
        if same != label:
            raise ValueError(f"the configurations {same} and {label} are the same")
    return resolved


def _seeds(comparing: Comparing, typed: Mapping[str, Any], number: int) -> dict[str, int]:
    found = {"seed": typed.get("seed", Config.seed) + number}
    if comparing.vary_data:
        found["data_seed"] = typed.get("data_seed", Config.data_seed) + number
    return found


def _refuse_given_and_varied(found: list[Configuration], typed: Mapping[str, Any]) -> None:
    """A given default passes: ``mlflow run`` passes the declared options in any case.

    So does a configuration that goes back to the default: without the weights that all others have.
    """
    fields = options_of_config()
    for label, values in found:
        for name in values:
            given, default = typed.get(name, "auto"), fields[name].default
            if given not in ("auto", default) and values[name] != default:
                raise ValueError(
                    f"{name}={typed[name]} is given for all, and {label} sets {name}="
                    f"{values[name]}; leave one of them out"
                )


def _check_baseline(found: list[Configuration], baseline: str) -> None:
    labels = [label for label, _ in found]
    if baseline not in ("auto", *labels):
        raise ValueError(config_fields.unknown(baseline, labels, "baseline"))
