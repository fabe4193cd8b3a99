"""Configurations of a comparison, from its settings. Nothing here imports torch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from imbalance_study.config import fields, spec
from imbalance_study.config.choice import Choice
from imbalance_study.config.fields import option
from imbalance_study.config.identity import identity
from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.config.schema import Auto, Config
from imbalance_study.studies.comparison.suites import SUITES

_SEEDS = 3


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """Settings of a comparison.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    suite: str = option(
        "none",
        "Comparison",
        "A ready set of configurations; it validates on balanced:per_class=50 where the data "
        "allow, unless validation is given.",
        choices={"none": Choice("no suite")}
        | {name: Choice(suite.about) for name, suite in SUITES.items()},
    )
    vary: str = option(
        "none",
        "Comparison",
        "Options separated by ;, their values by |; all combinations run: "
        '"model=resnet18|vgg16; loss=cross_entropy|focal:gamma=1".',
    )
    recipes: str = option(
        "none", "Comparison", 'Names of recipes separated by |: "paper_ce|paper_ldam_drw".'
    )
    seeds: int | Auto = option(
        "auto",
        "Comparison",
        "Runs of each configuration: seed, seed + 1, ...; a test needs at least 3. auto: 3, or 10 "
        "for suite=head_remedies, whose runs are short.",
        minimum=1,
    )
    baseline: str = option(
        "auto",
        "Comparison",
        "Label of the configuration that the others are compared with; auto: the first.",
    )
    metric: str = option("test/balanced_accuracy", "Comparison", "The metric that is tested.")
    vary_data: bool = option(
        False, "Comparison", "Vary data_seed with seed: each seed has its own subset and split."
    )
    parallel: int | Auto = option(
        "auto",
        "Comparison",
        "Runs at the same time, each in its own process; auto: as many as the GPU's memory "
        "holds, at most 4; 1 without a GPU.",
        minimum=1,
    )
    threads: int | Auto = option(
        "auto",
        "Comparison",
        "Threads of each run on a processor, whatever parallel is, as sums round by their number; "
        "auto: OMP_NUM_THREADS, else 1.",
        minimum=1,
    )
    again: bool = option(
        False, "Comparison", "Train finished runs once more instead of reusing them."
    )
    price_per_kwh: float = option(
        0.0,
        "Comparison",
        "Price of a kilowatt-hour: the training's energy is shown in money, too, where the machine "
        "counts it.",
        minimum=0.0,
    )

    def __post_init__(self) -> None:
        fields.check(self)

    @property
    def number_of_seeds(self) -> int:
        """Runs of each configuration."""
        if self.seeds != "auto":
            return self.seeds
        return _SEEDS if self.suite == "none" else SUITES[self.suite].seeds


class Configuration(NamedTuple):
    """One configuration: its label and its own options, as typed."""

    label: str
    options: dict[str, Any]


def list_configurations(settings: ComparisonSettings) -> list[Configuration]:
    """List the configurations that suite, vary or recipes name.

    Raises:
        ValueError: None or several of the three are given, fewer than two configurations, a
            mistake in `vary`.
    """
    sources = ("suite", "vary", "recipes")
    chosen = [name for name in sources if getattr(settings, name) != "none"]
    if len(chosen) != 1:
        came = " and ".join(chosen) if chosen else "none"
        raise ValueError(
            f"a comparison takes one of suite, vary and recipes, got {came}; "
            "to vary recipes together with other options, type "
            "vary='recipe=paper_ce|paper_drw; model=...'"
        )
    if settings.suite != "none":
        pairs = SUITES[settings.suite].configurations.items()
        listed = [Configuration(label, dict(values)) for label, values in pairs]
    elif settings.recipes != "none":
        names = _values("recipes", settings.recipes)
        listed = [Configuration(name, {"recipe": name}) for name in names]
    else:
        axes = parse_vary(settings.vary)
        listed = [
            Configuration(label(combination), combination)
            for values in itertools.product(*axes.values())
            for combination in [dict(zip(axes, values, strict=True))]
        ]
    if len(listed) < 2:
        raise ValueError(f"a comparison needs at least two configurations, got {listed[0].label!r}")
    return listed


def parse_vary(text: str) -> dict[str, list[str]]:
    """Parse ``option=value|value; option=value|value``.

    Raises:
        ValueError: An option is unknown, comes twice or cannot be varied, or a value is empty.
    """
    known = config_fields_by_name()
    axes: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not name:
            raise ValueError(
                f"vary is 'option=value|value; option=value|value', got {part.strip()!r}"
            )
        name = fields.present_name(Config, name)
        if name not in known:
            raise ValueError(f"vary: {fields.unknown(name, known, 'option')}")
        if name in axes:
            raise ValueError(f"vary names {name} twice; separate its values by |")
        if name == "seed":
            raise ValueError("vary cannot vary seed: seeds=N runs each configuration N times")
        if not known[name].metadata["changes_result"] and name != "recipe":
            raise ValueError(f"vary cannot vary {name}: it changes no result")
        axes[name] = _values(name, values)
    return axes


def _values(name: str, text: str) -> list[str]:
    values = [value.strip() for value in text.split("|")]
    if "" in values:
        raise ValueError(f"{name} has an empty value in {text!r}; separate values by |")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{name} has the value {value} twice in {text!r}")
    return values


def label(combination: Mapping[str, str]) -> str:
    """Label a configuration: its values, with the option's name where a value is ambiguous."""
    return ", ".join(
        value if _is_clear(name, value) else f"{name}={value}"
        for name, value in combination.items()
    )


def _is_clear(name: str, value: str) -> bool:
    """Whether a value alone tells the option that it belongs to."""
    choices = config_fields_by_name()[name].metadata["choices"]
    return choices is not None and value != "none" and spec.parse(value).name != "auto"


def config_fields_by_name() -> dict[str, dataclasses.Field[Any]]:
    """Map the name of every option of a run to its field."""
    return {field.name: field for field in dataclasses.fields(Config)}


def resolve_configurations(
    chosen: list[Configuration], settings: ComparisonSettings, common: Mapping[str, Any]
) -> dict[str, list[Resolved]]:
    """Resolve each configuration for each seed.

    Args:
        chosen: The configurations.
        settings: Settings of the comparison.
        common: Options of all runs, as typed.

    Returns:
        Label to resolved configurations, one per seed.

    Raises:
        ValueError: A configuration is invalid (the message names it), two are the same, or an
            option is both given and varied.
    """
    if settings.suite != "none":
        common = {**SUITES[settings.suite].shared, **common}
    typed = fields.parse_values(Config, common)
    _refuse_given_and_varied(chosen, typed)
    _check_baseline(chosen, settings.baseline)
    resolved: dict[str, list[Resolved]] = {}
    seen: dict[str, str] = {}
    for label, values in chosen:
        try:
            resolved[label] = [
                resolve({**common, **values, **_seeds(settings, typed, number)})
                for number in range(settings.number_of_seeds)
            ]
        except ValueError as error:
            raise ValueError(f"configuration {label}: {error}") from error
        same = seen.setdefault(identity(resolved[label][0].config), label)
        if same != label:
            raise ValueError(
                f"the configurations {same} and {label} are the same; leave one of them out"
            )
    return resolved


def _seeds(settings: ComparisonSettings, typed: Mapping[str, Any], number: int) -> dict[str, int]:
    seeds = {"seed": typed.get("seed", Config.seed) + number}
    if settings.vary_data:
        seeds["data_seed"] = typed.get("data_seed", Config.data_seed) + number
    return seeds


def _refuse_given_and_varied(chosen: list[Configuration], typed: Mapping[str, Any]) -> None:
    """Refuse an option that is given for all runs and varied.

    A given default passes: ``mlflow run`` always passes the declared options. A configuration that
    returns to the default passes too, as one without the weights that all others start from.
    """
    known = config_fields_by_name()
    for label, values in chosen:
        for name in values:
            given, default = typed.get(name, "auto"), known[name].default
            if given not in ("auto", default) and values[name] != default:
                raise ValueError(
                    f"{name}={typed[name]} is given for all, and {label} sets {name}="
                    f"{values[name]}; leave one of them out"
                )


def _check_baseline(chosen: list[Configuration], baseline: str) -> None:
    labels = [label for label, _ in chosen]
    if baseline not in ("auto", *labels):
        raise ValueError(fields.unknown(baseline, labels, "baseline"))
