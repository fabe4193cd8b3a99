"""One tracked run: a training whose start, epochs and result are recorded in MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow

from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import Config
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.reporter import OnEpoch
from imbalance_study.experiment.result import RunResult, TrainingResult
from imbalance_study.experiment.resume import earlier_epochs
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.device import resolve_device
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.tracking import description, fetch, run_folder, store
from imbalance_study.tracking.active import Session
from imbalance_study.tracking.recorder import Recorder
from imbalance_study.tracking.session import session
from imbalance_study.training import checkpointing, distributed
from imbalance_study.training.procedure import EpochResult


@dataclasses.dataclass(frozen=True)
class Recording:
    """Place of a run in MLflow, and the run that it continues."""

    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)  # set from the start on
    parent: str = ""  # id of the parent run, if no run is active in this process
    run_id: str = ""  # of the interrupted run that goes on, instead of a new one
    state: dict[str, Any] | None = None  # content of the checkpoint that it goes on from
    started: float | None = None  # `time.perf_counter` at the start of the program, if recorded


def _ignore(result: object) -> None:
    """Do nothing."""


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Functions that a training calls; an exception from one of them ends the run."""

    on_epoch: OnEpoch = _ignore  # with each epoch, after it is recorded
    # While the run can still be written to: with its result, or the exception that ends it.
    on_end: Callable[[TrainingResult | BaseException], None] = _ignore


def train(
    resolved: Resolved,
    recording: Recording = Recording(),
    hooks: Hooks = Hooks(),
    *,
    show_progress: bool = True,
    brief: bool = False,
    test: bool = True,
    local: LocalFiles | None = None,
) -> TrainingResult:
    """Run one configuration and record it in MLflow.

    Inside ``mlflow run`` (MLFLOW_RUN_ID is set) that run is joined, else one is started: a child if
    another run is active. Of the processes of ``torchrun`` the first records the run; the others
    exit when the model is trained.

    Args:
        resolved: The configuration, with the origin of each value.
        recording: Place of the run in MLflow.
        hooks: Functions to call.
        show_progress: Show progress and, at the end, results and links.
        brief: Leave out slow results that look the same for every seed: the figures of data and
            training, and the model in the form that serves. Metrics, tables, checkpoints and the
            options of `analyses` are recorded in any case.
        test: Evaluate on the test set; without it, as in a search, no model is kept.
        local: Downloaded weights, and images in memory, that runs share.

    Returns:
        The result; a `RunResult` unless `test` is off.

    Raises:
        ValueError: The configuration, the data or the store is wrong.
    """
    config = resolved.config
    bind(config)
    with contextlib.ExitStack() as stack:
        weights = fetch.local_weights([config.weights], config.tracking_uri, local)
        local = stack.enter_context(weights)
        group = stack.enter_context(distributed.joined(resolve_device(config).device.type))
        if group.rank:
            experiment.assist(config, recording.state, local)
            raise SystemExit(0)
        active = session(config, recording.tags, parent=recording.parent, run_id=recording.run_id)
        stopped = stack.enter_context(_resume_command(config))
        run = stack.enter_context(active)
        stack.enter_context(distributed.report_peer_failure())
        uri = store.without_password(mlflow.get_tracking_uri())
        if show_progress:
            for line in description.watch(uri, run):
                print(line, file=sys.stderr, flush=True)
        training = _RecordedTraining(resolved, recording, hooks, run, local)
        stopped.keeper = training.keeper
        result = training.run(show_progress=show_progress, brief=brief, test=test)
        if show_progress and isinstance(result, RunResult):
            print(description.terminal_summary(result, uri, run), flush=True)
    if training.keeper is not None:
        training.keeper.discard()
    return result


class _Stopped:
    """The run that is being stopped, for the words about it."""

    keeper: checkpointing.Keeper | None = None


@contextlib.contextmanager
def _resume_command(config: Config) -> Iterator[_Stopped]:
    """After a signal to stop, print the command that goes on with the run, if one can."""
    stopped = _Stopped()
    try:
        yield stopped
    except (KeyboardInterrupt, SystemExit):
        keeper = stopped.keeper
        if keeper is not None and any(keeper.folder.glob("[!.]*")):
            words = ["imbalance-study", "resume", keeper.folder.parent.name]
            if config.cache_dir != "auto":
                words += ["--cache_dir", config.cache_dir]
            print(f"Stopped; go on with: {shlex.join(words)}", file=sys.stderr, flush=True)
        raise


class _RecordedTraining:
    """The training of an active run."""

    def __init__(
        self,
        resolved: Resolved,
        recording: Recording,
        hooks: Hooks,
        run: Session,
        local: LocalFiles,
    ) -> None:
        self._config, self._hooks, self._local = resolved.config, hooks, local
        self._recorder = Recorder(resolved, recording.started)
        # A child of a comparison or study that is interrupted is trained again instead.
        self.keeper = None if run.child else _keeper(run.info.run_id, resolved)
        self._checkpoints = experiment.Checkpoints(self.keeper, recording.state)
        self._earlier_epochs = earlier_epochs(recording.state)

    def run(self, *, show_progress: bool, brief: bool, test: bool) -> TrainingResult:
        """Train, and record each epoch and the result."""
        with _output_folder(self._config) as folder:
            self._recorder.record_params()
            for epoch in self._earlier_epochs:  # a power cut may have taken their records
                self._recorder.on_epoch(epoch)
            try:
                result = self._train(folder, show_progress, brief, test)
                self._recorder.record_result(result, folder, keep_model=not brief)
                self._hooks.on_end(result)
            except BaseException as error:
                self._hooks.on_end(error)
                raise
        return result

    def _train(self, folder: Path, show_progress: bool, brief: bool, test: bool) -> TrainingResult:
        common: dict[str, Any] = {
            "show_progress": show_progress,
            "checkpoints": self._checkpoints,
            "local": self._local,
        }
        if not test:
            return experiment.run_without_test(self._config, self._on_epoch, **common)
        return experiment.run(
            self._config, self._on_epoch, output_dir=folder, draw=not brief, **common
        )

    def _on_epoch(self, epoch: EpochResult) -> None:
        self._recorder.on_epoch(epoch)
        self._hooks.on_epoch(epoch)


def _keeper(run_id: str, resolved: Resolved) -> checkpointing.Keeper:
    """Make the keeper of a run's checkpoints."""
    folder = run_folder.folder_of(run_id, resolved.config.cache_dir) / run_folder.CHECKPOINTS
    about = {"origins": resolved.origins, "started_in": str(Path.cwd())}
    return checkpointing.Keeper(folder, about)


@contextlib.contextmanager
def _output_folder(config: Config) -> Iterator[Path]:
    if config.output_dir != "auto":
        folder = Path(config.output_dir).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="imbalance_study_") as name:
            yield Path(name)


def process_start() -> float:
    """Return the start of this process, on the clock of `time.perf_counter`."""
    import psutil

    return time.perf_counter() - (time.time() - float(psutil.Process().create_time()))
