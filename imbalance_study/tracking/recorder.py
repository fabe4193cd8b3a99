"""Recorder of a run: writes the start, each epoch and the result of a training into its journal."""

from __future__ import annotations

import dataclasses
import functools
import math
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset

from imbalance_study import __version__
from imbalance_study.config.recipes import RECIPES
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import AXES, RECORDING, Config
from imbalance_study.experiment.result import RunResult, RunStart, TrainingResult
from imbalance_study.experiment.setup import features
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.models import pretrained
from imbalance_study.tracking import (
    artifacts,
    description,
    fetch,
    journal,
    model_logging,
    run_names,
    store,
    ui_view,
)
from imbalance_study.training.procedure import EpochResult

# Options that are no params of a run, beside those of the place where it is recorded.
_NO_PARAMS = {
    *RECORDING,
    *("cache_dir", "system_metrics", "analyses", "gradcam_layers", "colormap", "figure_every"),
    "per_class_metrics",
}
# Metrics that are equal whatever the training does: params of a run, as each would be a chart.
CONSTANTS = {
    "cost/parameters": "model_parameters",
    "cost/trainable_parameters": "model_trainable_parameters",
    "cost/macs": "model_macs",
    "cost/size_mb": "model_size_mb",
}
_MANY_CLASSES = 30  # more than these are too many charts
_PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "mlflow")


class Recorder:
    """Writes the events of a training into the journal of the active run.

    Args:
        resolved: The configuration of the run, with the origin of each value.
        started: `time.perf_counter` when the program started, to record the time to the first
            step; None to leave it out.
    """

    def __init__(self, resolved: Resolved, started: float | None) -> None:
        self._resolved = resolved
        self._started = started
        self._journal = journal.current()
        # (step, name) of the metrics that earlier processes of a resumed run recorded.
        self._recorded = self._journal.recorded_metrics()
        # The figures of the data, which the first step need not wait for.
        self._draw: Callable[[], dict[str, Any]] = dict

    def record_params(self) -> None:
        """Record the params that ``mlflow run`` did not log itself, as typed."""
        self._journal.params(_params(self._resolved))

    def on_epoch(self, result: EpochResult) -> None:
        """Record the start or a finished epoch, unless it was recorded before."""
        if isinstance(result, RunStart):
            self._record_start(result)
        elif self._recorded.isdisjoint((result.epoch, name) for name in result.metrics):
            self._journal.metrics(_rounded(result.metrics | self._recalls(result)), result.epoch)
            artifacts.log_figures(self._draw(), self._small_print())
            self._draw = dict
        else:
            return
        artifacts.log_grid(result.images, result.epoch)

    def _recalls(self, result: EpochResult) -> dict[str, float]:
        """Return the recall of each class on validation, if it is to be recorded."""
        recall = result.val_recall
        wanted = self._resolved.config.per_class_metrics
        if not wanted or recall is None or len(recall) > _MANY_CLASSES:
            return {}
        return {f"val/recall_{number}": float(value) for number, value in enumerate(recall)}

    def _record_start(self, start: RunStart) -> None:
        config, facts = self._resolved.config, start.facts
        if config.per_class_metrics and len(facts.class_names) > _MANY_CLASSES:
            count = len(facts.class_names)
            line = f"per_class_metrics is off: the data have {count} classes, more than "
            print(f"{line}{_MANY_CLASSES}", file=sys.stderr, flush=True)
        self._journal.tags(_tags(config, facts))
        self._journal.params({"batch_size": facts.batch_size})  # decided now if it was auto
        content = {
            "config": dataclasses.asdict(config)
            | {"tracking_uri": store.without_password(config.tracking_uri)},
            "origins": self._resolved.origins,
            "resolved": facts.to_dict(),
            "environment": environment(),
            "command": description.repeat_command(self._resolved),
        }
        self._journal.dict(content, "config.json")
        source = {"dataset": config.dataset, "data_dir": str(Path(config.data_dir).absolute())}
        images = _ImageSet(CodeDatasetSource(source), config.dataset, facts.digest)
        entity = images._to_mlflow_entity()
        self._journal.append("input", {"dataset": dict(entity), "context": "training"})
        self._draw = start.draw
        self._journal.table(start.report.columns(), "data_report.json")
        if any(map(len, start.report.copies.values())):
            self._journal.table(start.report.copies, "copies.json")
        if self._started is not None:
            seconds = {"time/start_seconds": time.perf_counter() - self._started}
            self._journal.metrics(_rounded(seconds), 0)

    def record_result(self, result: TrainingResult, folder: Path, *, keep_model: bool) -> None:
        """Record the final metrics, tables, figures, checkpoints, the model and a description.

        Args:
            result: Without a test, as in a search, only the metrics are recorded.
            folder: Folder for temporary files.
            keep_model: Record the model in the form that MLflow serves, too.

        Raises:
            OSError: The journal cannot be written.
        """
        # At step 0 the UI compares runs by bars, at any other by lines of one point each.
        curves = result.history[-1].metrics.keys()
        shown = result.metrics.keys() - curves - CONSTANTS.keys()
        final = {name: value for name, value in result.metrics.items() if name in shown}
        self._journal.strict = True
        final = _rounded(final | _plus_minus(result))
        new = {name: final[name] for name in final if (0, name) not in self._recorded}
        constants = CONSTANTS.keys() & result.metrics.keys()
        self._journal.params({CONSTANTS[n]: f"{result.metrics[n]:.10g}" for n in sorted(constants)})
        # All in one entry, so that an earlier process of a resumed run recorded all or none.
        recorded_at = self._journal.metrics(new, 0) if new else self._journal.time_of([*final], 0)
        if not isinstance(result, RunResult):
            self._journal.dict(result.metrics, "metrics.json")
            return
        self._record_files(result)
        if keep_model:
            self._record_model(result, {"time": recorded_at, "values": final}, folder)
        self._journal.note(description.run_note(result, self._resolved))

    def _record_files(self, result: RunResult) -> None:
        """Record metrics.json, tables, figures, overlays, columns and checkpoints."""
        intervals = _interval_ends(result.analysis.intervals)
        self._journal.dict(result.metrics | intervals, "metrics.json")
        for name, columns in result.tables.items():
            if any(map(len, columns.values())):
                self._journal.table(columns, f"{name}.json")
        artifacts.log_final_grid(artifacts.log_figures(result.figures, self._small_print()))
        artifacts.log_overlays(result.analysis.overlays)
        artifacts.log_frames(result.analysis.frames)
        checkpoints = {f"checkpoints/{path.name}": path for path in result.checkpoints.values()}
        self._journal.files(checkpoints)
        if fetch.CHECKPOINT in checkpoints:
            self._journal.tags({fetch.HASH_TAG: fetch.hash_of(checkpoints[fetch.CHECKPOINT])})

    def _small_print(self) -> str:
        """Name data set, model, loss, seed and run, for figures that leave MLflow."""
        config, run_id = self._resolved.config, self._journal.state["run_id"]
        parts = [config.dataset, config.model, config.loss, f"seed {config.seed}"]
        return " · ".join([*parts, f"run {run_id}"] if run_id else parts)

    def _record_model(self, result: RunResult, metrics: Mapping[str, Any], folder: Path) -> None:
        if any(entry.op == "model" for entry in self._journal.entries()):
            return  # an earlier process of a resumed run recorded it
        example = result.data.image_set.images[result.data.split.test[:2]]
        with tempfile.TemporaryDirectory(prefix="model_", dir=folder) as temporary:
            saved = Path(temporary, "model")
            model_logging.save_model(result, np.ascontiguousarray(example), saved)
            self._journal.append(
                "model",
                {"name": run_names.model_name(self._resolved.config), **metrics},
                {"model": saved},
            )


class _ImageSet(MetaDataset):
    """A data set as MLflow shows it: name, source and fingerprint."""

    @property
    def profile(self) -> None:
        """No statistics; config.json holds the class counts."""


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Round to seven digits, as MLflow shows all 17; metrics.json has the values as they are."""
    return {
        name: float(f"{value:.7g}") if abs(value) < 1e7 else float(value)
        for name, value in values.items()
    }


def _plus_minus(result: TrainingResult) -> dict[str, float]:
    """Return half the width of the interval of the headline metric, for a column of the table."""
    if not isinstance(result, RunResult) or "balanced_accuracy" not in result.analysis.intervals:
        return {}
    low, high = result.analysis.intervals["balanced_accuracy"]
    return {ui_view.PLUS_MINUS: (high - low) / 2} if math.isfinite(high - low) else {}


def _interval_ends(intervals: Mapping[str, Any]) -> dict[str, float]:
    """Return both ends of each 95 % interval for metrics.json: as metrics they would be charts."""
    return {
        f"test_ci/{name}_{end}": value
        for name, interval in intervals.items()
        for end, value in interval._asdict().items()
    }


def _params(resolved: Resolved) -> dict[str, Any]:
    """Return the axes, and the options that the user, a recipe or the freeze decided."""
    config, origins = resolved
    decided = [name for name, origin in origins.items() if origin in ("given", "recipe", "freeze")]
    names = dict.fromkeys([*AXES, *(name for name in decided if name not in _NO_PARAMS)])
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
    if facts.features is not None:
        tags["features"] = features.origin(facts.features)
    if facts.lr is not None:
        tags["lr"] = f"{facts.lr:g}, found by a range test"
    if config.recipe != "none":
        tags["recipe_source"] = RECIPES[config.recipe].source
    return tags


def environment() -> dict[str, str]:
    """Return the versions of the packages that compute, and the machine."""
    return _versions() | {
        "imbalance_study": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "git_commit": git_commit(),
    }


@functools.cache
def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _PACKAGES}


def git_commit() -> str:
    """Return the commit of the running code; empty if it is not in a git repository."""
    return _commit_of(Path(__file__).parent)


@functools.cache
def _commit_of(folder: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
