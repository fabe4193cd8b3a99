"""Records of a training: how to train, the result of an epoch, and the finished training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imbalance_study.models.classifier import Classifier
from imbalance_study.training.best_epoch import State
from imbalance_study.training.predict import Precision


@dataclasses.dataclass(frozen=True)
class EpochResult:
    """Results of an epoch; epoch 0 is the moment before the first."""

    epoch: int  # finished epochs
    metrics: dict[str, float]
    val_recall: npt.NDArray[np.float64] | None = None  # (C,)
    drawn: npt.NDArray[np.int64] | None = None  # (C,) images of each class that the epoch showed
    images: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # key -> Figure of watched images, while the epoch is reported


class EarlyStopping(NamedTuple):
    """A rule that ends a training early."""

    metric: str
    should_stop: Callable[[Sequence[float]], bool]  # given the metric of each epoch, higher better


@dataclasses.dataclass(frozen=True)
class Procedure:
    """Everything that `fit` takes beside the model and the data."""

    loss: Callable[..., Tensor]
    probabilities: Callable[[Tensor], Tensor]  # logits (N, C) -> (N, C)
    class_counts: Tensor  # (C,) float, on the device
    class_weights: Tensor  # (C,) summing to C, on the device; ones where none are used
    sampler: Callable[..., Tensor]
    augment: Callable[[Tensor, torch.Generator], Tensor]
    normalise: Callable[[Tensor], Tensor]  # uint8 -> float
    optimizer: torch.optim.Optimizer
    schedule: Callable[..., float]
    lr: float
    epochs: int
    batch_size: int
    views: int = 1  # rows of each image in the training part, of which an epoch shows one
    tail_augment: Callable[..., Tensor] | None = None
    mix: Callable[..., Any] | None = None
    defer: float = 0.0
    hard_fraction: float = 1.0
    supcon: float = 0.0
    steps_per_epoch: int = 0
    grad_clip: float = 0.0
    ema_decay: float = 0.0  # 0: no average
    select_by: str = "last"
    early_stopping: EarlyStopping | None = None
    max_seconds: float = math.inf
    precision: Precision = "fp32"
    compile: bool = False
    cuda_graph: bool = False  # capture the updates
    train_mode: Callable[[Classifier, float], object] = (
        lambda model, progress: model.train()  # called before each epoch; progress in [0, 1)
    )
    classify: bool = True  # False: the decoder trains, the head does not
    reconstruct: float = 0.0  # weight of the decoder's squared error in the loss
    stage: int = 0  # 1 or 2 of a training in two stages, else 0


class Fit(NamedTuple):
    """A finished training; its counts include the training that it continued."""

    history: list[EpochResult]
    best: State  # weights of the selected epoch, on the CPU
    last: State
    best_epoch: int
    seconds: float
    images_seen: int
    steps: int
    stopped: str  # why the training ended
