"""Evaluate a finished training: predict, score, analyse, save checkpoints."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import bootstrap, metrics
from imbalance_study.experiment import figures as run_figures
from imbalance_study.experiment import posthoc
from imbalance_study.experiment.analyses import reconstruction
from imbalance_study.experiment.analyses import registry as analyses
from imbalance_study.experiment.analyses.context import (
    AnalysisResult,
    EvaluationContext,
    HeatmapOptions,
)
from imbalance_study.experiment.result import RunResult, TrainedStage, TrainingResult
from imbalance_study.experiment.setup import features as features_setup
from imbalance_study.experiment.setup.build import RunSetup
from imbalance_study.experiment.setup.data import Parts
from imbalance_study.experiment.setup.facts import config_record
from imbalance_study.models import checkpoint
from imbalance_study.training.best_epoch import State
from imbalance_study.training.predict import Predictions, predict, summary
from imbalance_study.training.procedure import Fit

# Metrics of further predictions beside those of the kept epoch: enough to see what selection and
# the second stage did.
_FEW = ("accuracy", "balanced_accuracy", "macro_f1")


def evaluate_on_validation(
    setup: RunSetup, val: Batches, stages: Sequence[TrainedStage]
) -> TrainingResult:
    """Score the kept epoch on validation; the test set stays unseen."""
    stage = stages[-1]
    stage.model.load_state_dict(stage.fit.best)
    stage.model.eval()
    scores = _selected(val, setup, stage.fit) | _counts(stage)
    return TrainingResult(setup, stage, AnalysisResult(metrics=scores))


def evaluate_on_test(
    setup: RunSetup,
    test: Batches,
    stages: Sequence[TrainedStage],
    output_dir: Path,
    *,
    draw: bool = True,
    umap_warm_up: threading.Thread | None = None,
) -> RunResult:
    """Predict the test set with the last epoch and with the kept ones, each once.

    Args:
        setup: Of the run.
        test: The test part.
        stages: The finished stages, one or two.
        output_dir: Gets the checkpoints.
        draw: Draw the figures of training and corrections; analyses draw theirs in any case.
        umap_warm_up: The thread that compiles UMAP.
    """
    decoded = _decoded(setup, test, stages)
    stage = stages[-1]
    scores, predictions = _scores(setup, stages)
    val = None
    if setup.parts.val is not None:
        val = _predict(stage, setup.parts, "val")
        scores |= _selected(setup.parts.val, setup, stage.fit)
    corrected = posthoc.correct(setup, stage, test, val, predictions, draw=draw)
    figures = run_figures.of_training(stage.fit, setup.data) if draw else {}
    checkpoints = _save(setup, stages, output_dir)
    analysis = analyses.analyse(context_of(setup, stage, predictions, umap_warm_up))
    found = AnalysisResult(
        metrics=scores | corrected.metrics | _counts(stage) | decoded.metrics,
        tables=corrected.tables,
        figures=figures | corrected.figures | decoded.figures,
    )
    return RunResult(setup, stage, found, predictions, analysis, checkpoints)


def context_of(
    setup: RunSetup,
    stage: TrainedStage,
    test: Predictions,
    umap_warm_up: threading.Thread | None = None,
) -> EvaluationContext:
    """Return the input of the analyses.

    Args:
        setup: Of the run.
        stage: The last one; its model has the weights of the kept epoch, in evaluation mode.
        test: The predictions of this model, with features.
        umap_warm_up: The thread that compiles UMAP.
    """
    config = setup.config
    return EvaluationContext(
        stage.model,
        setup.data,
        setup.device_setup.device,
        stage.procedure,
        stage.fit,
        test,
        seed=config.seed,
        data_seed=config.data_seed,
        heatmaps=HeatmapOptions.of(config),
        wanted=analyses.names_in(config.analyses),
        umap_warm_up=umap_warm_up,
    )


def _decoded(setup: RunSetup, test: Batches, stages: Sequence[TrainedStage]) -> AnalysisResult:
    """Analyse the decoder where one was trained, then take it off: it is not deployed."""
    first, found = stages[0], AnalysisResult()
    if first.procedure.reconstruct:
        first.model.load_state_dict(first.fit.best)
        found = reconstruction.reconstruct(setup, first.model, first.procedure, test)
    for stage in stages:
        stage.model.decoder = None
    return found


def _scores(
    setup: RunSetup, stages: Sequence[TrainedStage]
) -> tuple[dict[str, float], Predictions]:
    """Score the last epoch, the kept epoch and the first stage on the test set.

    Returns:
        The metrics and the predictions of the kept epoch; its weights are in the model.
    """
    stage, fit = stages[-1], stages[-1].fit
    last = None
    if fit.best_epoch != len(fit.history):
        stage.model.load_state_dict(_deployed(fit.last))
        last = _predict(stage, setup.parts, "test")
    stage.model.load_state_dict(_deployed(fit.best))
    stage.model.eval()
    kept = _predict(stage, setup.parts, "test")
    scores = metrics.prefixed(_metrics(setup, stage, kept), "test")
    scores |= _few(setup, stage, kept if last is None else last, "test_last")
    if len(stages) > 1 and stages[0].procedure.classify:
        scores |= _few(setup, stages[0], _predict(stages[0], setup.parts, "test"), "stage1_test")
    return scores, kept


def _deployed(state: State) -> State:
    """Return the weights without those of the decoder."""
    return {name: value for name, value in state.items() if not name.startswith("decoder.")}


def _predict(stage: TrainedStage, images: Parts, name: Literal["val", "test"]) -> Predictions:
    """Predict a part, from its features where the head trained on them."""
    model, parts, normalise = stage.model, images, stage.procedure.normalise
    if stage.features is not None:
        model, parts = model.on_features(), stage.features.parts
        normalise = features_setup.unchanged
    batches = parts.need_val() if name == "val" else parts.need_test()
    return predict(model, batches, normalise, stage.procedure.precision, features=True)


def _metrics(setup: RunSetup, stage: TrainedStage, found: Predictions) -> dict[str, float]:
    return summary(found, stage.procedure.probabilities, setup.data.class_counts)[0]


def _few(setup: RunSetup, stage: TrainedStage, found: Predictions, part: str) -> dict[str, float]:
    values = _metrics(setup, stage, found)
    return metrics.prefixed({name: values[name] for name in _FEW}, part)


def _selected(val: Batches, setup: RunSetup, fit: Fit) -> dict[str, float]:
    """Return the validation metrics of the kept epoch, and the standard error of its score."""
    kept = fit.history[fit.best_epoch - 1]
    recall = np.asarray(kept.val_recall, dtype=np.float64)
    support = np.bincount(val.targets.numpy(), minlength=setup.data.num_classes)
    error = bootstrap.standard_error_of_mean_recall(recall, support)
    values = {name: kept.metrics[f"val/{name}"] for name in _FEW}
    return metrics.prefixed(values, "selected_val") | {
        "selected_val/balanced_accuracy_standard_error": error,
        "selected_val/epoch": float(fit.best_epoch),
    }


def _counts(stage: TrainedStage) -> dict[str, float]:
    fit, features = stage.fit, stage.features
    passed = {} if features is None else {"time/features_seconds": features.seconds}
    return (
        passed
        | dict(stage.spent or {})
        | {
            "time/train_seconds": fit.seconds,
            "train/images_seen": float(fit.images_seen),
            "train/steps": float(fit.steps),
            "train/epochs": float(len(fit.history)),
        }
    )


def _save(setup: RunSetup, stages: Sequence[TrainedStage], output_dir: Path) -> dict[str, Path]:
    """Write the kept weights and the last ones, loadable without pickle."""
    fit = stages[-1].fit
    states = {
        "best": (_deployed(fit.best), fit.best_epoch),
        "last": (fit.last, len(fit.history)),
    }
    if len(stages) > 1:
        states["stage1"] = stages[0].fit.best, stages[0].fit.best_epoch
    saved = {name: output_dir / f"{name}.pt" for name in states}
    common = {"config": config_record(setup.config), "facts": setup.facts.to_dict()}
    for name, (state, epoch) in states.items():
        if name == "last" and epoch == fit.best_epoch and state.keys() == states["best"][0].keys():
            shutil.copyfile(saved["best"], saved[name])  # the same weights
        else:
            checkpoint.save(saved[name], {"model": state, "epoch": epoch, **common})
    return saved
