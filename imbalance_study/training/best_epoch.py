"""Selection of the best epoch, with copies of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from imbalance_study.models.classifier import Classifier

State = dict[str, Tensor]


class Best:
    """The weights of the best epoch so far, the earliest of equals.

    Attributes:
        metric: The watched metric, or ``last`` when nothing is selected.
        epoch: Number of the best epoch; 0 before there is one.
        value: Its score; higher is better.
        state: Its weights on the CPU.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.epoch = 0
        self.state: State | None = None
        self.value = -math.inf

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the watched metric, turned so that higher is better; 0 for ``last``."""
        return 0.0 if self.metric == "last" else higher_is_better(metrics, self.metric)

    def offer(self, epoch: int, score: float, model: Classifier) -> None:
        """Keep the weights if they are the best yet; NaN never is."""
        if self.metric != "last" and score > self.value:
            self.epoch, self.value, self.state = epoch, score, cpu_state(model)


def higher_is_better(metrics: Mapping[str, float], name: str) -> float:
    """Return a metric, losses with their sign turned."""
    return -metrics[name] if name.endswith("loss") else metrics[name]


def cpu_state(model: Classifier) -> State:
    """Copy the weights to the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
