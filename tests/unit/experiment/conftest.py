"""A run set up by hand: thirty-odd images of 8 px, three classes, a model of one convolution."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from imbalance_study.config.resolve import make
from imbalance_study.data import report
from imbalance_study.data.image_set import ImageSet, Split
from imbalance_study.experiment.analyses.context import EvaluationContext
from imbalance_study.experiment.result import TrainedStage
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.build import RunSetup
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import Data, parts_of
from imbalance_study.experiment.setup.device import CPU
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.best_epoch import cpu_state
from imbalance_study.training.predict import predict
from imbalance_study.training.procedure import EpochResult, Fit

NAMES = ("oak", "ash", "elm")
COUNTS = {"train": (12, 6, 3), "val": (2, 2, 2), "test": (4, 4, 4)}
OPTIONS = {
    "dataset": "digits",
    "model": "resnet20",
    "image_size": 8,
    "epochs": 2,
    "batch_size": 8,
    "device": "cpu",
    "analyses": "none",
}


@pytest.fixture
def make_data():
    """A function that gives images whose grey tells their class, cut into parts."""

    def make_it(counts=COUNTS, side=8):
        labels = np.concatenate([np.repeat(np.arange(3), count) for count in counts.values()])
        ends = np.cumsum([sum(count) for count in counts.values()])
        split = Split(*np.split(np.arange(ends[-1]), ends[:-1]))
        noise = np.random.default_rng(0).integers(0, 60, (len(labels), side, side, 3))
        images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
        files = tuple(f"{NAMES[label]}/{row}.png" for row, label in enumerate(labels))
        nothing = np.empty(0, np.int64)
        image_set = ImageSet("trees", images, labels, NAMES, files, *split, nothing, ())
        pixels = images[split.train] / 255
        return Data(
            image_set=image_set,
            split=split,
            train_images=images,
            train_labels=labels,
            train_rows=split.train,
            class_counts=np.bincount(labels[split.train]),
            mean=pixels.mean((0, 1, 2)),
            std=pixels.std((0, 1, 2)),
            fingerprint={"fingerprint": "ab12"},
            report=report.make(NAMES, labels, split._asdict()),
        )

    return make_it


@pytest.fixture
def make_inputs(make_data):
    """A function that gives the inputs of a run with some options."""

    def make_it(data=None, **options):
        config = make(**OPTIONS | options)
        data = make_data(side=config.image_size) if data is None else data
        return RunInputs(config, bind(config), CPU, data, None)

    return make_it


@pytest.fixture
def make_model():
    """A function that gives a small model; another seed gives other weights."""

    def make_it(seed=0):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
            body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 3))
            return Classifier(body, image_size=8).eval()

    return make_it


@pytest.fixture
def make_setup(make_inputs, make_model):
    """A function that gives a run that is ready to train."""

    def make_it(net=None, data=None, **options):
        inputs = make_inputs(data, **options)
        model = make_model() if net is None else net
        return RunSetup(
            **{field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)},
            parts=parts_of(inputs.data, inputs.config, CPU.device),
            model=model,
            procedure=procedures.first(inputs, model, 0.1),
            facts=RunFacts.from_dict({"fingerprint": inputs.data.fingerprint, "device": "cpu"}),
            range_test=None,
        )

    return make_it


@pytest.fixture
def make_stage():
    """A function that gives a finished stage of a set-up, of epochs that were never trained."""

    def make_it(setup, epochs=2, best_epoch=2, best=None):
        metrics = {"train/loss": 1.0, "train/accuracy": 0.5, "train/lr": 0.1}
        for name in ("loss", "accuracy", "balanced_accuracy", "macro_f1"):
            metrics[f"val/{name}"] = 0.5
        history = [
            EpochResult(number, metrics | {"val/accuracy": number / 10}, np.array([0.5, 1, 0]),
                        np.array([5, 5, 5]))
            for number in range(1, epochs + 1)
        ]  # fmt: skip
        state = cpu_state(setup.model)
        fit = Fit(history, best or state, state, best_epoch, 2.0, 42, 6, "all epochs done")
        return TrainedStage(setup.model, setup.procedure, fit)

    return make_it


@pytest.fixture
def make_context(make_setup, make_stage):
    """A function that gives the input of an analysis."""

    def make_it(setup=None, **changes):
        setup = make_setup() if setup is None else setup
        stage = make_stage(setup)
        test = predict(setup.model, setup.parts.test, setup.procedure.normalise, features=True)
        plain = EvaluationContext(
            setup.model, setup.data, CPU.device, setup.procedure, stage.fit, test
        )
        return dataclasses.replace(plain, **changes)

    return make_it
