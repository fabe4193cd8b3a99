"""Free of charge: what can be had from a finished run without training it again.

Whatever is chosen or fitted sees validation alone. The class frequencies are corrected for only
where the training did not do so already; temperature and mirrored images go with any run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from imbalance_study.config import compatibility, spec
from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.evaluation import bootstrap, calibration, metrics, posthoc
from imbalance_study.evaluation.figures import calibration as calibration_figures
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.experiment.setup.data import Data
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.loop import Procedure
from imbalance_study.training.predict import Predictions, predict

# (predictions, tau) -> logits (N, C)
_OverTau = Callable[[Predictions, float], Floats]


class Corrections(NamedTuple):
    """What `after_training` found, named for the record."""

    metrics: dict[str, float]  # posthoc/..., of the test set
    tables: dict[str, dict[str, list[Any]]]  # "posthoc": a row a correction, the plain run first
    figures: dict[str, Any]  # "posthoc_tau", where a tau was chosen


class _Corrected(NamedTuple):
    """Probabilities (N, C) after one correction."""

    test: Floats
    val: Floats | None
    chosen: str = ""  # its parameters, in words
    values: Mapping[str, float] = {}  # those to log, by their names


def after_training(
    config: Config,
    model: Classifier,
    test_images: Batches,
    procedure: Procedure,
    data: Data,
    val: Predictions | None,
    test: Predictions,
    *,
    draw: bool = True,
) -> Corrections:
    """Correct the predictions of a finished run in every way that applies to it.

    - Where nothing in loss, class weights, sampling or a second stage corrected for the class
      frequencies: logit adjustment, tau-norm (after a softmax on a linear head) and one threshold
      a class, chosen on validation; without validation logit adjustment by tau = 1 alone (tau1).
    - With validation: temperature scaling.
    - Where ``flip`` is among the augmentations: the mean of the probabilities of each test image
      and its mirror image. Without it a mirrored image is one that the model has never seen, and
      may belong to another class.

    Args:
        config: Of the run.
        model: With the kept weights.
        test_images: The test set, for the pass over its mirror images.
        procedure: Of the last stage.
        data: Whose training counts are the prior.
        val: What the kept weights predict for validation, None where there is none.
        test: The same for the test set.
        draw: Draw the figure.
    """
    probs = _probabilities(test, procedure)
    found = {"plain": _Corrected(probs, None if val is None else _probabilities(val, procedure))}
    searches: dict[str, posthoc.TauSearch] = {}
    over_tau = _over_tau(config, model, procedure, data)
    if val is None and over_tau:
        found["tau1"] = _with_tau("tau1", over_tau["logit_adjustment"], 1.0, val, test)
    elif val is not None:
        for name, correct in over_tau.items():
            searches[name] = posthoc.search_tau(functools.partial(correct, val), val.targets)
            found[name] = _with_tau(name, correct, searches[name].best, val, test)
        if over_tau:
            found["thresholds"] = _thresholds(val, test, procedure)
        found["temperature"] = _temperature(val, test, procedure)
    if any(one.name == "flip" for one in spec.parse_chain(config.augment)):
        mirrored = _probabilities(_mirrored(model, test_images, procedure), procedure)
        found["flip"] = _Corrected((probs + mirrored) / 2, None)
    table = _table(found, test.targets, None if val is None else val.targets)
    figures = {"posthoc_tau": _figure(searches, over_tau, test)} if searches and draw else {}
    return Corrections(_metrics(table, found), {"posthoc": table}, figures)


def _over_tau(
    config: Config, model: Classifier, procedure: Procedure, data: Data
) -> dict[str, _OverTau]:
    """The corrections for the class frequencies that have a tau; none where one was made before.

    Tau-norm takes the length of a class's weights for its frequency, which holds under a softmax
    only: a cosine head has no lengths, and the zero of a sigmoid's logit has a meaning of its own.
    """
    if compatibility.corrections(config) or spec.parse(config.stage2).name != "none":
        return {}

    def adjusted(found: Predictions, tau: float) -> Floats:
        return posthoc.adjust_logits(_log_probabilities(found, procedure), data.class_counts, tau)

    head = model.get_classifier()
    if (
        not isinstance(head, nn.Linear)
        or spec.parse(config.loss).name in compatibility.SIGMOID_LOSSES
    ):
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


def _mirrored(model: Classifier, images: Batches, procedure: Procedure) -> Predictions:
    """Predictions of every image of a part, turned left to right."""
    return predict(
        model, images, lambda batch: procedure.normalise(batch.flip(3)), procedure.precision
    )


def _probabilities(found: Predictions, procedure: Procedure) -> Floats:
    """Class probabilities (N, C) as the loss means them, in double precision."""
    probs: Floats = procedure.probabilities(torch.from_numpy(found.logits).double()).numpy()
    return probs


def _log_probabilities(found: Predictions, procedure: Procedure) -> Floats:
    """What a softmax turns into the probabilities: `losses.softmax_logits`, each row shifted.

    Neither an adjustment by class nor a temperature sees the shift.
    """
    return np.log(np.maximum(_probabilities(found, procedure), np.finfo(np.float64).tiny))


def _table(
    found: Mapping[str, _Corrected], targets: Ints, val_targets: Ints | None
) -> dict[str, list[Any]]:
    """What each correction makes of the test set, and of validation where it was predicted."""
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
    """Balanced accuracy with its standard error; of what was chosen here it is too good."""
    score = error = float("nan")
    if probs is not None and targets is not None:
        predictions, num_classes = probs.argmax(1), probs.shape[1]
        score = metrics.quick_metrics(targets, predictions, num_classes)["balanced_accuracy"]
        error = bootstrap.standard_error_of_balanced_accuracy(targets, predictions, num_classes)
    return {"val_balanced_accuracy": score, "val_standard_error": error}


def _metrics(table: dict[str, list[Any]], found: Mapping[str, _Corrected]) -> dict[str, float]:
    """The few that are charts: what a correction is about; the table has the others."""
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
    return calibration_figures.accuracy_over_tau(
        {shown[name]: search for name, search in searches.items()},
        {
            shown[name]: posthoc.balanced_accuracy_over(
                functools.partial(over_tau[name], test), test.targets
            )
            for name in searches
        },
    )
