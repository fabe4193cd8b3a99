"""Post-hoc corrections without retraining: logit adjustment, tau-norm, thresholds and others.

Choices and fits see validation alone. The class frequencies are corrected for only where the
training did not do so already; temperature and mirrored images go with any run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from imbalance_study.config import choices as registry
from imbalance_study.config.choice import with_trait
from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import bootstrap, calibration, metrics, posthoc
from imbalance_study.evaluation import figures as drawing
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.experiment.analyses.context import AnalysisResult
from imbalance_study.experiment.result import TrainedStage
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.training.predict import Predictions, predict
from imbalance_study.training.procedure import Procedure

# (predictions, tau) -> logits (N, C)
_OverTau = Callable[[Predictions, float], Floats]


class _Corrected(NamedTuple):
    """Probabilities (N, C) after one correction."""

    test: Floats
    val: Floats | None
    chosen: str = ""  # its parameters, in words
    values: Mapping[str, float] = {}  # those to log, by their names


def correct(
    inputs: RunInputs,
    stage: TrainedStage,
    test_images: Batches,
    val: Predictions | None,
    test: Predictions,
    *,
    draw: bool = True,
) -> AnalysisResult:
    """Correct the predictions of a finished run in every way that applies to it.

    - Where nothing in loss, class weights, sampling or a second stage corrected for the class
      frequencies: logit adjustment, tau-norm (after a softmax on a linear head) and one threshold
      a class, chosen on validation; without validation logit adjustment by tau = 1 alone (tau1).
    - With validation: temperature scaling.
    - Where ``flip`` is among the augmentations: the mean of the probabilities of each test image
      and its mirror image. Without it a mirrored image is one that the model has never seen, and
      may belong to another class. A head that trained on features is left out: they are those of
      the images as they are.

    Args:
        inputs: Of the run; the training counts of its data are the prior.
        stage: The last one; its model has the kept weights.
        test_images: The test set, for the pass over its mirror images.
        val: The predictions of the kept weights for validation, None where there is none.
        test: Their predictions for the test set.
        draw: Draw the figure.

    Returns:
        Metrics ``posthoc/...`` of the test set, the table ``posthoc`` with a row for each
        correction, the plain run first, and the figure ``posthoc_tau`` where a tau was chosen.
    """
    procedure = stage.procedure
    probs = _probabilities(test, procedure)
    found = {"plain": _Corrected(probs, None if val is None else _probabilities(val, procedure))}
    searches: dict[str, posthoc.TauSearch] = {}
    over_tau = _over_tau(inputs, stage)
    if val is None and over_tau:
        found["tau1"] = _with_tau("tau1", over_tau["logit_adjustment"], 1.0, val, test)
    elif val is not None:
        for name, correct in over_tau.items():
            searches[name] = posthoc.search_tau(functools.partial(correct, val), val.targets)
            found[name] = _with_tau(name, correct, searches[name].best, val, test)
        if over_tau:
            found["thresholds"] = _thresholds(val, test, procedure)
        found["temperature"] = _temperature(val, test, procedure)
    if "flip" in inputs.choices.augment.names and stage.features is None:
        mirrored = _probabilities(_mirrored(stage, test_images), procedure)
        found["flip"] = _Corrected((probs + mirrored) / 2, None)
    table = _table(found, test.targets, None if val is None else val.targets)
    figures = {"posthoc_tau": _figure(searches, over_tau, test)} if searches and draw else {}
    return AnalysisResult(
        metrics=_metrics(table, found), tables={"posthoc": table}, figures=figures
    )


def _over_tau(inputs: RunInputs, stage: TrainedStage) -> dict[str, _OverTau]:
    """Return the corrections for the class frequencies that have a tau; none after another one.

    Tau-norm takes the length of a class's weights for its frequency, which holds under a softmax
    only: a cosine head has no lengths, and the zero of a sigmoid's logit has a meaning of its own.
    """
    choices, counts = inputs.choices, inputs.data.class_counts
    if choices.corrected or choices.stage2 is not None:
        return {}

    def adjusted(found: Predictions, tau: float) -> Floats:
        logits = _log_probabilities(found, stage.procedure)
        return posthoc.adjust_logits(logits, counts, tau)

    head = stage.model.get_classifier()
    sigmoid = choices.loss.name in with_trait(registry.LOSSES, "sigmoid")
    if not isinstance(head, nn.Linear) or sigmoid:
        return {"logit_adjustment": adjusted}
    weight = head.weight.detach().float().cpu().numpy()

    def normalised(found: Predictions, tau: float) -> Floats:
        return posthoc.tau_normalise(found.logits, weight, tau)

    return {"logit_adjustment": adjusted, "tau_norm": normalised}


def _with_tau(
    name: str, correct: _OverTau, tau: float, val: Predictions | None, test: Predictions
) -> _Corrected:
    return _Corrected(
        posthoc.softmax(correct(test, tau)),
        None if val is None else posthoc.softmax(correct(val, tau)),
        f"tau {tau:g}",
        {} if val is None else {f"{name}_tau": tau},
    )


def _thresholds(val: Predictions, test: Predictions, procedure: Procedure) -> _Corrected:
    val_probs = _probabilities(val, procedure)
    thresholds = posthoc.fit_thresholds(val_probs, val.targets)
    return _Corrected(
        posthoc.apply_thresholds(_probabilities(test, procedure), thresholds),
        posthoc.apply_thresholds(val_probs, thresholds),
        "thresholds " + "/".join(f"{threshold:.3g}" for threshold in thresholds),
    )


def _temperature(val: Predictions, test: Predictions, procedure: Procedure) -> _Corrected:
    logits, val_logits = (_log_probabilities(part, procedure) for part in (test, val))
    temperature = posthoc.fit_temperature(val_logits, val.targets)
    return _Corrected(
        posthoc.softmax(logits / temperature),
        posthoc.softmax(val_logits / temperature),
        f"temperature {temperature:.4g}",
        {"temperature": temperature},
    )


def _mirrored(stage: TrainedStage, images: Batches) -> Predictions:
    """Predict every image of a part, turned left to right."""
    procedure = stage.procedure
    return predict(
        stage.model, images, lambda batch: procedure.normalise(batch.flip(3)), procedure.precision
    )


def _probabilities(found: Predictions, procedure: Procedure) -> Floats:
    """Compute class probabilities (N, C) as the loss means them, in double precision."""
    probs: Floats = procedure.probabilities(torch.from_numpy(found.logits).double()).numpy()
    return probs


def _log_probabilities(found: Predictions, procedure: Procedure) -> Floats:
    """Return logits of which the softmax is the probabilities: `softmax_logits`, rows shifted.

    Neither an adjustment by class nor a temperature sees the shift.
    """
    return np.log(np.maximum(_probabilities(found, procedure), np.finfo(np.float64).tiny))


def _table(
    found: Mapping[str, _Corrected], targets: Ints, val_targets: Ints | None
) -> dict[str, list[Any]]:
    """Score each correction on the test set, and on validation where it was predicted."""
    rows = [
        {
            "correction": name,
            "chosen": corrected.chosen,
            **metrics.quick_metrics(targets, corrected.test.argmax(1), corrected.test.shape[1]),
            "loss": calibration.negative_log_likelihood(targets, corrected.test),
            "ece": calibration.expected_calibration_error(targets, corrected.test),
            **_validation(corrected.val, val_targets),
        }
        for name, corrected in found.items()
    ]
    return {column: [row[column] for row in rows] for column in rows[0]}


def _validation(probs: Floats | None, targets: Ints | None) -> dict[str, float]:
    """Score validation, with the standard error; too good where the choice was made there."""
    score = error = float("nan")
    if probs is not None and targets is not None:
        predictions, num_classes = probs.argmax(1), probs.shape[1]
        score = metrics.quick_metrics(targets, predictions, num_classes)["balanced_accuracy"]
        error = bootstrap.standard_error_of_balanced_accuracy(targets, predictions, num_classes)
    return {"val_balanced_accuracy": score, "val_standard_error": error}


def _metrics(table: dict[str, list[Any]], found: Mapping[str, _Corrected]) -> dict[str, float]:
    """Return the metrics that are charts, those a correction is about; the table has the others."""
    logged: dict[str, float] = {}
    for row, (name, corrected) in enumerate(found.items()):
        if name == "plain":
            continue
        about = ("loss", "ece") if name == "temperature" else ("balanced_accuracy", "accuracy")
        logged |= metrics.prefixed(corrected.values, "posthoc")
        logged |= {f"posthoc/{name}_{column}": table[column][row] for column in about}
    return logged


def _figure(
    searches: Mapping[str, posthoc.TauSearch],
    over_tau: Mapping[str, _OverTau],
    test: Predictions,
) -> Any:
    shown = {name: name.replace("_", " ") for name in searches}
    return drawing.calibration.accuracy_over_tau(
        {shown[name]: search for name, search in searches.items()},
        {
            shown[name]: posthoc.balanced_accuracy_over(
                functools.partial(over_tau[name], test), test.targets
            )
            for name in searches
        },
    )
