"""A study from its settings to its result: trials, the winner over seeds, and what came out.

The first process leads: it holds the study's run in MLflow, and in the end trains the winner and
writes the report. Others that are started on the same study run trials; one of them leads on when
the leader is dead. Started again, the same command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.studies.search import (
    optuna_study,
    parent_run,
    processes,
    space,
    trials,
    winner,
)
from imbalance_study.studies.search.job import Job, check_same, ready
from imbalance_study.studies.search.optuna_study import Search
from imbalance_study.studies.search.settings import Settings
from imbalance_study.tracking import fetch, outage, session, store

_POLL = 1.0  # seconds between two looks at what other processes do
_HURRY = 5.0  # seconds for records that the store did not take, after a signal or an error


def run(settings: Settings, given: Mapping[str, str]) -> None:
    """Conduct a study, or help one that is under way.

    Args:
        settings: Of the study.
        given: Options of its runs, as typed; `model` may name several apart by ``|``.

    Raises:
        ValueError: Something in the settings or the options is wrong, the storage cannot be
        reached,
            or the study exists with another search space, objective or data.
    """
    weights, address = given.get("weights", "none"), given.get("tracking_uri", "auto")
    images = LocalFiles(data_cache=DataCache())
    with fetch.local_weights([weights], address, images) as local:
        job = ready(settings, given, local)
        storage = optuna_study.open_storage(job.place, settings.patience)
        found = Search(storage, job.plan)
        _introduce(found, job)
        if not _lead(found, settings.patience):
            _help(found, job)
        if _leads(found):
            _conduct(found, job)


def _introduce(found: Search, job: Job) -> None:
    """Tell a new study what it is; refuse an old one that is another."""
    if found.new:
        found.remember("signature", job.signature)
        return
    until = time.monotonic() + 10
    while found.get("signature") is None and time.monotonic() < until:
        time.sleep(0.1)
    check_same(found.get("signature") or {}, job)


def _lead(found: Search, patience: float) -> bool:
    """Whether this process leads the study from now on."""
    leader = found.get("leader")
    if leader is not None and processes.lives(leader, leader["heard"], patience):
        return False
    _say_leading(found)
    if leader is not None:
        time.sleep(0.5)  # two that were started together: the last to say so leads
    return _leads(found)


def _say_leading(found: Search) -> None:
    found.remember("leader", processes.me() | {"heard": time.time()})


def _leads(found: Search) -> bool:
    return processes.is_me(found.get("leader") or {})


def _help(found: Search, job: Job) -> None:
    """Run trials for the process that leads; lead on where it is dead."""
    until = time.monotonic() + job.settings.patience
    while not found.get("parent"):
        if time.monotonic() > until:
            raise ValueError(f"study {job.plan.name} is led by a process that has not begun")
        time.sleep(0.2)
    parent = found.get("parent")
    if not parent_run.exists(parent):
        raise ValueError(
            f"study {job.plan.name} records its runs in another MLflow store than "
            f"{store.without_password(job.uri)}; set tracking_uri to that one"
        )
    parent_run.point_to(parent)
    patience = _HURRY
    try:
        while True:
            done = trials.work(found, job, parent)
            if done and found.get("reported") == job.plan.trials:
                break
            if _lead(found, job.settings.patience) or done:
                break
            time.sleep(_POLL)
        patience = outage.PATIENCE
    finally:
        session.finish_uploads(patience)


def _conduct(found: Search, job: Job) -> None:
    """Lead: the trials, then the winner over seeds, then the report."""
    settings, plan = job.settings, job.plan
    params: dict[str, Any] = {
        "study": plan.name,
        "search": settings.search,
        "objective": settings.objective,
    }
    params |= {"trials": plan.trials, "pruner": plan.pruner, "model": _model(job)}
    params |= {"dataset": job.base.config.dataset, "epochs": plan.epochs}
    with (
        parent_run.session(job.base.config, plan.name, params, found.get("parent", "")) as parent,
        processes.Heartbeat(lambda: _say_leading(found), settings.patience / 6),
    ):
        found.remember("parent", parent)
        if found.new:
            baselines = list(space.baselines(plan.space).items())
            for name, values in baselines[: max(1, plan.trials // 2)]:
                found.enqueue(values, baseline=name)
        found.reap()
        parent_run.bury(parent, found.failed())
        others = processes.start_more(settings.workers - 1, job.words)
        try:
            while not trials.work(found, job, parent):
                time.sleep(_POLL)
            for other in others:
                other.wait(outage.PATIENCE + 60)
        finally:
            processes.stop(others)
        session.finish_uploads()
        parent_run.bury(parent, found.failed())
        winner.finish(found, job, parent)
        found.remember("reported", job.plan.trials)


def _model(job: Job) -> str:
    """The model, or those that are searched."""
    searched = [axis.choices for axis in job.plan.space.axes if axis.name == "model"]
    return "|".join(searched[0]) if searched else job.base.config.model
