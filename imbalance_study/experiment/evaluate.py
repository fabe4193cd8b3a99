"""What comes of a training: predictions, metrics, analyses and checkpoints, as one result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import bootstrap, metrics
from imbalance_study.experiment import figures as run_figures
from imbalance_study.experiment import posthoc as corrections
from imbalance_study.experiment.analyses import reconstruction
from imbalance_study.experiment.analyses import registry as analyses
from imbalance_study.experiment.analyses.subject import Analysis, Subject
from imbalance_study.experiment.result import Parts, RunResult, Trained
from imbalance_study.experiment.setup import build
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.models import checkpoint
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.best_epoch import State
from imbalance_study.training.loop import Fit, Procedure
from imbalance_study.training.predict import Predictions, predict, summary

# Metrics of the test predictions beside the kept ones: enough to see what selection and the second
# stage did.
_FEW = ("accuracy", "balanced_accuracy", "macro_f1")


def validated(
    config: Config,
    data: Data,
    where: DeviceSetup,
    parts: Parts,
    facts: dict[str, Any],
    trained: list[Trained],
) -> RunResult:
    """What validation said of the kept epoch, and nothing else."""
    model, procedure, fitted = trained[-1]
    model.load_state_dict(fitted.best)
    model.eval()
    assert parts.val is not None
    return RunResult(
        config=config,
        metrics=_selected(parts.val, data, fitted) | _costs(fitted),
        history=fitted.history,
        facts=facts,
        tables={},
        figures={},
        model=model,
        fit=fitted,
        test=None,
        data=data,
        machine=where,
        procedure=procedure,
        checkpoints={},
        analysis=Analysis(),
    )


def evaluated(
    config: Config,
    data: Data,
    where: DeviceSetup,
    parts: Parts,
    facts: dict[str, Any],
    trained: list[Trained],
    output_dir: Path,
    *,
    draw: bool = True,
) -> RunResult:
    """Show the test set to the last epoch and to the kept ones, each once."""
    model, procedure, fitted = trained[-1]
    drawn = _decoded(config, data, parts, trained)
    last = None
    if fitted.best_epoch != len(fitted.history):
        model.load_state_dict(_deployed(fitted.last))
        last = _predict(model, parts.test, procedure)
    model.load_state_dict(_deployed(fitted.best))
    model.eval()
    test = _predict(model, parts.test, procedure)
    found = metrics.prefixed(_metrics(test, procedure, data.class_counts), "test")
    found |= _few(test if last is None else last, procedure, data, "test_last")
    if len(trained) > 1 and trained[0].procedure.classify:
        first = trained[0]
        before = _predict(first.model, parts.test, first.procedure)
        found |= _few(before, first.procedure, data, "stage1_test")
    val = None
    if parts.val is not None:
        val = _predict(model, parts.val, procedure)
        found |= _selected(parts.val, data, fitted)
    assert parts.test is not None
    free = corrections.after_training(
        config, model, parts.test, procedure, data, val, test, draw=draw
    )
    figures = run_figures.of_training(fitted, data) if draw else {}
    found |= free.metrics | _costs(fitted) | drawn[0]
    checkpoints = _save(trained, config, facts, output_dir)
    analysis = analyses.analyse(
        config.analyses,
        Subject(
            model,
            data,
            where,
            procedure,
            fitted,
            test,
            seed=config.seed,
            data_seed=config.data_seed,
            gradcam_layers=config.gradcam_layers,
            colormap=config.colormap,
        ),
    )
    return RunResult(
        config=config,
        metrics=found | analysis.metrics,
        history=fitted.history,
        facts=facts,
        tables=analysis.tables | free.tables,
        figures=figures | free.figures | analysis.figures | drawn[1],
        model=model,
        fit=fitted,
        test=test,
        data=data,
        machine=where,
        procedure=procedure,
        checkpoints=checkpoints,
        analysis=analysis,
    )


def _decoded(
    config: Config, data: Data, parts: Parts, trained: list[Trained]
) -> tuple[dict[str, float], dict[str, Any]]:
    """What the decoder makes of the test images; then it is taken off, as it stays in the lab."""
    first = trained[0]
    drawn: tuple[dict[str, float], dict[str, Any]] = {}, {}
    if first.procedure.reconstruct:
        assert parts.test is not None
        first.model.load_state_dict(first.fitted.best)
        drawn = reconstruction.after_training(
            first.model, first.procedure, parts.test, data, config.seed
        )
    for stage in trained:
        stage.model.decoder = None
    return drawn


def _deployed(state: State) -> State:
    """Weights without those of the decoder."""
    return {name: value for name, value in state.items() if not name.startswith("decoder.")}


def _predict(model: Classifier, batches: Batches | None, procedure: Procedure) -> Predictions:
    assert batches is not None
    return predict(model, batches, procedure.normalise, procedure.precision, features=True)


def _metrics(
    found: Predictions, procedure: Procedure, train_counts: npt.NDArray[np.int64]
) -> dict[str, float]:
    return summary(found, procedure.probabilities, train_counts)[0]


def _few(found: Predictions, procedure: Procedure, data: Data, part: str) -> dict[str, float]:
    values = _metrics(found, procedure, data.class_counts)
    return metrics.prefixed({name: values[name] for name in _FEW}, part)


def _selected(val: Batches, data: Data, fitted: Fit) -> dict[str, float]:
    """What validation said of the kept epoch, and how sure the metric that chose it is."""
    kept = fitted.history[fitted.best_epoch - 1]
    assert kept.val_recall is not None
    support = np.bincount(val.targets.numpy(), minlength=data.num_classes)
    values = {name: kept.metrics[f"val/{name}"] for name in _FEW}
    return metrics.prefixed(values, "selected_val") | {
        "selected_val/balanced_accuracy_standard_error": bootstrap.standard_error_of_mean_recall(
            kept.val_recall, support
        ),
        "selected_val/epoch": float(fitted.best_epoch),
    }


def _costs(fitted: Fit) -> dict[str, float]:
    return {
        "time/train_seconds": fitted.seconds,
        "train/images_seen": float(fitted.images_seen),
        "train/steps": float(fitted.steps),
        "train/epochs": float(len(fitted.history)),
    }


def _save(
    trained: list[Trained], config: Config, facts: dict[str, Any], output_dir: Path
) -> dict[str, Path]:
    """Write the kept weights and the last ones, loadable without pickle."""
    fitted = trained[-1].fitted
    states = {
        "best": (_deployed(fitted.best), fitted.best_epoch),
        "last": (fitted.last, len(fitted.history)),
    }
    if len(trained) > 1:
        states["stage1"] = trained[0].fitted.best, trained[0].fitted.best_epoch
    saved = {}
    for name, (state, epoch) in states.items():
        saved[name] = output_dir / f"{name}.pt"
        content = {
            "model": state,
            "epoch": epoch,
            "config": build.as_dict(config),
            "facts": facts,
        }
        checkpoint.save(saved[name], content)
    return saved
