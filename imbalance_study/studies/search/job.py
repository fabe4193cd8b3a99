"""From settings and options to a study that is ready to go, and whether an old one is the same."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from imbalance_study.config import fields
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import Config
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.inputs import LocalFiles, load_inputs
from imbalance_study.studies.search import space
from imbalance_study.studies.search.optuna_study import Plan
from imbalance_study.studies.search.settings import Settings, objectives
from imbalance_study.tracking import store

_BALANCED = "balanced:per_class=50"
# Where a trial is recorded or computed is not what it is.
_ELSEWHERE = {
    *("tracking_uri", "experiment", "run_name", "output_dir", "system_metrics", "analyses"),
    *("data_dir", "cache_dir", "workers", "device", "precision", "resident", "memory_format"),
}


class Job(NamedTuple):
    """A study, ready to go."""

    settings: Settings
    plan: Plan
    base: Resolved  # the first baseline: what does not change is the same in all trials
    place: str  # of the storage
    uri: str  # of MLflow's store
    signature: dict[str, Any]
    words: list[str]  # behind `study`, to start one more worker
    local: LocalFiles  # downloaded weights, and images in memory


def ready(settings: Settings, given: Mapping[str, str], local: LocalFiles | None = None) -> Job:
    """Decide all that is to be decided before a trial runs, and load the data."""
    fixed = {name: value for name, value in given.items() if value != "auto"}
    goals = objectives(settings.objective)
    if goals[0].name in typing.get_args(fields.types_of(Config)["select_by"]):
        fixed.setdefault("select_by", goals[0].name)
    if len(goals) > 1 and "|" not in fixed.get("model", ""):
        raise ValueError(
            f"objective={settings.objective} needs several models, as model=resnet20|resnet32: "
            f"{goals[1].name} is the same for all settings of one"
        )
    local = LocalFiles() if local is None else local
    fixed, data = _validation(settings, fixed, local)
    found = space.build(settings.search, fixed)
    base = _first(found)
    uri = store.connect(base.config.tracking_uri)
    name = settings.study
    if name == "auto":
        words = (settings.search.replace("|", "-"), base.config.dataset, fixed.get("model", ""))
        name = "-".join(word.replace("|", "-") for word in words if word)
    plan = Plan(
        name=name,
        space=found,
        goals=goals,
        trials=settings.trials,
        pruner=settings.pruning,
        epochs=procedures.all_epochs(base.config, bind(base.config)),
        seed=settings.study_seed,
        patience=settings.patience,
    )
    place = _beside(uri) if settings.storage == "auto" else settings.storage
    signature, typed = _signature(plan, data), _words(settings, given)
    return Job(settings, plan, base, place, uri, signature, typed, local)


def _validation(
    settings: Settings, fixed: dict[str, str], local: LocalFiles
) -> tuple[dict[str, str], str]:
    """The options with a validation part, balanced where nobody chose, and the data's
    fingerprint."""
    options = [fixed] if "validation" in fixed else [fixed | {"validation": _BALANCED}, fixed]
    for option in options:
        config = _first(space.build(settings.search, option)).config
        try:
            data = load_inputs(config, local).data
        except ValueError:
            if option is options[-1]:
                raise
            continue
        if not len(data.split.val):
            raise ValueError(f"a study needs validation images, and validation={config.validation}")
        return option, data.fingerprint["fingerprint"]
    raise AssertionError


def _first(found: space.Space) -> Resolved:
    return space.options_of(found, next(iter(space.baselines(found).values())))


def _beside(uri: str) -> str:
    """The journal file beside a store that is a file, else in this folder."""
    file = store.sqlite_file(uri)
    return str((Path() if file is None else file.parent) / "studies.journal")


def _words(settings: Settings, given: Mapping[str, str]) -> list[str]:
    typed = {
        field.name: str(getattr(settings, field.name)) for field in dataclasses.fields(settings)
    }
    typed |= {"workers": "1"}
    return [word for name, value in (typed | dict(given)).items() for word in (f"--{name}", value)]


def _signature(plan: Plan, data: str) -> dict[str, Any]:
    """What a study is known by: another one of the same name is refused."""
    fixed = {k: v for k, v in plan.space.fixed.items() if k not in _ELSEWHERE}
    return {
        "search space": space.describe(plan.space),
        "objective": [goal.name for goal in plan.goals],
        "data": data,
        "options": fixed,
    }


def check_same(theirs: Mapping[str, Any], job: Job) -> None:
    """Refuse a study of the same name that is another one.

    Raises:
        ValueError: Naming what differs.
    """
    mine = json.loads(json.dumps(job.signature))
    theirs = {"options" if name == "knobs" else name: value for name, value in theirs.items()}
    for what, value in mine.items():
        if theirs.get(what) != value:
            raise ValueError(
                f"study {job.plan.name} exists in {job.place.rpartition('@')[2]} with another "
                f"{what} ({_difference(theirs.get(what), value)}); give study another name"
            )


def _difference(theirs: Any, mine: Any) -> str:
    """Where two plain values differ, in few words."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for name in [*mine, *theirs]:
            if theirs.get(name) != mine.get(name):
                there, here = (side.get(name, "nothing") for side in (theirs, mine))
                return f"{name}: there {_difference_of(there)}, here {_difference_of(here)}"
    return f"there {_difference_of(theirs)}, here {_difference_of(mine)}"


def _difference_of(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("values", value)
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)
