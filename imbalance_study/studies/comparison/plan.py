"""Plan a comparison: resolve every run, and check it against data and models before any starts."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from imbalance_study.config import fields, spec
from imbalance_study.config.identity import former_identity, identity
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import Config
from imbalance_study.evaluation import significance
from imbalance_study.evaluation.metrics import classification_metrics, prefixed
from imbalance_study.experiment.analyses import registry as analyses
from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.experiment.setup.device import CPU
from imbalance_study.experiment.setup.inputs import LocalFiles, load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.models import imagenet
from imbalance_study.studies.comparison import configurations
from imbalance_study.studies.comparison.configurations import ComparisonSettings, Configuration
from imbalance_study.studies.comparison.suites import SUITES
from imbalance_study.tracking import run_names

_SIX_IMAGES = np.arange(6), np.eye(6), np.ones(6, int)  # the smallest set that has all metrics
BALANCED = "balanced:per_class=50"
# Analyses of all seeds, in numbers alone, and those of the first seed, with figures and costs.
_EVERY_SEED = "predictions+quick_intervals+per_class"
_FIRST_SEED = "predictions+intervals+confusion+pca+tsne+complexity"


class PlannedRun(NamedTuple):
    """A run of a comparison, resolved."""

    label: str
    seed: int
    first: bool  # has the first seed of its configuration
    resolved: Resolved
    identity: str
    former_identity: str  # in the previous version
    fingerprint: str  # of its data

    @property
    def key(self) -> tuple[str, str]:
        """Key under which a finished run is found again."""
        return self.identity, self.fingerprint

    @property
    def former_key(self) -> tuple[str, str]:
        """Key of the same run in the previous version."""
        return self.former_identity, self.fingerprint

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.label}, seed {self.seed}"


@dataclasses.dataclass(frozen=True)
class ComparisonPlan:
    """All runs of a comparison, seed by seed, with the decisions made for them."""

    settings: ComparisonSettings
    configurations: list[Configuration]
    children: list[PlannedRun]
    baseline: str
    given: dict[str, Any]  # options of all runs, as typed
    common: dict[str, Any]  # the same with the options that the suite adds
    notes: list[str]

    @property
    def digest(self) -> str:
        """Digest of 16 hexadecimal digits, equal for comparisons of the same runs."""
        return _digest(child.key for child in self.children)

    @property
    def former_digest(self) -> str:
        """Digest of the same comparison in the previous version."""
        return _digest(child.former_key for child in self.children)

    @property
    def varied(self) -> list[str]:
        """Names of the options that the configurations set."""
        return list(dict.fromkeys(name for one in self.configurations for name in one.options))


def make_plan(
    settings: ComparisonSettings, common: Mapping[str, Any], local: LocalFiles | None = None
) -> ComparisonPlan:
    """Resolve and check every run.

    Args:
        settings: Settings of the comparison.
        common: Options of all runs, as typed.
        local: Downloaded weights; its data cache holds the images afterwards.

    Raises:
        ValueError: A configuration cannot be run; the message names it.
    """
    local = LocalFiles(data_cache=DataCache()) if local is None else local
    common = fields.renamed(Config, common)
    _check_metric(settings.metric)
    chosen = configurations.list_configurations(settings)
    configurations.resolve_configurations(chosen, settings, common)  # errors before data are read
    notes: list[str] = []
    shared = dict(common)
    if settings.suite != "none":
        shared |= _suite_options(settings, chosen, common, local, notes)
        chosen = _possible_configurations(settings, chosen, shared, local, notes)
    resolved = configurations.resolve_configurations(chosen, settings, shared)
    children = [
        _planned_run(label, number, seeds[number], local)
        for number in range(settings.number_of_seeds)
        for label, seeds in resolved.items()
    ]
    _check_models(children, local)
    baseline = chosen[0].label if settings.baseline == "auto" else settings.baseline
    return ComparisonPlan(settings, chosen, children, baseline, dict(common), shared, notes)


def _check_metric(metric: str) -> None:
    known = list(prefixed(classification_metrics(*_SIX_IMAGES, loss=0.0), "test"))
    if metric not in known:
        raise ValueError(fields.unknown(metric, known, "metric"))


def _suite_options(
    settings: ComparisonSettings,
    chosen: list[Configuration],
    common: Mapping[str, Any],
    local: LocalFiles,
    notes: list[str],
) -> dict[str, Any]:
    """Choose balanced validation where the data allow it, and equal updates for some suites."""
    extra: dict[str, Any] = {}
    resolved = configurations.resolve_configurations(chosen, settings, common)
    first = resolved[chosen[0].label][0]
    if first.origins["validation"] == "default":
        trial = dataclasses.replace(first.config, validation=BALANCED)
        try:
            load_inputs(trial, local)
            extra["validation"] = BALANCED
        except ValueError as error:
            if "validation balanced" not in str(error):
                raise
            notes.append(f"validation is {first.config.validation}: {error}")
    if SUITES[settings.suite].same_updates and first.origins["steps_per_epoch"] == "default":
        config = dataclasses.replace(first.config, **extra)
        if config.batch_size == "auto":
            raise ValueError(
                f"suite={settings.suite} gives all runs the same updates, for which batch_size "
                "must be a number, got auto"
            )
        steps = math.ceil(len(load_inputs(config, local).data.train_rows) / config.batch_size)
        extra["steps_per_epoch"] = steps
        notes.append(f"every epoch has {steps} updates, as many as {chosen[0].label} makes")
    return extra


def _possible_configurations(
    settings: ComparisonSettings,
    chosen: list[Configuration],
    common: Mapping[str, Any],
    local: LocalFiles,
    notes: list[str],
) -> list[Configuration]:
    """Leave out the configurations of a suite that these data do not allow."""
    possible = []
    for one in chosen:
        resolved = configurations.resolve_configurations(
            [one], dataclasses.replace(settings, baseline="auto"), common
        )
        try:
            for seed in resolved[one.label]:
                load_inputs(seed.config, local)
        except ValueError as error:
            notes.append(f"{one.label} is left out: {error}")
        else:
            possible.append(one)
    if len(possible) < 2:
        raise ValueError(
            f"these data allow fewer than two configurations of {settings.suite}: {notes[-1]}"
        )
    return possible


def _planned_run(label: str, number: int, resolved: Resolved, local: LocalFiles) -> PlannedRun:
    config, origins = resolved
    try:
        inputs = load_inputs(config, local)
        fingerprint = str(inputs.data.fingerprint["fingerprint"])
    except ValueError as error:
        raise ValueError(f"configuration {label}: {error}") from error
    analyses_ = config.analyses
    if origins["analyses"] == "default":
        analyses_ = _FIRST_SEED if number == 0 else _EVERY_SEED
    config = dataclasses.replace(
        config,
        run_name=f"{label}, {run_names.data_name(config)}, seed {config.seed}",
        analyses=analyses_,
    )
    # A run on a GPU does not equal the same run on a processor.
    device: Any = inputs.device_setup.device.type
    known = dataclasses.replace(config, device=device, precision=inputs.device_setup.precision)
    return PlannedRun(
        label,
        config.seed,
        number == 0,
        Resolved(config, origins),
        identity(known),
        former_identity(known),
        fingerprint,
    )


def _digest(keys: Iterable[tuple[str, str]]) -> str:
    parts = sorted(" ".join(key) for key in keys)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _check_models(children: list[PlannedRun], local: LocalFiles) -> None:
    """Build each distinct model once, on the processor, and check it against the analyses."""
    done: set[tuple[Any, ...]] = set()
    for child in children:
        config = child.resolved.config
        built = config.model, config.head, config.stem, config.loss, config.image_size
        key = (
            *built,
            config.weights,
            config.weights_classes,
            config.freeze,
            config.dataset,
            config.analyses,
            config.gradcam_layers,
        )
        if key in done:
            continue
        done.add(key)
        try:
            with torch.random.fork_rng([]):
                model = build_model(load_inputs(config, local, device_setup=CPU))
            analyses.check(config.analyses, config.gradcam_layers, model)
        except ValueError as error:
            hint = _other_weights(config.weights, children)
            raise ValueError(f"configuration {child.label}: {error}{hint}") from error


def _other_weights(weights: str, children: list[PlannedRun]) -> str:
    """Say where several models find their weights, in place of one file for all of them."""
    models = {spec.parse(child.resolved.config.model).name for child in children}
    if weights in ("none", "imagenet") or len(models) == 1:
        return ""
    return (
        "; one file serves one model, and weights=imagenet takes the file of each from "
        f"{imagenet.downloads()}"
    )


def describe(plan: ComparisonPlan, reused: set[tuple[str, str]]) -> str:
    """Describe a plan in words: configurations, seeds, reused runs and notes.

    Args:
        plan: The plan.
        reused: Identity and fingerprint of the runs that are finished.
    """
    seeds = list(dict.fromkeys(child.seed for child in plan.children))
    todo = [c for c in plan.children if c.key not in reused]
    width = max(len(one.label) for one in plan.configurations)
    lines = [
        f"{len(plan.configurations)} configurations x {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}): {len(plan.children)} runs, "
        f"{len(plan.children) - len(todo)} of them finished before, {len(todo)} to do"
    ]
    for label, values in plan.configurations:
        settings = " ".join(f"{name}={value}" for name, value in values.items())
        own = [c for c in plan.children if c.label == label]
        done = sum(c.key in reused for c in own)
        known = f"{done} of {len(own)} finished" if done else ""
        base = "baseline" if label == plan.baseline else ""
        words = ", ".join(filter(None, [base, known]))
        lines.append(f"  {label:{width}}  {settings}" + (f"  ({words})" if words else ""))
    lines.append(_power(len(seeds), len(plan.configurations) - 1))
    return "\n".join([*lines, *(f"Note: {note}" for note in plan.notes)])


def _power(seeds: int, tests: int) -> str:
    """Say what so many seeds can show."""
    if seeds < significance.MIN_SEEDS:
        return f"{significance.MIN_SEEDS} seeds are needed for a test; {seeds} can show nothing"
    more = [
        f"{count} seeds {significance.detectable(count, tests):.1f}"
        for count in (5, 10)
        if count > seeds
    ]
    return (
        f"{seeds} seeds show a difference of {significance.detectable(seeds, tests):.1f} standard "
        "deviations of the paired difference with 80 % power"
        + (f" ({', '.join(more)})" if more else "")
    )
