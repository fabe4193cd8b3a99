"""Keep trials in an Optuna study: claim, sample, prune and end them. Only here is Optuna imported.

A trial belongs to the process that claimed it, which writes its identity and a heartbeat into the
trial. A trial of a dead process ends as FAIL, and its point is queued again. Trials are counted
over all processes.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from imbalance_study.studies.search import axes, processes, records, space
from imbalance_study.studies.search.settings import Objective

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
optuna.logging.set_verbosity(optuna.logging.ERROR)

_RETRIES = 3  # of a point whose process was killed
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
# Attributes of a trial in the storage.
_PROCESS, _HEARTBEAT, _TRIED = "process", "heard", "tried"


class StudyPlan(NamedTuple):
    """Name, space, objectives and length of a study."""

    name: str
    space: space.Space
    goals: tuple[Objective, ...]
    trials: int
    pruner: str = "none"
    epochs: int = 1
    seed: int = 0
    patience: float = 60.0  # seconds without a heartbeat, after which a process counts as dead


def open_storage(address: str, patience: float) -> optuna.storages.BaseStorage:
    """Open the storage at a database URL or in a journal file; ``memory`` is for this process only.

    Raises:
        ValueError: It cannot be reached or written; one line.
    """
    if address == "memory":
        return optuna.storages.InMemoryStorage()
    try:
        if "://" not in address:
            path = Path(address).expanduser()
            path.parent.mkdir(parents=True, exist_ok=True)
            backend = JournalFileBackend(str(path))
            return optuna.storages.JournalStorage(backend)
        options: dict[str, Any] = {"connect_args": {}}
        if address.startswith("postgresql"):
            options |= {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}
        return optuna.storages.RDBStorage(
            address,
            engine_kwargs=options,
            heartbeat_interval=max(1, int(patience / 6)),
            grace_period=max(2, math.ceil(patience)),
        )
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"the storage {_without_password(address)} cannot be opened ({reason}); storage must "
            "be a writable file, or a database URL such as postgresql+psycopg2://user@host/name"
        ) from error


def _without_password(address: str) -> str:
    scheme, marker, rest = address.partition("://")
    return f"{scheme}{marker}{rest.rpartition('@')[2]}" if marker else address


class OptunaStudy:
    """One study in a storage.

    Args:
        storage: Of `open_storage`.
        plan: The study; it is made where the storage does not have it.
        clock: Seconds since the epoch.

    Attributes:
        is_new: Whether this process made the study.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        plan: StudyPlan,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.plan = plan
        self._storage, self._clock = storage, clock
        options: dict[str, Any] = {
            "storage": storage,
            "study_name": plan.name,
            "pruner": _pruner(plan),
        }
        self.is_new = True
        directions: list[Any] = ["maximize" if goal.maximize else "minimize" for goal in plan.goals]
        try:
            self._study = optuna.create_study(directions=directions, **options)
        except optuna.exceptions.DuplicatedStudyError:
            self.is_new = False
            self._study = optuna.load_study(**options)
        # With the seed of the first process, a second one would try the same points.
        seed = plan.seed + (0 if self.is_new else processes.process_id())
        self._study.sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Read an attribute of the study."""
        return self._study.user_attrs.get(name, default)

    def set_attribute(self, name: str, value: Any) -> None:
        """Store a JSON value with the study, for all its processes."""
        self._study.set_user_attr(name, value)

    def enqueue(self, values: Mapping[str, Any], **attributes: Any) -> None:
        """Queue a point before the search goes on; missing dimensions are sampled."""
        self._study.enqueue_trial(dict(values), user_attrs=attributes)

    def count_ended(self) -> int:
        """Count the trials that are complete or pruned, over all processes."""
        return len(self._study.get_trials(deepcopy=False, states=_ENDED))

    def claim_trial(self) -> ClaimedTrial | None:
        """Claim the next trial; None while enough of them are ended or running."""
        states = (*_ENDED, TrialState.RUNNING)
        if len(self._study.get_trials(deepcopy=False, states=states)) >= self.plan.trials:
            return None
        trial = self._study.ask()
        trial.set_user_attr(_PROCESS, processes.process_identity())
        earlier = [
            other
            for other in self._study.get_trials(deepcopy=False, states=states)
            if other.number < trial.number or other.state in _ENDED
        ]
        if len(earlier) >= self.plan.trials:  # two processes claimed the last one
            self._mark_failed(trial._trial_id)
            self._requeue(self._study.trials[trial.number], killed=False)
            return None
        return ClaimedTrial(trial, self._heartbeat(trial._trial_id))

    def _heartbeat(self, trial_id: int) -> Callable[[], None]:
        """Make the function that writes a heartbeat of a trial."""
        if isinstance(self._storage, optuna.storages.RDBStorage):
            storage = self._storage
            return lambda: storage.record_heartbeat(trial_id)
        return lambda: self._storage.set_trial_user_attr(trial_id, _HEARTBEAT, self._clock())

    def propose(self, claim: ClaimedTrial) -> space.Proposal:
        """Sample the point of a claimed trial."""
        return space.propose(self.plan.space, lambda axis: _suggest(claim.trial, axis))

    def complete(self, claim: ClaimedTrial, values: tuple[float, ...]) -> None:
        """End a trial with its values."""
        self._study.tell(claim.trial, list(values))

    def prune(self, claim: ClaimedTrial) -> None:
        """End a trial as pruned."""
        self._study.tell(claim.trial, state=TrialState.PRUNED)

    def fail(self, claim: ClaimedTrial, *, retry: bool) -> None:
        """End a trial as failed; `retry` queues its point again."""
        if self._mark_failed(claim.trial._trial_id) and retry:
            self._requeue(self._study.trials[claim.number], killed=False)

    def fail_stale_trials(self) -> list[int]:
        """Fail the trials whose process is dead, and queue their points again.

        Returns:
            The numbers of the trials that this process ended.
        """
        ended = []
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        stale = None  # only a database tells
        if isinstance(self._storage, optuna.storages.RDBStorage):
            stale = set(self._storage._get_stale_trial_ids(self._study._study_id))
        for trial in running:
            if self._is_stale(trial, stale) and self._mark_failed(trial._trial_id):
                self._requeue(trial, killed=True)
                ended.append(trial.number)
        return ended

    def _is_stale(self, trial: FrozenTrial, stale: set[int] | None) -> bool:
        """Whether the process of a trial is dead."""
        assert trial.datetime_start is not None
        process = trial.user_attrs.get(_PROCESS)
        if process is None:  # killed in its first milliseconds, or not yet registered
            now = datetime.datetime.fromtimestamp(self._clock())
            return (now - trial.datetime_start).total_seconds() > self.plan.patience
        alive = processes.is_alive_here(process)
        if alive is not None:
            return not alive
        if stale is not None:
            return trial._trial_id in stale
        heartbeat = trial.user_attrs.get(_HEARTBEAT, trial.datetime_start.timestamp())
        return bool(self._clock() - heartbeat >= self.plan.patience)

    def _mark_failed(self, trial_id: int) -> bool:
        """Mark a trial as failed; False where another process ended it before."""
        try:
            return self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except (optuna.exceptions.UpdateFinishedTrialError, RuntimeError):
            return False

    def _requeue(self, trial: FrozenTrial, *, killed: bool) -> None:
        """Queue the point of a trial again, unless it killed its process too often."""
        tried = int(trial.user_attrs.get(_TRIED, 0)) + killed
        values = trial.params or trial.system_attrs.get("fixed_params", {})
        if values and tried <= _RETRIES:
            attributes = {"again": trial.number, _TRIED: tried}
            if "baseline" in trial.user_attrs:
                attributes["baseline"] = trial.user_attrs["baseline"]
            self.enqueue(values, **attributes)

    def records(self) -> list[records.Trial]:
        """List all trials, in order."""
        return [_record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def failed_trials(self) -> list[int]:
        """List the numbers of the trials that failed, in any process."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return [trial.number for trial in trials]

    def best_value(self) -> float:
        """Find the best value of the first objective so far."""
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        choose = max if self.plan.goals[0].maximize else min
        return float(choose(trial.values[0] for trial in complete))

    def importances(self) -> dict[str, float]:
        """Estimate each dimension's share of the first objective's variance (fANOVA).

        It covers the dimensions that all complete trials have, and is empty with fewer than four
        trials or without variance.
        """
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < 4 or len({trial.values[0] for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        target = None if len(self.plan.goals) == 1 else (lambda trial: trial.values[0])
        with contextlib.suppress(RuntimeError, ValueError):
            return optuna.importance.get_param_importances(
                self._study, evaluator=evaluator, target=target
            )
        return {}


class ClaimedTrial:
    """A trial that this process runs."""

    def __init__(self, trial: optuna.Trial, send_heartbeat: Callable[[], None]) -> None:
        self.trial, self.send_heartbeat = trial, send_heartbeat
        self.number = trial.number

    def set_attributes(self, **attributes: Any) -> None:
        """Store JSON values with the trial."""
        for name, value in attributes.items():
            self.trial.set_user_attr(name, value)

    def should_prune(self, epoch: int, value: float) -> bool:
        """Report the value after an epoch; True where the pruner gives the trial up.

        A baseline is never pruned: the other trials are compared with it.
        """
        self.trial.report(value, epoch)
        return "baseline" not in self.trial.user_attrs and self.trial.should_prune()


def _suggest(trial: optuna.Trial, axis: axes.Axis) -> Any:
    if axis.choices:
        return trial.suggest_categorical(axis.name, axis.choices)
    if axis.whole:
        return trial.suggest_int(axis.name, int(axis.low), int(axis.high))
    return trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)


def _record(trial: FrozenTrial) -> records.Trial:
    attributes = trial.user_attrs
    seconds = trial.duration.total_seconds() if trial.duration is not None else 0.0
    return records.Trial(
        trial.number,
        _STATES[trial.state],
        tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else (),
        dict(trial.params),
        dict(trial.intermediate_values),
        attributes.get("options", attributes.get("knobs", {})),  # knobs: in older studies
        attributes.get("standard_error", math.nan),
        seconds,
        attributes.get("baseline", ""),
        attributes.get("gap", math.nan),
    )


def _pruner(plan: StudyPlan) -> optuna.pruners.BasePruner:
    if plan.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=max(plan.epochs, 1), reduction_factor=3
        )
    if plan.pruner == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    return optuna.pruners.NopPruner()
