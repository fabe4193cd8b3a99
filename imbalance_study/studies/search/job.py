"""Prepare a study from its settings and options, and compare it with an existing one."""

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
from imbalance_study.studies.search.optuna_study import StudyPlan
from imbalance_study.studies.search.settings import StudySettings, objectives
from imbalance_study.tracking import store

_BALANCED = "balanced:per_class=50"
# Options for the place of a record or a computation; they do not identify a study.
_PLACES = {
    *("tracking_uri", "experiment", "run_name", "output_dir", "system_metrics", "analyses"),
    "per_class_metrics",
    *(
        "data_dir",
        "cache_dir",
        "decode_workers",
        "device",
        "precision",
        "resident",
        "memory_format",
    ),
}


class Job(NamedTuple):
    """A study that is ready to run."""

    settings: StudySettings
    plan: StudyPlan
    base: Resolved  # the first baseline; fixed options are equal in all trials
    storage: str  # address of Optuna's storage
    tracking_uri: str  # address of MLflow's store
    signature: dict[str, Any]  # identifies the study
    worker_arguments: list[str]  # behind `study`, to start one more worker
    local: LocalFiles  # downloaded weights, and images in memory


def prepare_job(
    settings: StudySettings, given: Mapping[str, str], local: LocalFiles | None = None
) -> Job:
    """Decide everything before the first trial, and load the data.

    Args:
        settings: Settings of the study.
        given: Options of its runs, as typed.
        local: Downloaded weights; its data cache holds the images afterwards.

    Raises:
        ValueError: A mistake in the options, or data without a validation part.
    """
    given = fields.renamed(Config, given)
    fixed = {name: value for name, value in given.items() if value != "auto"}
    goals = objectives(settings.objective)
    if goals[0].name in typing.get_args(fields.types_of(Config)["select_by"]):
        fixed.setdefault("select_by", goals[0].name)
    if len(goals) > 1 and "|" not in fixed.get("model", ""):
        raise ValueError(
            f"objective={settings.objective} needs several models, as model=resnet20|resnet32: "
            f"{goals[1].name} is equal for all settings of one model"
        )
    local = LocalFiles() if local is None else local
    fixed, data = _validation(settings, fixed, local)
    searched = space.build(settings.search, fixed)
    base = _first_baseline(searched)
    uri = store.connect(base.config.tracking_uri)
    name = settings.study
    if name == "auto":
        words = (settings.search.replace("|", "-"), base.config.dataset, fixed.get("model", ""))
        name = "-".join(word.replace("|", "-") for word in words if word)
    plan = StudyPlan(
        name=name,
        space=searched,
        goals=goals,
        trials=settings.trials,
        pruner=settings.pruning,
        epochs=procedures.all_epochs(base.config, bind(base.config)),
        seed=settings.study_seed,
        patience=settings.heartbeat_timeout,
    )
    storage = _default_storage(uri) if settings.storage == "auto" else settings.storage
    signature, arguments = _signature(plan, data), _arguments(settings, given)
    return Job(settings, plan, base, storage, uri, signature, arguments, local)


def _validation(
    settings: StudySettings, fixed: dict[str, str], local: LocalFiles
) -> tuple[dict[str, str], str]:
    """Choose a validation part, balanced if none is given; returns options and data fingerprint."""
    options = [fixed] if "validation" in fixed else [fixed | {"validation": _BALANCED}, fixed]
    for option in options:
        config = _first_baseline(space.build(settings.search, option)).config
        try:
            data = load_inputs(config, local).data
        except ValueError:
            if option is options[-1]:
                raise
            continue
        if not len(data.split.val):
            raise ValueError(f"a study needs validation images, got validation={config.validation}")
        return option, data.fingerprint["fingerprint"]
    raise AssertionError


def _first_baseline(searched: space.Space) -> Resolved:
    return space.options_of(searched, next(iter(space.baselines(searched).values())))


def _default_storage(uri: str) -> str:
    """Choose the journal file beside a store that is a file, else in this folder."""
    file = store.sqlite_file(uri)
    return str((Path() if file is None else file.parent) / "studies.journal")


def _arguments(settings: StudySettings, given: Mapping[str, str]) -> list[str]:
    """Write the command line of one more worker."""
    typed = {
        field.name: str(getattr(settings, field.name)) for field in dataclasses.fields(settings)
    }
    typed |= {"parallel": "1"}
    return [word for name, value in (typed | dict(given)).items() for word in (f"--{name}", value)]


def _signature(plan: StudyPlan, data: str) -> dict[str, Any]:
    """Make the signature of a study; a study of the same name with another one is refused."""
    fixed = {k: v for k, v in plan.space.fixed.items() if k not in _PLACES}
    return {
        "search space": space.describe(plan.space),
        "objective": [goal.name for goal in plan.goals],
        "data": data,
        "options": fixed,
    }


def check_same(stored: Mapping[str, Any], job: Job) -> None:
    """Refuse to continue a study of the same name with another signature.

    Args:
        stored: Signature of the existing study.
        job: The study to run.

    Raises:
        ValueError: The signatures differ; the message names the difference.
    """
    mine = json.loads(json.dumps(job.signature))
    theirs = {"options" if name == "knobs" else name: value for name, value in stored.items()}
    theirs["options"] = fields.renamed(Config, theirs.get("options", {}), note=False)
    for part, value in mine.items():
        if theirs.get(part) != value:
            raise ValueError(
                f"study {job.plan.name} exists in {job.storage.rpartition('@')[2]} with another "
                f"{part} ({_difference(theirs.get(part), value)}); choose another name for study"
            )


def _difference(theirs: Any, mine: Any) -> str:
    """Describe the first difference of two plain values."""
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
