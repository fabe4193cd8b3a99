"""Run a hyperparameter search: trials, then the best settings over several seeds, then the report.

The first process leads: it holds the study's run in MLflow, trains the winner and writes the
report. Other processes that are started on the same study run trials; one of them takes over when
the leading process is dead. Started again, the same command continues the study.
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
from imbalance_study.studies.search.job import Job, check_same, prepare_job
from imbalance_study.studies.search.optuna_study import OptunaStudy
from imbalance_study.studies.search.settings import StudySettings
from imbalance_study.tracking import fetch, outage, session, store

_POLL = 1.0  # seconds between two looks at the trials of other processes
_SHORT_PATIENCE = 5.0  # seconds for the last uploads, after a signal or an error


def run_search(settings: StudySettings, given: Mapping[str, str]) -> None:
    """Run a study, or join a running one.

    Args:
        settings: Settings of the study.
        given: Options of its runs, as typed; `model` may name several, separated by ``|``.

    Raises:
        ValueError: A mistake in the settings or the options, the storage cannot be reached, or the
            study exists with another search space, objective or data.
    """
    weights, address = given.get("weights", "none"), given.get("tracking_uri", "auto")
    images = LocalFiles(data_cache=DataCache())
    with fetch.local_weights([weights], address, images) as local:
        job = prepare_job(settings, given, local)
        storage = optuna_study.open_storage(job.storage, settings.heartbeat_timeout)
        study = OptunaStudy(storage, job.plan)
        _register(study, job)
        if not _try_to_lead(study, settings.heartbeat_timeout):
            _assist(study, job)
        if _is_leader(study):
            _lead(study, job)


def _register(study: OptunaStudy, job: Job) -> None:
    """Store the signature of a new study; refuse an old study with another one."""
    if study.is_new:
        study.set_attribute("signature", job.signature)
        return
    until = time.monotonic() + 10
    while study.attribute("signature") is None and time.monotonic() < until:
        time.sleep(0.1)
    check_same(study.attribute("signature") or {}, job)


def _try_to_lead(study: OptunaStudy, patience: float) -> bool:
    """Take the lead where no living process has it; True where this process leads from now on."""
    leader = study.attribute("leader")
    if leader is not None and processes.is_alive(leader, leader["heard"], patience):
        return False
    _announce_leader(study)
    if leader is not None:
        time.sleep(0.5)  # of two processes that start together, the last to announce itself leads
    return _is_leader(study)


def _announce_leader(study: OptunaStudy) -> None:
    study.set_attribute("leader", processes.process_identity() | {"heard": time.time()})


def _is_leader(study: OptunaStudy) -> bool:
    return processes.is_this_process(study.attribute("leader") or {})


def _assist(study: OptunaStudy, job: Job) -> None:
    """Run trials for the leading process; take over where it is dead."""
    parent = _wait_for_parent(study, job)
    if not parent_run.run_exists(parent):
        raise ValueError(
            f"study {job.plan.name} records its runs in another MLflow store than "
            f"{store.without_password(job.tracking_uri)}; set tracking_uri to that store"
        )
    parent_run.redirect_project_run(parent)
    patience = _SHORT_PATIENCE
    try:
        while True:
            complete = trials.run_trials(study, job, parent)
            if complete and study.attribute("reported") == job.plan.trials:
                break
            if _try_to_lead(study, job.settings.heartbeat_timeout) or complete:
                break
            time.sleep(_POLL)
        patience = outage.PATIENCE
    finally:
        session.finish_uploads(patience)


def _wait_for_parent(study: OptunaStudy, job: Job) -> str:
    """Wait until the leading process has started the study's run; return its id."""
    until = time.monotonic() + job.settings.heartbeat_timeout
    while not study.attribute("parent"):
        if time.monotonic() > until:
            raise ValueError(
                f"the process that leads study {job.plan.name} has not started its run"
            )
        time.sleep(0.2)
    return str(study.attribute("parent"))


def _lead(study: OptunaStudy, job: Job) -> None:
    """Run the trials, then the winner over seeds, then the report."""
    plan, patience = job.plan, job.settings.heartbeat_timeout
    before = study.attribute("parent", "")
    with (
        parent_run.study_run(job.base.config, plan.name, _params(job), before) as parent,
        processes.Heartbeat(lambda: _announce_leader(study), patience / 6),
    ):
        study.set_attribute("parent", parent)
        if study.is_new:
            baselines = list(space.baselines(plan.space).items())
            for name, values in baselines[: max(1, plan.trials // 2)]:
                study.enqueue(values, baseline=name)
        study.fail_stale_trials()
        parent_run.fail_orphaned_runs(parent, study.failed_trials())
        workers = processes.start_workers(job.settings.parallel - 1, job.worker_arguments)
        try:
            while not trials.run_trials(study, job, parent):
                time.sleep(_POLL)
            for worker in workers:
                worker.wait(outage.PATIENCE + 60)
        finally:
            processes.stop_workers(workers)
        session.finish_uploads()
        parent_run.fail_orphaned_runs(parent, study.failed_trials())
        winner.finish_study(study, job, parent)
        study.set_attribute("reported", job.plan.trials)


def _params(job: Job) -> dict[str, Any]:
    """Make the params of the study's run."""
    plan = job.plan
    searched = [axis.choices for axis in plan.space.axes if axis.name == "model"]
    return {
        "study": plan.name,
        "search": job.settings.search,
        "objective": job.settings.objective,
        "trials": plan.trials,
        "pruner": plan.pruner,
        "model": "|".join(searched[0]) if searched else job.base.config.model,
        "dataset": job.base.config.dataset,
        "epochs": plan.epochs,
    }
