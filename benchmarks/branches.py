"""How a search learns dimensions that only some losses have: in groups, or each loss by itself.

    python benchmarks/branches.py --repetitions 20 --trials 50

No training: the real space with an objective that is computed. Each repetition draws, for each
loss, class weight and sampler, how good it is, and for each number where its best value lies, which
for some depends on the loss; the search sees it with the noise of 500 validation images. What
counts is the true value of the settings that the search would hand back.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import tables

from imbalance_study.studies.search import space
from imbalance_study.studies.search.optuna_study import Plan, Search, open_storage
from imbalance_study.studies.search.settings import objectives

NOISE = 0.015
WAYS = ("group", "separate")
HEADER = ("branches", "true value found", "minus group", "twice its error")


def surrogate(searched: space.Space, seed: int) -> Callable[[dict[str, Any]], float]:
    """A balanced accuracy around 0.7 as a function of a point of the space."""
    draw = np.random.default_rng(seed)
    losses = next(axis.choices for axis in searched.axes if axis.name == "loss")
    offsets = {
        (axis.name, choice): draw.normal(0, 0.03)
        for axis in searched.axes
        for choice in axis.choices
    }
    best = {
        (axis.name, loss): draw.uniform(0.15, 0.85)
        for axis in searched.axes
        for loss in losses
        if not axis.choices
    }
    weight = {axis.name: draw.uniform(0.02, 0.15) for axis in searched.axes}
    axes = {axis.name: axis for axis in searched.axes}

    def value(point: dict[str, Any]) -> float:
        total = 0.7
        for name, at in point.items():
            axis = axes[name]
            if axis.choices:
                total += offsets[name, at]
                continue
            low, high, here = axis.low, axis.high, at
            if axis.log:
                low, high, here = np.log(low), np.log(high), np.log(at)
            total -= (
                weight[name] * 4 * ((here - low) / (high - low) - best[name, point["loss"]]) ** 2
            )
        return float(total)

    return value


def found(way: str, searched: space.Space, seed: int, trials: int) -> float:
    """The true value of what a search hands back."""
    value, noise = surrogate(searched, seed), np.random.default_rng(seed + 1)
    goals = objectives("val/balanced_accuracy")
    plan = Plan("s", searched, goals, trials, branches=way, seed=seed)
    study = Search(open_storage("memory", 60), plan)
    for name, values in space.baselines(searched).items():
        study.enqueue(values, baseline=name)
    while (claim := study.claim()) is not None:
        point = study.propose(claim).values
        study.complete(claim, (value(point) + noise.normal(0, NOISE),))
    best = max(study.records(), key=lambda trial: trial.values)
    return value(best.dimensions)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--search", default="loss|sampler|optimizer")
    options = parser.parse_args()
    searched = space.build(options.search, {"dataset": "cifar10", "model": "resnet20"})
    results = {
        way: [found(way, searched, seed, options.trials) for seed in range(options.repetitions)]
        for way in WAYS
    }
    lines = []
    for way, values in results.items():
        apart = [mine - group for mine, group in zip(values, results["group"], strict=True)]
        error = 2 * statistics.stdev(apart) / len(apart) ** 0.5
        lines.append(
            [way, f"{statistics.fmean(values):.4f}",
             f"{statistics.fmean(apart):+.4f}", f"{error:.4f}"]
        )  # fmt: skip
    print(tables.markdown(HEADER, lines))


if __name__ == "__main__":
    main()
