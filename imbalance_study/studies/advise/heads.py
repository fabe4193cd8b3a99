"""Heads on features that are in memory: trained by the training loop of every run, then predicting.

Loss, sampler, class weights, mixing, resampling and second stage are those of a run with
``space=features``. A head lacks the backbone and the images alone.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imbalance_study.config import choices as registry
from imbalance_study.config.choice import with_trait
from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config
from imbalance_study.data.image_set import ImageSet, Split
from imbalance_study.data.loader import Batches
from imbalance_study.data.report import DataReport
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.components import Choices, bind
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import CPU
from imbalance_study.experiment.setup.features import on_features
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.experiment.setup.seeding import seeds
from imbalance_study.models.classifier import Classifier
from imbalance_study.studies.advise import stacked
from imbalance_study.training.callback import Callback
from imbalance_study.training.loop import fit
from imbalance_study.training.procedure import Procedure

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

# A head sees each image once in each epoch, in batches of 64 or, of large sets, up to 512; small
# sets make the least number of updates.
EPOCHS, _LEAST_STEPS, _MOST_STEPS = 20, 10, 100
_BATCHES = (64, 128, 256, 512)


class Remedy(NamedTuple):
    """A remedy for the head: its options, bound to their functions."""

    name: str
    options: Mapping[str, Any]  # beside those of all heads
    config: Config
    choices: Choices


class FeatureSet(NamedTuple):
    """Images as features of a frozen backbone, in memory."""

    features: npt.NDArray[np.float32]  # (N, F)
    labels: npt.NDArray[np.int64]  # (N,)
    class_names: tuple[str, ...]  # (C,)
    groups: npt.NDArray[np.int64]  # (N,): images of one group stay together; or empty

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Images of each class (C,)."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    def image_set(self) -> ImageSet:
        """Return the labels and groups as an image set without images."""
        nothing = np.empty(0, np.int64)
        return ImageSet(
            *("features", np.empty((0, 1, 1, 3), np.uint8), self.labels, self.class_names, ()),
            *(np.arange(len(self.labels)), nothing, nothing, self.groups, ()),
        )

    def rows(self, rows: Ints) -> FeatureSet:
        """Return some of the images."""
        groups = self.groups[rows] if len(self.groups) else self.groups
        return FeatureSet(self.features[rows], self.labels[rows], self.class_names, groups)


@dataclasses.dataclass(frozen=True)
class Head:
    """A trained head."""

    model: Classifier
    of_logits: Callable[[Tensor], Tensor]  # probabilities (N, C) of logits (N, C)

    def logits(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (N, C) of features (N, F)."""
        self.model.eval()
        with torch.inference_mode():
            found: npt.NDArray[np.float32] = self.model.forward_head(
                torch.from_numpy(features)
            ).numpy()
        return found

    def probabilities(self, features: npt.NDArray[np.float32]) -> Floats:
        """Return probabilities (N, C) of features (N, F), as the loss means them."""
        logits = torch.from_numpy(self.logits(features))
        found: Floats = self.of_logits(logits).double().numpy()
        return found


def remedy(name: str, options: Mapping[str, Any], train_images: int) -> Remedy:
    """Bind the options of a remedy for heads that train on so many images.

    All remedies make the same number of updates.

    Raises:
        ValueError: An unknown option, or a combination that makes no sense.
    """
    batch = next((b for b in _BATCHES if train_images <= b * _MOST_STEPS), _BATCHES[-1])
    steps = int(np.clip(round(train_images / batch), _LEAST_STEPS, _MOST_STEPS))
    common: dict[str, Any] = {
        "dataset": "imagefolder",
        "model": "efficientnet_lite0",
        "weights": "imagenet",
        "freeze": "head_only",
        "space": "features",
        "validation": "none",
        "select_by": "last",
        "epochs": EPOCHS,
        "batch_size": batch,
        "steps_per_epoch": steps,
        "device": "cpu",
        "precision": "fp32",
    }
    config = make(**common | dict(options))
    return Remedy(name, options, config, bind(config))


def train(
    remedy: Remedy, images: FeatureSet, rows: Sequence[Ints], seeds_of: Sequence[int]
) -> list[Head]:
    """Train a head with a remedy on each of some subsets of the images.

    Args:
        remedy: How to train.
        images: All images.
        rows: Those to train on, of each head.
        seeds_of: Seed of weights, order and draws, of each head.

    Raises:
        ValueError: The remedy cannot be used on these images: resampling needs neighbours.
    """
    sigmoid = remedy.choices.loss.name in with_trait(registry.LOSSES, "sigmoid")
    if remedy.choices.has_second_stage or sigmoid:
        return [alone(remedy, images, *of) for of in zip(rows, seeds_of, strict=True)]
    inputs, models, parts = [], [], []
    for some, seed in zip(rows, seeds_of, strict=True):
        own = _inputs(remedy, images.rows(some), seed)
        with torch.random.fork_rng([]):
            torch.manual_seed(own.seeds("weights"))
            models.append(_head(images.features.shape[1], own))
        inputs.append(own)
        parts.append(_part(remedy, images, some, seed))
    stacked.fit(models, parts, inputs)
    of_logits = procedures.probabilities(remedy.choices.loss)
    return [Head(model, of_logits) for model in models]


def alone(remedy: Remedy, images: FeatureSet, rows: Ints, seed: int) -> Head:
    """Train one head by the training loop of every run; see `train`."""
    part = images.rows(rows)
    inputs = _inputs(remedy, part, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(inputs.seeds("weights"))
        model = _head(images.features.shape[1], inputs)
        procedure = procedures.first(inputs, model, _lr(remedy.config))
        train = _batches(remedy, part, seed)
        torch.manual_seed(inputs.seeds("dropout"))
        procedure = on_features(procedure)
        fitted = fit(model, train, None, procedure, seeds=inputs.seeds, callback=Callback())
        if not remedy.choices.has_second_stage:
            return Head(model, procedure.probabilities)
        model = copy.deepcopy(model)
        torch.manual_seed(inputs.seeds("stage2/weights"))
        procedure = on_features(procedures.second(inputs, procedure, model, fitted.seconds))
        _fit_second(model, train, procedure, inputs.seeds)
        return Head(model, procedure.probabilities)


def _fit_second(
    model: Classifier, train: Batches, procedure: Procedure, of: Callable[[str], int]
) -> None:
    def seeds_of(purpose: str) -> int:
        return of(f"stage2/{purpose}")

    fit(model, train, None, procedure, seeds=seeds_of, callback=Callback())


def _lr(config: Config) -> float:
    if config.lr == "auto":
        raise ValueError("a head takes a number as lr, got auto")
    return config.lr


def _head(num_features: int, inputs: RunInputs) -> Classifier:
    """Build a classifier of features (N, F) without a backbone."""
    plain = nn.Sequential(nn.Identity(), nn.Linear(num_features, inputs.data.num_classes))
    model = Classifier(plain, image_size=1)
    if inputs.choices.head != "last":
        model.reset_classifier(inputs.data.num_classes, inputs.choices.head)
    return model.on_features()


def _resampled(
    remedy: Remedy, part: FeatureSet, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return features and labels, with those that resampling adds."""
    if remedy.choices.resample is None:
        return part.features, part.labels
    drawn = seeds(seed)("resample") % 2**32
    resample = remedy.choices.resample.function
    values, labels = resample(part.features, part.labels, drawn, class_names=part.class_names)
    return values, labels


def _batches(remedy: Remedy, part: FeatureSet, seed: int) -> Batches:
    values, labels = _resampled(remedy, part, seed)
    return Batches(values, labels, np.arange(len(labels)), CPU.device, resident=True)


def _part(remedy: Remedy, images: FeatureSet, rows: Ints, seed: int) -> stacked.Part:
    if remedy.choices.resample is None:  # no copy of the features
        chosen = torch.from_numpy(np.asarray(rows))
        labels = torch.from_numpy(images.labels[rows])
        return stacked.Part(torch.from_numpy(images.features), chosen, labels)
    values, targets = _resampled(remedy, images.rows(rows), seed)
    every = torch.arange(len(targets))
    return stacked.Part(torch.from_numpy(values), every, torch.from_numpy(targets))


def _inputs(remedy: Remedy, part: FeatureSet, seed: int) -> RunInputs:
    """Return the inputs of a training without images: names and counts of the classes alone."""
    image_set = part.image_set()
    data = Data(
        image_set,
        Split(image_set.train, image_set.val, image_set.test),
        image_set.images,
        part.labels,
        image_set.train,
        part.counts,
        np.zeros(3),
        np.ones(3),
        {},
        DataReport(part.class_names, {}),
    )
    config = dataclasses.replace(remedy.config, seed=seed)
    return RunInputs(config, remedy.choices, CPU, data, None)
