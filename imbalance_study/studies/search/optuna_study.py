"""Optuna: where trials are kept, which comes next, when one is given up. Nothing else imports it.

A trial belongs to the process that claimed it and says so by its number, host and a heartbeat; one
whose process is dead is FAIL, and its point is tried again. Trials are counted over all processes.
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

from imbalance_study.studies.search import processes, records, space
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


class Plan(NamedTuple):
    """What a search is told."""

    name: str
    space: space.Space
    goals: tuple[Objective, ...]
    trials: int
    pruner: str = "none"
    epochs: int = 1
    seed: int = 0
    patience: float = 60.0


def open_storage(place: str, patience: float) -> optuna.storages.BaseStorage:
    """The storage at a database URL or in a journal file; ``memory`` is that of this process.

    Raises:
        ValueError: It cannot be reached or written; one line.
    """
    if place == "memory":
        return optuna.storages.InMemoryStorage()
    try:
        if "://" not in place:
            path = Path(place).expanduser()
            path.parent.mkdir(parents=True, exist_ok=True)
            backend = JournalFileBackend(str(path))
            return optuna.storages.JournalStorage(backend)
        options: dict[str, Any] = {"connect_args": {}}
        if place.startswith("postgresql"):
            options |= {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}
        return optuna.storages.RDBStorage(
            place,
            engine_kwargs=options,
            heartbeat_interval=max(1, int(patience / 6)),
            grace_period=max(2, math.ceil(patience)),
        )
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"the storage {_shown(place)} cannot be opened ({reason}); storage is a file that can "
            "be written, or a database URL such as postgresql+psycopg2://user@host/name"
        ) from error


def _shown(place: str) -> str:
    """An address without its password."""
    scheme, marker, rest = place.partition("://")
    return f"{scheme}{marker}{rest.rpartition('@')[2]}" if marker else place


class Search:
    """One study in a storage.

    Attributes:
        new: Whether this process made it.
    """

    def __init__(self, storage: optuna.storages.BaseStorage, plan: Plan) -> None:
        self.plan = plan
        self._storage = storage
        self._beats = isinstance(storage, optuna.storages.RDBStorage)
        options: dict[str, Any] = {
            "storage": storage,
            "study_name": plan.name,
            "pruner": _pruner(plan),
        }
        self.new = True
        directions: list[Any] = ["maximize" if goal.maximize else "minimize" for goal in plan.goals]
        try:
            self._study = optuna.create_study(directions=directions, **options)
        except optuna.exceptions.DuplicatedStudyError:
            self.new = False
            self._study = optuna.load_study(**options)
        # A second process that drew as the first one does would try the same points.
        seed = plan.seed + (0 if self.new else processes.me()["pid"])
        self._study.sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)

    def get(self, name: str, default: Any = None) -> Any:
        """What the study was told to remember."""
        return self._study.user_attrs.get(name, default)

    def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value with the study, for all its processes."""
        self._study.set_user_attr(name, value)

    def enqueue(self, values: Mapping[str, Any], **notes: Any) -> None:
        """Have a point tried before the search goes on; dimensions that are missing are drawn."""
        self._study.enqueue_trial(dict(values), user_attrs=notes)

    def ended(self) -> int:
        """Trials that are complete or pruned, of all processes."""
        return len(self._study.get_trials(deepcopy=False, states=_ENDED))

    def claim(self) -> Claim | None:
        """The next trial, or None while enough of them are ended or under way."""
        states = (*_ENDED, TrialState.RUNNING)
        if len(self._study.get_trials(deepcopy=False, states=states)) >= self.plan.trials:
            return None
        trial = self._study.ask()
        trial.set_user_attr("process", processes.me())
        before = [
            other
            for other in self._study.get_trials(deepcopy=False, states=states)
            if other.number < trial.number or other.state in _ENDED
        ]
        if len(before) >= self.plan.trials:  # two processes took the last one
            self._fail(trial._trial_id)
            self._again(self._study.trials[trial.number], killed=False)
            return None
        return Claim(trial, self._beat_of(trial._trial_id))

    def _beat_of(self, trial_id: int) -> Callable[[], None]:
        if isinstance(self._storage, optuna.storages.RDBStorage):
            storage = self._storage
            return lambda: storage.record_heartbeat(trial_id)
        return lambda: self._storage.set_trial_user_attr(trial_id, "heard", time.time())

    def propose(self, claim: Claim) -> space.Proposal:
        """The point of a claimed trial."""
        return space.propose(self.plan.space, lambda axis: _suggest(claim.trial, axis))

    def complete(self, claim: Claim, values: tuple[float, ...]) -> None:
        """End a trial with its values."""
        self._study.tell(claim.trial, list(values))

    def prune(self, claim: Claim) -> None:
        """End a trial that was given up early."""
        self._study.tell(claim.trial, state=TrialState.PRUNED)

    def fail(self, claim: Claim, *, again: bool) -> None:
        """End a trial that was broken off; `again` has its point tried once more."""
        if self._fail(claim.trial._trial_id) and again:
            self._again(self._study.trials[claim.number], killed=False)

    def reap(self) -> list[int]:
        """End the trials whose process is dead and have their points tried again.

        Returns:
            The numbers of those that this process ended.
        """
        found = []
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        stale = set()
        if isinstance(self._storage, optuna.storages.RDBStorage):
            stale = set(self._storage._get_stale_trial_ids(self._study._study_id))
        for trial in running:
            if self._is_dead(trial, trial._trial_id in stale) and self._fail(trial._trial_id):
                self._again(trial, killed=True)
                found.append(trial.number)
        return found

    def _is_dead(self, trial: FrozenTrial, stale: bool) -> bool:
        assert trial.datetime_start is not None
        now = datetime.datetime.now()
        age = (now - trial.datetime_start).total_seconds()
        process = trial.user_attrs.get("process")
        if process is None:  # killed on its first milliseconds, or about to say who it is
            return age > self.plan.patience
        if self._beats and processes.lives_here(process) is None:
            return stale
        heard = trial.user_attrs.get("heard", trial.datetime_start.timestamp())
        return not processes.lives(process, heard, self.plan.patience)

    def _fail(self, trial_id: int) -> bool:
        """Whether this process was the one to end the trial."""
        try:
            return self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except (optuna.exceptions.UpdateFinishedTrialError, RuntimeError):
            return False

    def _again(self, trial: FrozenTrial, *, killed: bool) -> None:
        tried = int(trial.user_attrs.get("tried", 0)) + killed
        values = trial.params or trial.system_attrs.get("fixed_params", {})
        if values and tried <= _RETRIES:
            notes = {"again": trial.number, "tried": tried}
            if "baseline" in trial.user_attrs:
                notes["baseline"] = trial.user_attrs["baseline"]
            self.enqueue(values, **notes)

    def records(self) -> list[records.Trial]:
        """All trials, in their order."""
        return [_record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def failed(self) -> list[int]:
        """The numbers of trials that were broken off, here or elsewhere."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return [trial.number for trial in trials]

    def best(self) -> float:
        """The best value of the first objective so far."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        choose = max if self.plan.goals[0].maximize else min
        return float(choose(trial.values[0] for trial in done))

    def importances(self) -> dict[str, float]:
        """How much of the variance of the first objective each dimension explains (fANOVA).

        Of the dimensions that all complete trials have; empty with fewer than four trials or
        without variance.
        """
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < 4 or len({trial.values[0] for trial in done}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        target = None if len(self.plan.goals) == 1 else (lambda trial: trial.values[0])
        with contextlib.suppress(RuntimeError, ValueError):
            return optuna.importance.get_param_importances(
                self._study, evaluator=evaluator, target=target
            )
        return {}


class Claim:
    """A trial that this process runs."""

    def __init__(self, trial: optuna.Trial, beat: Callable[[], None]) -> None:
        self.trial, self.beat = trial, beat
        self.number = trial.number

    def note(self, **notes: Any) -> None:
        """Keep JSON values with the trial."""
        for name, value in notes.items():
            self.trial.set_user_attr(name, value)

    def is_hopeless(self, epoch: int, value: float) -> bool:
        """Report the value after an epoch; whether the pruner gives the trial up.

        Never a baseline: it is what the others are compared with.
        """
        self.trial.report(value, epoch)
        return "baseline" not in self.trial.user_attrs and self.trial.should_prune()


def _suggest(trial: optuna.Trial, axis: space.Axis) -> Any:
    if axis.choices:
        return trial.suggest_categorical(axis.name, axis.choices)
    if axis.whole:
        return trial.suggest_int(axis.name, int(axis.low), int(axis.high))
    return trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)


def _record(trial: FrozenTrial) -> records.Trial:
    notes = trial.user_attrs
    seconds = trial.duration.total_seconds() if trial.duration is not None else 0.0
    return records.Trial(
        trial.number,
        _STATES[trial.state],
        tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else (),
        dict(trial.params),
        dict(trial.intermediate_values),
        notes.get("options", notes.get("knobs", {})),  # knobs: in studies of an older version
        notes.get("standard_error", math.nan),
        seconds,
        notes.get("baseline", ""),
        notes.get("gap", math.nan),
    )


def _pruner(plan: Plan) -> optuna.pruners.BasePruner:
    if plan.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=1, max_resource=max(plan.epochs, 1), reduction_factor=3
        )
    if plan.pruner == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    return optuna.pruners.NopPruner()
