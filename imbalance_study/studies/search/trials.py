"""The trials of one process: claimed, trained without the test set, judgements."""

from __future__ import annotations

import math
import time

from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.experiment.result import TrainingResult
from imbalance_study.models import profiling
from imbalance_study.studies.search import parent_run, processes, space
from imbalance_study.studies.search.job import Job
from imbalance_study.studies.search.optuna_study import Claim, Search
from imbalance_study.studies.search.settings import Objective
from imbalance_study.tracking import run as tracked
from imbalance_study.training.divergence import Diverged
from imbalance_study.training.procedure import EpochResult

# A trial is judgements, not looked at.
_PLAIN = {"analyses": "none", "system_metrics": "false", "figure_every": "0"}
_DECORATION = ("gradcam_layers", "colormap")
_IN_A_ROW = 3  # failures of one process that end it
_LATENCY_SECONDS = 0.3


def work(found: Search, job: Job, parent: str) -> bool:
    """Run trials while there are some to run.

    Returns:
        Whether the study has all of them; otherwise other processes still run the last ones.

    Raises:
        Exception: That of a trial, where none has ended yet or several failed one after the other.
    """
    failures = 0
    heard: list[float] = []
    while True:
        found.reap()
        if found.ended() >= job.plan.trials:
            return True
        claim = found.claim()
        if claim is None:
            return False
        try:
            with processes.Heartbeat(claim.beat, job.settings.patience / 6):
                _carry_out(found, job, parent, claim, heard)
            failures = 0
        except Exception as error:
            failures += 1
            found.fail(claim, again=False)
            if failures == _IN_A_ROW or not found.ended():
                raise
            print(f"trial {claim.number:3}  failed: {error}", flush=True)
        except BaseException:  # Ctrl-C, SIGTERM
            found.fail(claim, again=True)
            raise


def _carry_out(found: Search, job: Job, parent: str, claim: Claim, heard: list[float]) -> None:
    """Train and judge one point; `heard` holds when an epoch was last heard of, of any trial."""
    goals, begun = job.plan.goals, time.perf_counter()
    resolved = found.propose(claim).resolved
    shown = _options(resolved, job)
    claim.note(options=shown)

    def look(epoch: EpochResult) -> None:
        now = time.perf_counter()
        if epoch.epoch == 0 and heard:
            claim.note(gap=now - heard[0])
        heard[:] = [now]
        if epoch.epoch and len(goals) == 1:
            value = epoch.metrics[goals[0].name]
            if math.isfinite(value) and claim.is_hopeless(epoch.epoch, value):
                raise tracked.StopRun

    judgements: list[tuple[tuple[float, ...], float]] = []

    def close(ended: TrainingResult | BaseException) -> None:
        if isinstance(ended, Diverged):
            parent_run.mark("pruned", problem=str(ended))
            raise tracked.StopRun from ended
        if isinstance(ended, tracked.StopRun):
            parent_run.mark("pruned")
        elif isinstance(ended, BaseException):
            parent_run.mark("failed")
        else:
            judgements.append(judge(ended, goals))
            parent_run.mark("complete")

    try:
        tracked.train(
            _plain(resolved, claim),
            tags={
                parent_run.NAME: job.plan.name,
                parent_run.TRIAL: str(claim.number),
                parent_run.STATE: "running",
            },
            parent=parent,
            on_epoch=look,
            on_end=close,
            show_progress=False,
            test=False,
            local=job.local,
        )
    except tracked.StopRun as stop:
        found.prune(claim)
        outcome = "diverged" if isinstance(stop.__cause__, Diverged) else "pruned"
    else:
        ((values, error),) = judgements
        if math.isfinite(error):
            claim.note(standard_error=error)
        found.complete(claim, values)
        parent_run.best_so_far(parent, goals[0].name, found.best(), claim.number)
        outcome = " ".join(f"{value:.4g}" for value in values)
    settings = " ".join(f"{name}={value}" for name, value in shown.items())
    seconds = time.perf_counter() - begun
    print(f"trial {claim.number:3}  {outcome:9}  {seconds:5.1f} s  {settings}", flush=True)


def _options(resolved: Resolved, job: Job) -> dict[str, str]:
    """The options that the search decides, as they were resolved."""
    config = resolved.config
    names = dict.fromkeys(axis.writes.partition(":")[0] for axis in job.plan.space.axes)
    values = {name: getattr(config, name) for name in names}
    if config.recipe == "none":  # what is off need not be said
        off = {name for name in space.OFF if values.get(name) == getattr(type(config), name)}
        values = {name: value for name, value in values.items() if name not in off}
    return {name: str(value) for name, value in values.items()}


def _plain(resolved: Resolved, claim: Claim) -> Resolved:
    """A trial's configuration, without what is looked at afterwards."""
    given = {
        name: getattr(resolved.config, name)
        for name, origin in resolved.origins.items()
        if origin == "given" and name not in _DECORATION
    }
    return resolve(given | _PLAIN | {"run_name": f"trial {claim.number}"})


def judge(result: TrainingResult, goals: tuple[Objective, ...]) -> tuple[tuple[float, ...], float]:
    """The objectives of a finished trial, and the standard error of the first (NaN: unknown)."""
    name = goals[0].name
    value = result.history[result.fit.best_epoch - 1].metrics[name]
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value} and judges nothing; choose another objective")
    error = math.nan
    if name == "val/balanced_accuracy":
        error = result.metrics["selected_val/balanced_accuracy_standard_error"]
    elif name == "val/accuracy":
        error = math.sqrt(value * (1 - value) / len(result.data.split.val))
    return (value, *(_cost(goal.name, result) for goal in goals[1:])), error


def _cost(name: str, result: TrainingResult) -> float:
    size, device = result.data.image_size, result.setup.device_setup.device
    if name == "macs":
        return float(profiling.macs(result.model, size))
    times = profiling.latency(
        result.model, size, device, batch_sizes=(1,), seconds=_LATENCY_SECONDS
    )
    return times[1].median_ms
