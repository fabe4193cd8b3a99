"""One tracked run: started, fed from `on_epoch`, finished with a true status."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset

from imbalance_study import __version__
from imbalance_study.config.recipes import RECIPES
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import AXES, Config
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.reporter import OnEpoch
from imbalance_study.experiment.result import RunResult, RunStart, TrainingResult
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.device import resolve_device
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.models import pretrained
from imbalance_study.tracking import (
    artifacts,
    description,
    fetch,
    journal,
    model_logging,
    run_folder,
    store,
)
from imbalance_study.tracking.description import run_name as run_name
from imbalance_study.tracking.session import StopRun as StopRun
from imbalance_study.tracking.session import session as session
from imbalance_study.training import checkpointing, distributed
from imbalance_study.training.procedure import EpochResult

NOTE = "mlflow.note.content"  # the tag that the UI shows as a run's description


def train(
    resolved: Resolved,
    *,
    started: float | None = None,
    tags: Mapping[str, str] | None = None,
    parent: str = "",
    on_epoch: OnEpoch = lambda result: None,
    on_end: Callable[[TrainingResult | BaseException], None] = lambda found: None,
    show_progress: bool = True,
    brief: bool = False,
    test: bool = True,
    run_id: str = "",
    state: dict[str, Any] | None = None,
    local: LocalFiles | None = None,
) -> TrainingResult:
    """Run one configuration and record it in MLflow.

    Inside ``mlflow run`` (MLFLOW_RUN_ID is set) that run is joined, else one is started: a child
    where another run is active. Of the processes of ``torchrun`` the first records the run; the
    others exit once the model is trained.

    Args:
        resolved: The configuration and who decided what.
        started: `time.perf_counter` when the program started, to log the time to the first step.
        tags: Of the run, beside its own; there from its start on.
        parent: Id of the run that it becomes a child of, where none is active in this process.
        on_epoch: Called after each epoch is recorded; what it raises ends the run.
        on_end: Called, while the run can still be written to, with its result, or with what ends
            it; what it raises ends the run instead.
        show_progress: Show progress and, at the end, results and links.
        brief: Leave out what takes seconds and looks the same for every seed: the figures of data
            and training, and the model in the form that serves. Metrics, tables, checkpoints and
            what `analyses` names are recorded in any case.
        test: Without it, as in a search, the test set stays unseen, and no model is kept.
        run_id: A run of before that goes on, instead of a new one.
        state: The checkpoint that it goes on from.
        local: Downloaded weights, and images in memory, that runs share.

    Returns:
        The result; a `RunResult` unless `test` is off.

    Raises:
        ValueError: Something in the configuration, the data or the store is wrong.
    """
    config = resolved.config
    bind(config)
    with contextlib.ExitStack() as stack:
        local = stack.enter_context(
            fetch.local_weights([config.weights], config.tracking_uri, local)
        )
        group = stack.enter_context(distributed.joined(resolve_device(config).device.type))
        if group.rank:
            experiment.assist(config, state, local)
            raise SystemExit(0)
        run = stack.enter_context(session(config, tags, parent=parent, run_id=run_id))
        folder = stack.enter_context(_output_folder(config))
        recorder = Recorder(run.info.run_id, resolved, started)
        recorder.log_params()

        def record(epoch: EpochResult) -> None:
            recorder.on_epoch(epoch)
            on_epoch(epoch)

        keeper = None if run.child else _keeper(run.info.run_id, resolved)
        stack.enter_context(distributed.report_peer_failure())
        try:
            follow: dict[str, Any] = {
                "show_progress": show_progress,
                "checkpoints": experiment.Checkpoints(keeper, state),
                "local": local,
            }
            result = (
                experiment.run(config, record, output_dir=folder, draw=not brief, **follow)
                if test
                else experiment.run_without_test(config, record, **follow)
            )
            recorder.finish(result, folder, keep_model=not brief)
            on_end(result)
        except BaseException as error:
            on_end(error)
            raise
    if keeper is not None:
        keeper.discard()
    if show_progress and isinstance(result, RunResult):
        print(
            description.terminal_summary(
                result, store.without_password(mlflow.get_tracking_uri()), run
            ),
            flush=True,
        )
    return result


def _keeper(run_id: str, resolved: Resolved) -> checkpointing.Keeper:
    """Of a run of its own; a child of a comparison or study is simply trained again."""
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
    """When this process started, on the clock of `time.perf_counter`."""
    import psutil

    return time.perf_counter() - (time.time() - float(psutil.Process().create_time()))


def git_commit() -> str:
    """The commit of the code that runs, or nothing when it is not in a repository."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


class Recorder:
    """Writes what an experiment reports into its run."""

    def __init__(self, run_id: str, resolved: Resolved, started: float | None) -> None:
        self.run_id = run_id
        self.resolved = resolved
        self._started = started
        self._journal = journal.current()
        self._before = (
            self._journal.recorded()
        )  # by the processes before this one, of a resumed run

    def on_epoch(self, result: EpochResult) -> None:
        """Record the start (epoch 0) or a finished epoch; one that is there already is left."""
        if isinstance(result, RunStart):
            self._start(result)
        elif self._before.isdisjoint((result.epoch, name) for name in result.metrics):
            self._journal.metrics(result.metrics, result.epoch)
        else:
            return
        artifacts.log_grid(result.images, result.epoch)

    def _start(self, result: RunStart) -> None:
        config = self.resolved.config
        facts = result.facts
        self._journal.tags(_tags(config, facts))
        self._journal.params({"batch_size": facts.batch_size})  # where it was auto
        content = {
            "config": dataclasses.asdict(config)
            | {"tracking_uri": store.without_password(config.tracking_uri)},
            "origins": self.resolved.origins,
            "resolved": facts.to_dict(),
            "environment": environment(),
            "command": description.repeat_command(self.resolved),
        }
        self._journal.dict(content, "config.json")
        place = {"dataset": config.dataset, "data_dir": str(Path(config.data_dir).absolute())}
        images = _ImageSet(CodeDatasetSource(place), config.dataset, facts.digest)
        entity = images._to_mlflow_entity()
        self._journal.append("input", {"dataset": dict(entity), "context": "training"})
        artifacts.log_figures(result.figures)
        if self._started is not None:
            self._journal.metrics({"time/start_seconds": time.perf_counter() - self._started}, 0)

    def log_params(self) -> None:
        """Log what ``mlflow run`` did not log already, as typed, itself."""
        self._journal.params(_params(self.resolved))

    def finish(self, result: TrainingResult, folder: Path, *, keep_model: bool) -> None:
        """Record the final metrics, tables, figures, checkpoints, the model and a summary."""
        # At step 0 the UI compares runs by bars, at any other by lines of one point each.
        curves = result.history[-1].metrics.keys()
        final = {name: value for name, value in result.metrics.items() if name not in curves}
        book = self._journal
        book.strict = True
        missing = {name: final[name] for name in final if (0, name) not in self._before}
        recorded = book.metrics(missing, 0)
        if not isinstance(result, RunResult):
            book.dict(result.metrics, "metrics.json")
            return
        book.dict(result.metrics | _ends(result.analysis.intervals), "metrics.json")
        for name, columns in result.tables.items():
            if any(map(len, columns.values())):
                book.table(columns, f"{name}.json")
        artifacts.log_final_grid(artifacts.log_figures(result.figures))
        artifacts.log_overlays(result.analysis.overlays)
        artifacts.log_frames(result.analysis.frames)
        book.files({f"checkpoints/{path.name}": path for path in result.checkpoints.values()})
        if keep_model:
            self._save_model(result, {"time": recorded, "values": final}, folder)
        book.tags({NOTE: description.run_note(result, self.resolved)})
        book.append("view", {})

    def _save_model(self, result: RunResult, metrics: Mapping[str, Any], folder: Path) -> None:
        if any(entry.op == "model" for entry in self._journal.entries()):
            return  # of a process that was killed right after
        example = result.data.image_set.images[result.data.split.test[:2]]
        with tempfile.TemporaryDirectory(prefix="model_", dir=folder) as place:
            saved = Path(place, "model")
            model_logging.save_model(result, np.ascontiguousarray(example), saved)
            self._journal.append("model", {"name": "model", **metrics}, {"model": saved})


class _ImageSet(MetaDataset):
    """What MLflow shows of a data set: its name, where it was, and its fingerprint."""

    @property
    def profile(self) -> None:
        """No statistics; the class counts stand in config.json."""


def _ends(intervals: dict[str, Any]) -> dict[str, float]:
    """Both ends of each 95 % interval, for metrics.json; the UI would get two charts for each."""
    return {
        f"test_ci/{name}_{end}": value
        for name, interval in intervals.items()
        for end, value in interval._asdict().items()
    }


def _params(resolved: Resolved) -> dict[str, Any]:
    """The axes, and whatever else was given or set by a recipe."""
    config, origins = resolved
    decided = [name for name, origin in origins.items() if origin in ("given", "recipe")]
    hidden = {"tracking_uri", "tracking", "experiment", "run_name", "output_dir", "cache_dir"}
    hidden |= {"system_metrics"}
    hidden |= {"analyses", "gradcam_layers", "colormap", "figure_every"}
    names = dict.fromkeys([*AXES, *(name for name in decided if name not in hidden)])
    return {name: getattr(config, name) for name in names if getattr(config, name) != "auto"}


def _tags(config: Config, facts: RunFacts) -> dict[str, str]:
    tags = {
        "imbalance_study.version": __version__,
        "data_fingerprint": facts.digest,
        "device": facts.device,
    }
    commit = git_commit()
    if commit:
        tags["git_commit"] = commit
    if facts.weights is not None:
        tags["weights"] = pretrained.in_words(facts.weights)
    if facts.lr is not None:
        tags["lr"] = f"{facts.lr:g}, found by a range test"
    if config.recipe != "none":
        tags["recipe_source"] = RECIPES[config.recipe].source
    return tags


def environment() -> dict[str, str]:
    """Versions of what computes, and the machine."""
    packages = ("torch", "torchvision", "numpy", "scikit-learn", "mlflow")
    versions = {name: metadata.version(name) for name in packages}
    return versions | {
        "imbalance_study": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "git_commit": git_commit(),
    }
