"""Run the trials of one process: claim a point, train it without the test set, judge it."""

from __future__ import annotations

import math
import time

from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.experiment.result import TrainingResult
from imbalance_study.models import profiling
from imbalance_study.studies.search import axes, parent_run, processes
from imbalance_study.studies.search.job import Job
from imbalance_study.studies.search.optuna_study import ClaimedTrial, OptunaStudy
from imbalance_study.studies.search.settings import Objective
from imbalance_study.tracking import run as tracked
from imbalance_study.tracking import run_kind, run_names
from imbalance_study.tracking.session import StopRun
from imbalance_study.training.divergence import Diverged
from imbalance_study.training.procedure import EpochResult

# A trial needs its objectives only.
_WITHOUT_ANALYSES = {"analyses": "none", "system_metrics": "false", "figure_every": "0"}
_FIGURE_OPTIONS = ("gradcam_layers", "colormap")
_MAX_FAILURES = 3  # failures in a row that end a process
_LATENCY_SECONDS = 0.3

Judgement = tuple[tuple[float, ...], float]  # objectives, and the standard error of the first


def run_trials(study: OptunaStudy, job: Job, parent: str) -> bool:
    """Run trials until all of them have been claimed.

    Returns:
        Whether all have ended; else other processes still run the last ones.

    Raises:
        Exception: The error of a trial, where no trial has ended yet or several fail in a row.
    """
    failures = 0
    epoch_times: list[float] = []  # the time of the last epoch, of any trial of this process
    while True:
        study.fail_stale_trials()
        if study.count_ended() >= job.plan.trials:
            return True
        claim = study.claim_trial()
        if claim is None:
            return False
        try:
            with processes.Heartbeat(claim.send_heartbeat, job.settings.heartbeat_timeout / 6):
                _TrialRun(study, job, parent, claim, epoch_times).run()
            failures = 0
        except Exception as error:
            failures += 1
            study.fail(claim, retry=False)
            if failures == _MAX_FAILURES or not study.count_ended():
                raise
            print(f"trial {claim.number:3}  failed: {error}", flush=True)
        except BaseException:  # Ctrl-C, SIGTERM
            study.fail(claim, retry=True)
            raise
        finally:
            profiling.free_cached_memory()


class _TrialRun:
    """Training of one trial, with pruning after its epochs and its state in MLflow."""

    def __init__(
        self,
        study: OptunaStudy,
        job: Job,
        parent: str,
        claim: ClaimedTrial,
        epoch_times: list[float],
    ) -> None:
        self._study, self._job, self._parent, self._claim = study, job, parent, claim
        self._epoch_times = epoch_times
        self._goals = job.plan.goals
        self._judged: Judgement | None = None

    def run(self) -> None:
        """Train and judge the point, and print a line about it."""
        begun = time.perf_counter()
        resolved = self._study.propose(self._claim).resolved
        options = _searched_options(resolved, self._job)
        self._claim.set_attributes(options=options)
        outcome = self._train(resolved)
        settings = " ".join(f"{name}={value}" for name, value in options.items())
        seconds = time.perf_counter() - begun
        print(
            f"trial {self._claim.number:3}  {outcome:9}  {seconds:5.1f} s  {settings}", flush=True
        )

    def _train(self, resolved: Resolved) -> str:
        """Train, end the trial in the study, and return its outcome in a word."""
        try:
            tracked.train(
                _trial_configuration(resolved, self._claim),
                tracked.Recording(
                    {
                        parent_run.NAME: self._job.plan.name,
                        parent_run.TRIAL: str(self._claim.number),
                        parent_run.STATE: "running",
                        run_kind.KIND: run_kind.TRIAL,
                    },
                    self._parent,
                ),
                tracked.Hooks(self._after_epoch, self._at_end),
                show_progress=False,
                test=False,
                local=self._job.local,
            )
        except StopRun as stop:
            self._study.prune(self._claim)
            return "diverged" if isinstance(stop.__cause__, Diverged) else "pruned"
        assert self._judged is not None
        values, error = self._judged
        if math.isfinite(error):
            self._claim.set_attributes(standard_error=error)
        self._study.complete(self._claim, values)
        best = self._study.best_value()
        parent_run.log_best_value(self._parent, self._goals[0].name, best, self._claim.number)
        return " ".join(f"{value:.4g}" for value in values)

    def _after_epoch(self, epoch: EpochResult) -> None:
        """Report the objective to the pruner; stop the run where it is pruned."""
        now = time.perf_counter()
        if epoch.epoch == 0 and self._epoch_times:
            self._claim.set_attributes(gap=now - self._epoch_times[0])
        self._epoch_times[:] = [now]
        if epoch.epoch and len(self._goals) == 1:
            value = epoch.metrics[self._goals[0].name]
            if math.isfinite(value) and self._claim.should_prune(epoch.epoch, value):
                raise StopRun

    def _at_end(self, ended: TrainingResult | BaseException) -> None:
        """Judge a finished training, and record the state of the trial in its run."""
        if isinstance(ended, Diverged):
            parent_run.set_trial_state("pruned", problem=str(ended))
            raise StopRun from ended
        if isinstance(ended, StopRun):
            parent_run.set_trial_state("pruned")
        elif isinstance(ended, BaseException):
            parent_run.set_trial_state("failed")
        else:
            self._judged = judge(ended, self._goals)
            parent_run.set_trial_state("complete")


def _searched_options(resolved: Resolved, job: Job) -> dict[str, str]:
    """List the options that the search decides, with their resolved values."""
    config = resolved.config
    names = dict.fromkeys(axis.writes.partition(":")[0] for axis in job.plan.space.axes)
    values = {name: getattr(config, name) for name in names}
    if config.recipe == "none":  # remedies that are off by default are left out
        off = {name for name in axes.OFF if values.get(name) == getattr(type(config), name)}
        values = {name: value for name, value in values.items() if name not in off}
    return {name: str(value) for name, value in values.items()}


def _trial_configuration(resolved: Resolved, claim: ClaimedTrial) -> Resolved:
    """Resolve the configuration of a trial, without analyses and figures."""
    given = {
        name: getattr(resolved.config, name)
        for name, origin in resolved.origins.items()
        if origin == "given" and name not in _FIGURE_OPTIONS
    }
    name = f"trial {claim.number}, {run_names.data_name(resolved.config)}"
    return resolve(given | _WITHOUT_ANALYSES | {"run_name": name})


def judge(result: TrainingResult, goals: tuple[Objective, ...]) -> Judgement:
    """Compute the objectives of a finished trial, and the standard error of the first, else NaN.

    Raises:
        ValueError: The first objective is not finite.
    """
    name = goals[0].name
    value = result.history[result.fit.best_epoch - 1].metrics[name]
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, which ranks no trial; choose another objective")
    error = math.nan
    if name == "val/balanced_accuracy":
        error = result.metrics["selected_val/balanced_accuracy_standard_error"]
    elif name == "val/accuracy":
        error = math.sqrt(value * (1 - value) / len(result.data.split.val))
    return (value, *(_cost(goal.name, result) for goal in goals[1:])), error


def _cost(name: str, result: TrainingResult) -> float:
    """Measure a cost of the trained model."""
    size, device = result.data.image_size, result.setup.device_setup.device
    if name == "macs":
        return float(profiling.macs(result.model, size))
    times = profiling.latency(
        result.model, size, device, batch_sizes=(1,), seconds=_LATENCY_SECONDS
    )
    return times[1].median_ms
