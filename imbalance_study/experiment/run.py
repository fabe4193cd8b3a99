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
from typing import Any

import torch

from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.experiment import (
    auto_batch_size,
    auto_lr,
    auto_precision,
    evaluate,
    monitor,
)
from imbalance_study.experiment import (
    figures as run_figures,
)
from imbalance_study.experiment import (
    resume as checkpoint_resume,
)
from imbalance_study.experiment.analyses import registry as analyses
from imbalance_study.experiment.result import Parts, Prepared, RunResult, Trained
from imbalance_study.experiment.setup import build, procedures, seeding
from imbalance_study.experiment.setup.components import Choices, bind
from imbalance_study.experiment.setup.data import Data, batches_of, load_data
from imbalance_study.experiment.setup.device import DeviceSetup, resolve_device
from imbalance_study.models import profiling
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import distributed
from imbalance_study.training.checkpointing import Keeper
from imbalance_study.training.loop import EpochResult, Fit, Keep, Procedure, fit
from imbalance_study.training.progress import Progress

OnEpoch = Callable[[EpochResult], None]


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
        config: As `decisions.make` or `decisions.resolve` give it.
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
        return evaluate.validated(*prepared, trained)
    return evaluate.evaluated(*prepared, trained, output_dir, draw=draw)


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
    choices = bind(config)
    where = resolve_device(config)
    data = load_data(config, choices)
    parts = _parts(config, data, where, test)
    leads = distributed.group().rank == 0
    devices = [where.device] if where.device.type == "cuda" else []
    with torch.random.fork_rng(devices), checkpoint_resume.same_threads(state):
        setting = auto_batch_size.Setting(config, choices, data, where, parts.train)
        config = auto_batch_size.settle(setting)
        setting = setting._replace(config=config)
        where, verdict = auto_precision.settle(setting, state)
        setting = setting._replace(where=where)
        model, loaded = build.build(config, data, where)
        procedure = procedures.first(config, choices, data, model, where)
        facts = _facts(config, data, model, where) | auto_precision.facts(where, verdict)
        facts |= procedures.facts(config, choices, model, loaded)
        checkpoint_resume.check(state, facts)
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
            figures = run_figures.of_data(data, procedure) | drawn if draw and test else drawn
            images = procedure.watch(model, 0, procedure.probabilities)
            on_epoch(EpochResult(0, {}, facts=facts, figures=figures, images=images))
        keep = checkpoint_resume.keeping(keeper, config, facts)
        epochs = procedures.all_epochs(config, choices)
        with Progress(epochs, enabled=show_progress) as progress, keeper or nothing():
            train = functools.partial(
                fit, train=parts.train, val=parts.val, on_epoch=on_epoch, progress=progress
            )
            try:
                trained = _train(config, choices, model, procedure, train, keep, state)
            except torch.OutOfMemoryError as error:
                raise auto_batch_size.too_large(setting, error) from None
    distributed.leave()
    return Prepared(config, data, where, parts, facts), trained


def _train(
    config: Config,
    choices: Choices,
    model: Classifier,
    procedure: Procedure,
    train: Callable[..., Fit],
    keep: Callable[[Fit | None], Keep],
    state: dict[str, Any] | None,
) -> list[Trained]:
    """Train the one stage or both, from the start or from a checkpoint of either."""
    seeds = seeding.seeds(config.seed)
    torch.manual_seed(seeds(distributed.group().own("dropout")))
    begun, fitted = (None, None) if state is None else checkpoint_resume.begun(state)
    if fitted is None:
        fitted = train(model, procedure=procedure, seeds=seeds, keep=keep(None), state=begun)
        begun = None
    first = Trained(model, procedure, fitted)
    if not procedures.has_second(choices):
        return [first]
    return [first, _second_stage(config, choices, first, train, keep(fitted), begun)]


def _second_stage(
    config: Config,
    choices: Choices,
    first: Trained,
    train: Callable[..., Fit],
    keep: Keep,
    begun: dict[str, Any] | None,
) -> Trained:
    """Train a copy's head on the kept weights of the first stage; `first` is left with these."""

    def seeds(purpose: str) -> int:
        return seeding.seeds(config.seed)(f"stage2/{purpose}")

    first.model.load_state_dict(first.fitted.best)
    model = copy.deepcopy(first.model)
    torch.manual_seed(seeds("weights"))
    procedure = procedures.second(config, choices, first.procedure, model, first.fitted.seconds)
    torch.manual_seed(seeds(distributed.group().own("dropout")))
    fitted = train(
        model, procedure=procedure, seeds=seeds, after=first.fitted, keep=keep, state=begun
    )
    return Trained(model, procedure, fitted)


def _watch(config: Config, data: Data, procedure: Procedure, parts: Parts) -> monitor.Watch:
    return monitor.watcher(
        config.figure_every,
        parts.train if parts.val is None else parts.val,
        "train" if parts.val is None else "val",
        data,
        procedure,
        gradcam_layers=config.gradcam_layers,
        colormap=config.colormap,
        seed=config.seed,
    )


def _parts(config: Config, data: Data, where: DeviceSetup, test: bool) -> Parts:
    def part(name: str) -> Batches:
        return batches_of(data, name, config, where.device)

    if not test and not len(data.split.val):
        raise ValueError(
            "without the test set a run needs validation images, "
            f"got validation={config.validation}"
        )
    val = part("val") if len(data.split.val) else None
    return Parts(part("train"), val, part("test") if test else None)


def _facts(config: Config, data: Data, model: Classifier, where: DeviceSetup) -> dict[str, Any]:
    """What was found out and decided before training, for the record."""
    parameters = profiling.count_parameters(model, without="decoder")
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
        "threads": torch.get_num_threads(),
    }


def _learning_rate(
    config: Config,
    choices: Choices,
    data: Data,
    model: Classifier,
    where: DeviceSetup,
    train: Batches,
    state: dict[str, Any] | None,
) -> tuple[float, dict[str, Any]]:
    """The learning rate, and where it comes from a range test the figure of that."""
    if config.lr != "auto":
        return config.lr, {}
    if state is not None:
        return float(state["facts"]["lr"]), {}
    tested = auto_lr.range_test(config, choices, data, model, where, train)
    return tested.suggestion, {"lr_range_test": auto_lr.figure(tested)}
