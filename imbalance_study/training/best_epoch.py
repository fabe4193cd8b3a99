"""Selection of the best epoch, with copies of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from imbalance_study.models.classifier import Classifier

State = dict[str, Tensor]


class Best:
    """The weights of the best epoch so far.

    Of epochs with an equal score, the one with the smaller ``val/loss`` is kept, and the later one
    where that is equal too. A small validation part has few different scores.

    Attributes:
        metric: The watched metric, or ``last`` when nothing is selected.
        epoch: Number of the best epoch; 0 before there is one.
        rank: Its score and the negative of its loss; higher is better.
        state: Its weights on the CPU.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.epoch = 0
        self.state: State | None = None
        self.rank = (-math.inf, -math.inf)

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the watched metric, turned so that higher is better; 0 for ``last``."""
        return 0.0 if self.metric == "last" else higher_is_better(metrics, self.metric)

    def offer(self, epoch: int, metrics: Mapping[str, float], model: Classifier) -> None:
        """Keep the weights if they are the best yet; a score of NaN never is."""
        if self.metric != "last" and self._rank(metrics) >= self.rank:
            self.resume(epoch, metrics, cpu_state(model))

    def resume(self, epoch: int, metrics: Mapping[str, float], state: State) -> None:
        """Take an epoch as the best one."""
        self.epoch, self.rank, self.state = epoch, self._rank(metrics), state

    def _rank(self, metrics: Mapping[str, float]) -> tuple[float, float]:
        loss = metrics.get("val/loss", math.inf)
        return self.score(metrics), -math.inf if math.isnan(loss) else -loss


def higher_is_better(metrics: Mapping[str, float], name: str) -> float:
    """Return a metric, losses with their sign turned."""
    return -metrics[name] if name.endswith("loss") else metrics[name]


def cpu_state(model: Classifier) -> State:
    """Copy the weights to the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
