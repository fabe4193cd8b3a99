"""Figures of a search, from arrays of trials: history, importances, curves, Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from imbalance_study.evaluation.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    new_figure,
    note,
    shown,
    styled,
)

Floats = NDArray[np.float64]


@styled
def history(
    numbers: NDArray[np.int64],
    values: Floats,
    best: Floats,
    pruned: NDArray[np.int64],
    name: str,
    error: float = math.nan,
    baselines: Sequence[int] = (),
) -> Figure:
    """Draw the objective of each complete trial, the best so far, and the pruned trials.

    Args:
        numbers: Numbers (N,) of the complete trials, ascending.
        values: Objective (N,).
        best: Best so far (N,).
        pruned: Numbers (P,) of the pruned trials, ticks at the bottom.
        name: Name of the objective.
        error: Standard error of the best value, drawn as a band below and above it.
        baselines: Numbers of the complete trials that are baselines.
    """
    figure = new_figure(7, 3.6)
    axes = figure.subplots()
    if len(values) and math.isfinite(error):
        axes.axhspan(
            best[-1] - error, best[-1] + error, color=BLUE, alpha=0.1, lw=0,
            label="best ± standard error",
        )  # fmt: skip
    is_baseline = np.isin(numbers, np.asarray(baselines, dtype=int))
    axes.scatter(numbers[~is_baseline], values[~is_baseline], s=22, color=BLUE, label="trial")
    if is_baseline.any():
        axes.scatter(numbers[is_baseline], values[is_baseline], s=34, marker="D", color=ORANGE,
                     label="baseline")  # fmt: skip
    axes.step(numbers, best, where="post", color=RED, label="best so far")
    if len(pruned):
        axes.plot(pruned, np.full(len(pruned), 0.02), "|", ms=9, color=GREY, label="pruned",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set(xlabel="trial", ylabel=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=5)
    return figure


@styled
def importances(shares: Mapping[str, float], name: str) -> Figure:
    """Draw the share of the objective's variance that each dimension explains, largest on top."""
    order = sorted(shares, key=lambda one: shares[one])
    figure = new_figure(6, 0.8 + 0.3 * max(len(order), 2))
    axes = figure.subplots()
    if not order:
        note(axes, "too few trials")
        return figure
    bars = axes.barh([shown(one) for one in order], [shares[one] for one in order], color=BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlabel=f"share of the variance of {name}", xlim=(0, 1.12 * max(shares.values())))
    return figure


@styled
def intermediate(
    curves: Sequence[tuple[NDArray[np.int64], Floats]], states: Sequence[str], name: str
) -> Figure:
    """Draw the objective over the epochs of each trial, with a cross where it was pruned.

    Args:
        curves: Epochs and values of each trial, the best trial first.
        states: complete or pruned (others are left out).
        name: Name of the objective.
    """
    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    colors = {"complete": BLUE, "pruned": GREY}
    seen: set[str] = set()
    for position, ((epochs, values), state) in enumerate(zip(curves, states, strict=True)):
        if state not in colors or not len(epochs):
            continue
        best = position == 0 and state == "complete"
        label = "best" if best else state
        color = RED if best else colors[state]
        axes.plot(
            epochs, values, color=color, lw=2 if best else 1, alpha=1 if best else 0.55,
            zorder=4 if best else 2, label=None if label in seen else label,
        )  # fmt: skip
        end = "x" if state == "pruned" else "o"
        axes.plot(epochs[-1:], values[-1:], end, color=color, ms=5, zorder=5)
        seen.add(label)
    if not seen:
        note(axes, "no values by epoch")
        return figure
    axes.set(xlabel="epoch", ylabel=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


@styled
def pareto(
    metric: Floats,
    cost: Floats,
    on_front: NDArray[np.bool_],
    labels: Sequence[str],
    names: tuple[str, str],
) -> Figure:
    """Draw a metric against a cost; no trial is better than one on the front in both.

    Args:
        metric: First objective (N,).
        cost: Second objective (N,), smaller being better.
        on_front: Whether each trial is on the front (N,).
        labels: Labels of the trials (N,); left out where they would overlap.
        names: Names of metric and cost.
    """
    figure = new_figure(6, 4)
    axes = figure.subplots()
    axes.scatter(cost[~on_front], metric[~on_front], s=24, color=GREY, label="trial")
    order = np.argsort(cost[on_front])
    x, y = cost[on_front][order], metric[on_front][order]
    axes.plot(x, y, "o-", color=GREEN, ms=6, label="front")
    labelled: list[Floats] = []  # places of the labels so far, as shares of the axes
    spans = np.maximum([np.ptp(cost), np.ptp(metric)], 1e-12)
    for px, py, label in list(zip(x, y, np.asarray(labels)[on_front][order], strict=True))[::-1]:
        place = np.array([px, py]) / spans
        if all(abs(place - other)[1] > 0.06 or abs(place - other)[0] > 0.35 for other in labelled):
            axes.annotate(shown(label), (px, py), (6, -11), textcoords="offset points", fontsize=8)
            labelled.append(place)
    axes.set(xlabel=names[1], ylabel=names[0])
    axes.margins(x=0.15, y=0.1)
    axes.grid()
    figure.legend(loc="outside lower center", ncols=2)
    return figure
