"""One experiment, from a Config to a result: the page that tells the whole story.

Data are loaded and cut, a model is built and trained, in one stage or two, the kept epoch and the
last one are each shown the test set once, and what comes of it is handed back. Nothing here knows
MLflow.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from contextlib import nullcontext as nothing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study import (
    analyses,
    batch_size,
    corrections,
    learning_rates,
    pictures,
    prepare,
    reconstructions,
    resume,
    stages,
    watching,
)
from imbalance_study.config import Config
from imbalance_study.data.batches import Batches
from imbalance_study.evaluation import intervals, metrics
from imbalance_study.models import complexity
from imbalance_study.models.classifier import Classifier
from imbalance_study.subject import Analysis, Subject
from imbalance_study.training import checkpoint, distributed
from imbalance_study.training.checkpoint import Keeper
from imbalance_study.training.loop import EpochResult, Fit, Keep, Procedure, fit
from imbalance_study.training.predict import Predictions, predict, summary
from imbalance_study.training.progress import Progress
from imbalance_study.training.selection import State

OnEpoch = Callable[[EpochResult], None]

# Metrics of the test predictions beside the kept ones: enough to see what selection and the second
# stage did.
_FEW = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A finished experiment."""

    config: Config
    metrics: dict[str, float]  # final ones, named with their split
    history: list[EpochResult]
    facts: dict[str, Any]
    tables: dict[str, dict[str, list[Any]]]  # name -> columns
    figures: dict[str, Any]  # name -> matplotlib Figure
    model: Classifier  # with the weights of the kept epoch, in evaluation mode
    fit: Fit
    test: Predictions | None  # None where the test set was left unseen
    data: prepare.Data
    machine: prepare.Machine
    procedure: Procedure  # of the last stage
    checkpoints: dict[str, Path]  # "best", "last", and "stage1" where there were two
    analysis: Analysis  # its metrics, tables and figures are among those above


class Parts(NamedTuple):
    """The batches of each part; validation may be missing, and the test part left out."""

    train: Batches
    val: Batches | None
    test: Batches | None


class Prepared(NamedTuple):
    """What a training was given."""

    config: Config  # with the batch size that was found
    data: prepare.Data
    where: prepare.Machine
    parts: Parts
    facts: dict[str, Any]


class Trained(NamedTuple):
    """A finished stage."""

    model: Classifier
    procedure: Procedure
    fitted: Fit  # with the epochs of the stage before


def run(
    config: Config,
    on_epoch: OnEpoch = lambda result: None,
    *,
    output_dir: Path,
    show_progress: bool = True,
    draw: bool = True,
    test: bool = True,
    keeper: Keeper | None = None,
    state: dict[str, Any] | None = None,
) -> RunResult:
    """Train and evaluate one configuration.

    Args:
        config: As `config.make` or `config.resolve` give it.
        on_epoch: Called before the first epoch (epoch 0, with the facts and pictures of the data)
            and after each one; what it raises ends the run.
        output_dir: Gets the kept weights and the last ones.
        show_progress: Show a bar or a line an epoch.
        draw: Draw the figures of data, training and corrections; analyses draw theirs in any case.
        test: Without it, as in a search, the test set stays unseen: validation alone is predicted,
            nothing is drawn, corrected, analysed or saved.
        keeper: Keeps a checkpoint after each epoch. Then `on_epoch` is called once it is on the
            disk, which may be an epoch later.
        state: A checkpoint of the run to go on from: there is no epoch 0 then, and the last epoch
            of the checkpoint is told of once more.

    Raises:
        ValueError: Something in the configuration or the data is wrong; the message says what.
    """
    prepared, trained = _until_trained(
        config, on_epoch, show_progress, keeper, state, draw=draw, test=test
    )
    if not test:
        return _validated(*prepared, trained)
    return _evaluate(*prepared, trained, output_dir, draw)


def assist(config: Config, state: dict[str, Any] | None = None) -> None:
    """Take part in the training of a run that another process of the same ``torchrun`` leads.

    Raises:
        ValueError: As `run`.
    """
    _until_trained(config, lambda result: None, False, None, state)


def _until_trained(
    config: Config,
    on_epoch: OnEpoch,
    show_progress: bool,
    keeper: Keeper | None,
    state: dict[str, Any] | None,
    *,
    draw: bool = True,
    test: bool = True,
) -> tuple[Prepared, list[Trained]]:
    choices = prepare.bind(config)
    where = prepare.machine(config)
    data = prepare.load_data(config, choices)
    parts = _parts(config, data, where, test)
    leads = distributed.group().rank == 0
    devices = [where.device] if where.device.type == "cuda" else []
    with torch.random.fork_rng(devices), resume.same_threads(state):
        setting = batch_size.Setting(config, choices, data, where, parts.train)
        config = batch_size.settle(setting)
        model, loaded = prepare.build(config, data, where)
        procedure = stages.first(config, choices, data, model, where)
        facts = _facts(config, data, model, where)
        facts |= stages.facts(config, choices, model, loaded)
        resume.check(state, facts)
        lr, drawn = _learning_rate(config, choices, data, model, where, parts.train, state)
        procedure = dataclasses.replace(procedure, lr=lr)
        if config.lr == "auto":
            facts["lr"] = lr
        if leads:
            if test:
                analyses.get_ready(config.analyses, config.gradcam_layers, model)
            watch = _watch(config, data, procedure, parts)
            procedure = dataclasses.replace(procedure, watch=watch)
        if leads and state is None:
            figures = pictures.of_data(data, procedure) | drawn if draw and test else drawn
            images = procedure.watch(model, 0, procedure.probabilities)
            on_epoch(EpochResult(0, {}, facts=facts, figures=figures, images=images))
        keep = resume.keeping(keeper, config, facts)
        epochs = stages.all_epochs(config, choices)
        with Progress(epochs, enabled=show_progress) as progress, keeper or nothing():
            train = functools.partial(
                fit, train=parts.train, val=parts.val, on_epoch=on_epoch, progress=progress
            )
            try:
                trained = _train(config, choices, model, procedure, train, keep, state)
            except torch.OutOfMemoryError as error:
                problem = batch_size.too_large(setting._replace(config=config), error)
                raise problem from None
    distributed.leave()
    return Prepared(config, data, where, parts, facts), trained


def _train(
    config: Config,
    choices: prepare.Choices,
    model: Classifier,
    procedure: Procedure,
    train: Callable[..., Fit],
    keep: Callable[[Fit | None], Keep],
    state: dict[str, Any] | None,
) -> list[Trained]:
    """Train the one stage or both, from the start or from a checkpoint of either."""
    seeds = prepare.seeds(config.seed)
    torch.manual_seed(seeds(distributed.group().own("dropout")))
    begun, fitted = (None, None) if state is None else resume.begun(state)
    if fitted is None:
        fitted = train(model, procedure=procedure, seeds=seeds, keep=keep(None), state=begun)
        begun = None
    first = Trained(model, procedure, fitted)
    if not stages.has_second(choices):
        return [first]
    return [first, _second_stage(config, choices, first, train, keep(fitted), begun)]


def _second_stage(
    config: Config,
    choices: prepare.Choices,
    first: Trained,
    train: Callable[..., Fit],
    keep: Keep,
    begun: dict[str, Any] | None,
) -> Trained:
    """Train a copy's head on the kept weights of the first stage; `first` is left with these."""

    def seeds(purpose: str) -> int:
        return prepare.seeds(config.seed)(f"stage2/{purpose}")

    first.model.load_state_dict(first.fitted.best)
    model = copy.deepcopy(first.model)
    torch.manual_seed(seeds("weights"))
    procedure = stages.second(config, choices, first.procedure, model, first.fitted.seconds)
    torch.manual_seed(seeds(distributed.group().own("dropout")))
    fitted = train(
        model, procedure=procedure, seeds=seeds, after=first.fitted, keep=keep, state=begun
    )
    return Trained(model, procedure, fitted)


def _watch(
    config: Config, data: prepare.Data, procedure: Procedure, parts: Parts
) -> watching.Watch:
    return watching.watcher(
        config.figure_every,
        parts.train if parts.val is None else parts.val,
        "train" if parts.val is None else "val",
        data,
        procedure,
        gradcam_layers=config.gradcam_layers,
        colormap=config.colormap,
        seed=config.seed,
    )


def _parts(config: Config, data: prepare.Data, where: prepare.Machine, test: bool) -> Parts:
    def part(name: str) -> Batches:
        return prepare.part(data, name, config, where.device)

    if not test and not len(data.split.val):
        raise ValueError(
            "without the test set a run needs validation images, "
            f"got validation={config.validation}"
        )
    val = part("val") if len(data.split.val) else None
    return Parts(part("train"), val, part("test") if test else None)


def _facts(
    config: Config, data: prepare.Data, model: Classifier, where: prepare.Machine
) -> dict[str, Any]:
    """What was found out and decided before training, for the record."""
    parameters = complexity.count_parameters(model, without="decoder")
    return {
        "fingerprint": data.fingerprint,
        "class_names": list(data.image_set.class_names),
        "train_counts": data.class_counts.tolist(),
        "images": {name: len(rows) for name, rows in data.split._asdict().items()},
        "skipped_images": list(data.image_set.skipped),
        "image_size": data.image_size,
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
        "parameters": parameters.total,
        "trainable_parameters": parameters.trainable,
        "frozen_parameters": parameters.total - parameters.trainable,
        "stem": model.stem,
        "batch_size": config.batch_size,
        "processes": distributed.group().size,
        "device": where.device.type,
        "precision": where.precision,
        "memory_format": "channels_last" if where.channels_last else "contiguous",
        "threads": torch.get_num_threads(),
    }


def _validated(
    config: Config,
    data: prepare.Data,
    where: prepare.Machine,
    parts: Parts,
    facts: dict[str, Any],
    trained: list[Trained],
) -> RunResult:
    """The kept epoch on validation, and nothing else."""
    model, procedure, fitted = trained[-1]
    model.load_state_dict(fitted.best)
    model.eval()
    val = _predict(model, parts.val, procedure)
    return RunResult(
        config=config,
        metrics=_selected(val, procedure, data, fitted) | _costs(fitted),
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


def _evaluate(
    config: Config,
    data: prepare.Data,
    where: prepare.Machine,
    parts: Parts,
    facts: dict[str, Any],
    trained: list[Trained],
    output_dir: Path,
    draw: bool,
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
    val = None if parts.val is None else _predict(model, parts.val, procedure)
    if val is not None:
        found |= _selected(val, procedure, data, fitted)
    assert parts.test is not None
    free = corrections.after_training(
        config, model, parts.test, procedure, data, val, test, draw=draw
    )
    figures = pictures.of_training(fitted, data) if draw else {}
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


def _learning_rate(
    config: Config,
    choices: prepare.Choices,
    data: prepare.Data,
    model: Classifier,
    where: prepare.Machine,
    train: Batches,
    state: dict[str, Any] | None,
) -> tuple[float, dict[str, Any]]:
    """The learning rate, and where it comes from a range test the figure of that."""
    if config.lr != "auto":
        return config.lr, {}
    if state is not None:
        return float(state["facts"]["lr"]), {}
    tested = learning_rates.range_test(config, choices, data, model, where, train)
    return tested.suggestion, {"lr_range_test": learning_rates.figure(tested)}


def _decoded(
    config: Config, data: prepare.Data, parts: Parts, trained: list[Trained]
) -> tuple[dict[str, float], dict[str, Any]]:
    """What the decoder makes of the test images; then it is taken off, as it stays in the lab."""
    first = trained[0]
    drawn: tuple[dict[str, float], dict[str, Any]] = {}, {}
    if first.procedure.reconstruct:
        assert parts.test is not None
        first.model.load_state_dict(first.fitted.best)
        drawn = reconstructions.after_training(
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


def _few(
    found: Predictions, procedure: Procedure, data: prepare.Data, part: str
) -> dict[str, float]:
    values = _metrics(found, procedure, data.class_counts)
    return metrics.prefixed({name: values[name] for name in _FEW}, part)


def _selected(
    found: Predictions, procedure: Procedure, data: prepare.Data, fitted: Fit
) -> dict[str, float]:
    """The kept epoch on validation, and how sure the metric that chose it is."""
    predictions = procedure.probabilities(torch.from_numpy(found.logits)).numpy().argmax(1)
    error = intervals.standard_error_of_balanced_accuracy(
        found.targets, predictions, data.num_classes
    )
    return _few(found, procedure, data, "selected_val") | {
        "selected_val/balanced_accuracy_standard_error": error,
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
            "config": prepare.as_dict(config),
            "facts": facts,
        }
        checkpoint.save(saved[name], content)
    return saved
