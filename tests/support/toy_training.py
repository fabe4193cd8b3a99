"""Thirty small images, a small network, and `fit` on them: what the tests of training share."""

import copy
import dataclasses

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from imbalance_study.data import samplers
from imbalance_study.data.loader import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import losses, optim, schedules
from imbalance_study.training.callback import Callback
from imbalance_study.training.loop import fit
from imbalance_study.training.procedure import Procedure

CPU = torch.device("cpu")

COUNTS = (18, 8, 4)

NUM = sum(COUNTS)

LABELS = np.repeat(np.arange(3), COUNTS)


def images_of_noise():
    """Noise around a grey that is darker the rarer the class."""
    pixels = (
        np.random.default_rng(0).integers(0, 90, (NUM, 6, 6, 3))
        + 80 * (2 - LABELS)[:, None, None, None]
    )
    return pixels.astype(np.uint8)


IMAGES = images_of_noise()


def batches_of(rows=None, resident=True):
    rows = np.arange(NUM) if rows is None else np.asarray(rows)
    return Batches(IMAGES, LABELS, rows, CPU, resident=resident)


def model_of(seed=0, batch_norm=True):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        norm = nn.BatchNorm2d(4) if batch_norm else nn.Identity()
        body = (nn.Conv2d(3, 4, 3, stride=2), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        return Classifier(nn.Sequential(*body, nn.Flatten(), nn.Linear(4, 3)), image_size=6)


def normalise(images):
    return images.float() / 255 - 0.5


def no_augmentation(images, generator):
    return images


def noise(images, generator):
    return images + torch.randint(0, 5, images.shape, generator=generator, dtype=torch.uint8)


def procedure_of(model, *, lr=0.05, optimizer=None, **changes):
    plain = Procedure(
        loss=losses.cross_entropy,
        probabilities=lambda logits: logits.softmax(1),
        class_counts=torch.tensor([float(n) for n in COUNTS]),
        class_weights=torch.ones(3),
        sampler=samplers.shuffle,
        augment=no_augmentation,
        normalise=normalise,
        optimizer=optimizer or optim.sgd(model.parameters(), lr=lr, weight_decay=0.0),
        schedule=schedules.constant,
        lr=lr,
        epochs=3,
        batch_size=8,
    )
    return dataclasses.replace(plain, **changes)


class Listener(Callback):
    """Hands the result of each epoch on."""

    def __init__(self, on_epoch):
        self._on_epoch = on_epoch

    def on_epoch_end(self, state):
        self._on_epoch(state.result)


def fit_toy(
    model, procedure, *, train=None, val=None, seed=0, on_epoch=lambda result: None, after=None
):
    return fit(
        model,
        train or batches_of(),
        val,
        procedure,
        seeds=lambda purpose: 1000 * seed + len(purpose),
        callback=Listener(on_epoch),
        after=after,
    )


def untimed(fitted):
    return [
        {name: value for name, value in epoch.metrics.items() if not name.startswith("time/")}
        for epoch in fitted.history
    ]


def same_weights(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def only_the_rarest(targets, generator):
    return torch.arange(len(targets))[targets == 2].repeat(5)


def recorded_loss(seen):
    def loss(logits, targets, class_counts):
        seen.append(targets)
        return F.cross_entropy(logits, targets, reduction="none")

    return loss


TARGETS = torch.from_numpy(LABELS)

WEIGHTS = torch.tensor([0.3, 0.9, 1.8])


def copy_of(snapshot):
    """A snapshot with tensors of its own, which the training does not change."""
    return copy.deepcopy(snapshot)
