"""One experiment, from a Config to a result: the page that tells the whole story.

Data are loaded and cut, a model is built and trained in one stage or two, the kept epoch and the
last one each predict the test set once, and the result is returned. Nothing here knows MLflow.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.experiment import auto_batch_size, auto_lr, energy, evaluate, resume
from imbalance_study.experiment import figures as run_figures
from imbalance_study.experiment.analyses import registry as analyses
from imbalance_study.experiment.analyses.context import HeatmapOptions
from imbalance_study.experiment.monitor import Monitor
from imbalance_study.experiment.reporter import OnEpoch, Reporter
from imbalance_study.experiment.result import RunResult, RunStart, TrainedStage, TrainingResult
from imbalance_study.experiment.setup import features as features_setup
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.build import RunSetup, build
from imbalance_study.experiment.setup.device import kernels_tried, resolve_device
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.features import FeatureParts
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import distributed, snapshot
from imbalance_study.training.callback import Callback, Callbacks
from imbalance_study.training.checkpointing import Keeper
from imbalance_study.training.loop import fit
from imbalance_study.training.procedure import EpochResult, Fit, Procedure
from imbalance_study.training.progress import Progress


class Checkpoints(NamedTuple):
    """The checkpoints that a run writes, and the one that it goes on from."""

    keeper: Keeper | None = None  # keeps one after each epoch
    state: dict[str, Any] | None = None  # the content of the last one


NO_CHECKPOINTS = Checkpoints()


def _ignore(result: EpochResult) -> None:
    """Do nothing after an epoch."""


def run(
    config: Config,
    on_epoch: OnEpoch = _ignore,
    *,
    output_dir: Path,
    show_progress: bool = True,
    draw: bool = True,
    checkpoints: Checkpoints = NO_CHECKPOINTS,
    local: LocalFiles | None = None,
) -> RunResult:
    """Train and evaluate one configuration.

    Args:
        config: As `resolve.make` or `resolve.resolve` give it.
        on_epoch: Called with a `RunStart` before the first epoch and with each epoch after it;
            what it raises ends the run. A run that goes on has no start, and reports the last
            epoch of the checkpoint once more.
        output_dir: Gets the kept weights and the last ones.
        show_progress: Show a bar or a line an epoch.
        draw: Draw the figures of data, training and corrections; analyses draw theirs in any case.
        checkpoints: With a keeper, `on_epoch` is called once the checkpoint of the epoch is on the
            disk, which may be an epoch later.
        local: Downloaded weights, and images in memory.

    Raises:
        ValueError: Something in the configuration or the data is wrong; the message says what.
    """
    training = _Training(config, on_epoch, show_progress, draw, checkpoints, local)
    setup, stages = training.train()
    return evaluate.evaluate_on_test(
        setup,
        setup.parts.need_test(),
        stages,
        output_dir,
        draw=draw,
        umap_warm_up=training.warm_up.thread,
    )


def run_without_test(
    config: Config,
    on_epoch: OnEpoch = _ignore,
    *,
    show_progress: bool = True,
    checkpoints: Checkpoints = NO_CHECKPOINTS,
    local: LocalFiles | None = None,
) -> TrainingResult:
    """Train one configuration and score it on validation alone, as a search does.

    The test set stays unseen; nothing is drawn, corrected, analysed or saved.

    Args:
        config: With a validation part.
        on_epoch: See `run`.
        show_progress: Show a bar or a line an epoch.
        checkpoints: See `run`.
        local: Downloaded weights, and images in memory.

    Raises:
        ValueError: As `run`, or there are no validation images.
    """
    training = _Training(config, on_epoch, show_progress, False, checkpoints, local, test=False)
    setup, stages = training.train()
    return evaluate.evaluate_on_validation(setup, setup.parts.need_val(), stages)


def assist(
    config: Config, state: dict[str, Any] | None = None, local: LocalFiles | None = None
) -> None:
    """Take part in the training of a run that another process of the same ``torchrun`` leads.

    Raises:
        ValueError: As `run`.
    """
    _Training(config, _ignore, False, False, Checkpoints(state=state), local).train()


@dataclasses.dataclass
class _Training:
    """The training of a run, from its configuration to its finished stages."""

    config: Config
    on_epoch: OnEpoch
    show_progress: bool
    draw: bool
    checkpoints: Checkpoints
    local: LocalFiles | None
    test: bool = True
    warm_up: analyses.WarmUp = dataclasses.field(default_factory=analyses.WarmUp)

    def train(self) -> tuple[RunSetup, list[TrainedStage]]:
        """Build the set-up and train its stages."""
        keeper, state = self.checkpoints
        before = resume.facts_of(state)
        with _isolated(self.config, before):
            setup = build(self.config, self.local, test=self.test, before=before)
            resume.check(state, setup.facts)
            if self.show_progress:
                print("\n".join(setup.data.report.lines()), flush=True)
            if self.show_progress and (line := features_setup.in_words(setup, setup.features)):
                print(line, file=sys.stderr, flush=True)
            reporter = self._start(setup)
            epochs = procedures.all_epochs(setup.config, setup.choices)
            progress = Progress(epochs, enabled=self.show_progress)
            device = setup.device_setup.device
            energy.reset_memory(device)
            meter = energy.Meter(self._counters(device))
            with progress, keeper or contextlib.nullcontext():
                optimizer = setup.procedure.optimizer
                advised = auto_batch_size.advised(setup, setup.parts.train, setup.model, optimizer)
                with advised, meter:
                    stages = self._stages(
                        setup, reporter, Callbacks(progress, reporter, self.warm_up)
                    )
        distributed.leave()
        stages[-1] = stages[-1]._replace(spent=energy.spent(meter, device))
        return setup, stages

    def _counters(self, device: torch.device) -> list[energy.Counter]:
        """List the counters of energy that count this whole training and no other one of ours."""
        whole = self.checkpoints.state is None and distributed.group().size == 1
        if not whole or multiprocessing.parent_process() is not None:
            return []
        return [*energy.rapl(), *energy.nvml(device)]

    def _start(self, setup: RunSetup) -> Reporter:
        """Check the analyses, report the start, and return what reports the epochs."""
        if distributed.group().rank:
            return Reporter(setup, self.on_epoch)
        heatmaps = HeatmapOptions.of(setup.config)
        if self.test:
            self.warm_up.wanted = analyses.check(
                setup.config.analyses, heatmaps.layers, setup.model
            )
        monitor = Monitor(setup, heatmaps)
        if self.checkpoints.state is None:
            images = monitor.look(setup.model, 0, setup.procedure.probabilities)
            self.on_epoch(
                RunStart(
                    *(0, {}),
                    images=images,
                    facts=setup.facts,
                    report=setup.data.report,
                    draw=functools.partial(self._figures, setup),
                )
            )
        return Reporter(setup, self.on_epoch, monitor, self.checkpoints.keeper)

    def _figures(self, setup: RunSetup) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        if self.draw:
            figures |= run_figures.of_data(setup.data, setup.procedure)
        if setup.range_test is not None:
            figures["lr_range_test"] = auto_lr.figure(setup.range_test)
        return figures

    def _stages(
        self, setup: RunSetup, reporter: Reporter, callback: Callback
    ) -> list[TrainedStage]:
        """Train the one stage or both, from the start or from a checkpoint of either."""
        torch.manual_seed(setup.seeds(distributed.group().own("dropout")))
        state = self.checkpoints.state
        begun, fitted = (None, None) if state is None else resume.begun(state)
        if fitted is None:
            fitted = fit(
                *_ground(setup, setup.model, setup.procedure, setup.features),
                seeds=setup.seeds,
                callback=callback,
                state=begun,
            )
            begun = None
        first = _trained(setup.model, setup.procedure, fitted, setup.features)
        if not setup.choices.has_second_stage:
            return [first]
        reporter.begin_second_stage(fitted)
        return [first, _second_stage(setup, first, callback, begun)]


def _second_stage(
    setup: RunSetup,
    first: TrainedStage,
    callback: Callback,
    begun: snapshot.Snapshot | None,
) -> TrainedStage:
    """Train a copy's head on the kept weights of the first stage; `first` is left with these."""

    def seeds(purpose: str) -> int:
        return setup.seeds(f"stage2/{purpose}")

    first.model.load_state_dict(first.fit.best)
    model = copy.deepcopy(first.model)
    torch.manual_seed(seeds("weights"))
    procedure = procedures.second(setup, first.procedure, model, first.fit.seconds)
    features = _features_of_second(setup, first, model)
    torch.manual_seed(seeds(distributed.group().own("dropout")))
    fitted = fit(
        *_ground(setup, model, procedure, features),
        seeds=seeds,
        callback=callback,
        after=first.fit,
        state=begun,
    )
    return _trained(model, procedure, fitted, features)


class _Ground(NamedTuple):
    """The first arguments of `fit`: on images, or on the features of a frozen backbone."""

    model: Classifier
    train: Batches
    val: Batches | None
    procedure: Procedure


def _ground(
    setup: RunSetup, model: Classifier, procedure: Procedure, features: FeatureParts | None
) -> _Ground:
    if features is None:
        return _Ground(model, setup.parts.train, setup.parts.val, procedure)
    parts, views = features.parts, setup.config.feature_views
    procedure = features_setup.on_features(procedure, views)
    return _Ground(model.on_features(), parts.train, parts.val, procedure)


def _trained(
    model: Classifier, procedure: Procedure, fitted: Fit, features: FeatureParts | None
) -> TrainedStage:
    if features is not None:
        fitted = features_setup.with_backbone(model, fitted)
    return TrainedStage(model, procedure, fitted, features)


def _features_of_second(
    setup: RunSetup, first: TrainedStage, model: Classifier
) -> FeatureParts | None:
    """Return the features that the second stage trains on; None where it needs images."""
    if first.features is not None or not features_setup.second_stage_pays(setup):
        return first.features
    return features_setup.in_memory(setup, first.procedure, model, setup.parts)


@contextlib.contextmanager
def _isolated(config: Config, before: RunFacts | None) -> Iterator[None]:
    """Leave torch's generators and its number of threads as they were."""
    device = resolve_device(config).device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), resume.same_threads(before), kernels_tried(device):
        yield
