"""Figures of a search: arrays of trials to matplotlib Figures; nothing here knows Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator
from matplotlib.tri import Triangulation
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
    text_inches,
)

Floats = NDArray[np.float64]
_SHADES = "viridis"


class Dimension(NamedTuple):
    """One searched dimension and where each trial stands on it."""

    name: str
    values: Sequence[Any]  # (N,) a number or a name; None where the trial does not have it
    log: bool = False

    @property
    def choices(self) -> list[str]:
        """The names, where it has names."""
        names = [value for value in self.values if isinstance(value, str)]
        return list(dict.fromkeys(sorted(names)))

    @property
    def positions(self) -> Floats:
        """(N,) numbers to draw at; NaN where the trial does not have it."""
        choices = self.choices
        return np.array(
            [
                math.nan if v is None else choices.index(v) if isinstance(v, str) else float(v)
                for v in self.values
            ]
        )


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
    """The objective of each complete trial, the best so far, and which trials were pruned.

    Args:
        numbers: (N,) of the complete trials, ascending.
        values: (N,) objective.
        best: (N,) best so far.
        pruned: (P,) numbers of the pruned trials, ticks at the bottom.
        name: Of the objective.
        error: Standard error of the best value, drawn as a band below and above it.
        baselines: Numbers of those complete trials that are baselines.
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
    """How much of the variance of the objective each dimension explains, the most at the top."""
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
def slices(dimensions: Sequence[Dimension], values: Floats, name: str) -> Figure:
    """The objective over each dimension by itself, darker dots being later trials."""
    columns = min(4, max(len(dimensions), 1))
    rows = max(1, math.ceil(len(dimensions) / columns))
    figure = new_figure(3.1 * columns, 2.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, dimension in zip(grid.flat, dimensions, strict=False):
        x = dimension.positions
        there = np.isfinite(x)
        axes.scatter(
            _spread(x, dimension)[there], values[there], c=np.arange(len(values))[there], s=20,
            cmap="Blues", vmin=-len(values) / 2, vmax=max(len(values) - 1, 1),
        )  # fmt: skip
        _scale(axes, dimension, "x")
        axes.set_title(shown(dimension.name))
        axes.grid(axis="y")
    for axes in grid.flat[len(dimensions) :]:
        axes.set_visible(False)
    figure.supylabel(name, fontsize=9)
    figure.supxlabel("darker: a later trial", fontsize=8, color=GREY)
    return figure


def _spread(x: Floats, dimension: Dimension) -> Floats:
    """Names side by side with their dots apart, the same way each time."""
    if not dimension.choices:
        return x
    moved: Floats = x + 0.5 * (np.modf(np.arange(len(x)) * 0.618034)[0] - 0.5)
    return moved


def _scale(axes: Axes, dimension: Dimension, axis: str) -> None:
    choices = dimension.choices
    if choices:
        labels = [shown(choice, 16) for choice in choices]
        slanted = axis == "x" and text_inches(labels, 8) > 2.2 / len(labels)
        turn: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        getattr(axes, f"set_{axis}ticks")(
            range(len(choices)), labels, fontsize=8, **(turn if slanted else {})
        )
        getattr(axes, f"set_{axis}lim")(-0.5, len(choices) - 0.5)
    elif dimension.log:
        getattr(axes, f"set_{axis}scale")("log")
        _few_log_ticks(axes, axis, dimension.positions)


def _few_log_ticks(axes: Axes, axis: str, values: Floats) -> None:
    """At 1, 2 and 5 within the range: a decade alone would leave a narrow axis without numbers.

    Powers of two, as batch sizes are, have their ticks at themselves.
    """
    low, high = np.nanmin(values), np.nanmax(values)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high < 200 * low else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if 0.8 * low <= tick <= 1.25 * high]
    exponents = np.log2(values[np.isfinite(values)])
    if high >= 2 and (exponents % 1 == 0).all():
        ticks = [
            2.0**exponent for exponent in range(int(exponents.min()), int(exponents.max()) + 1)
        ]
    getattr(axes, f"set_{axis}ticks")(ticks, [f"{tick:g}" for tick in ticks])
    side = getattr(axes, f"{axis}axis")
    side.set_minor_locator(NullLocator())
    side.set_minor_formatter(NullFormatter())


@styled
def parallel(
    dimensions: Sequence[Dimension], values: Floats, name: str, maximize: bool = True
) -> Figure:
    """A line for each trial through all its dimensions, the best ones on top.

    Where a trial does not have a dimension its line runs through the foot of that axis.
    """
    figure = new_figure(1.25 * (len(dimensions) + 1) + 1.2, 4.2)
    axes = figure.subplots()
    if not len(values) or not dimensions:
        note(axes, "nothing varied" if len(values) else "no complete trial")
        return figure
    heights, feet = zip(*(_heights(one) for one in dimensions), strict=True)
    low, high = values.min(), values.max()
    last = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    lines = np.column_stack([*heights, last])  # (N, D + 1) in 0..1, below 0 where it is missing
    order = np.argsort(values if maximize else -values)
    colors = _colors(values if maximize else -values)
    x = np.arange(lines.shape[1])
    for row in order:
        top = row in order[-3:]
        axes.plot(x, lines[row], color=colors[row], lw=2.2 if top else 1, alpha=1 if top else 0.5)
    for position, foot in enumerate(feet):
        axes.axvline(position, color=GREY, lw=0.8)
        missing = [(-0.12, "not used")] if (lines[:, position] < 0).any() else []
        for height, label in (*foot, *missing):
            axes.annotate(label, (position, height), (3, 0), textcoords="offset points",
                          fontsize=7, va="center", bbox={"fc": "white", "ec": "none", "pad": 0.4,
                                                         "alpha": 0.75})  # fmt: skip
    axes.axvline(len(dimensions), color=GREY, lw=0.8)
    for height, value in ((0, low), (1, high)):
        axes.annotate(f"{value:.3g}", (len(dimensions), height), (4, 0), fontsize=8, va="center",
                      textcoords="offset points")  # fmt: skip
    labels = [*(shown(one.name) for one in dimensions), shown(name)]
    axes.set_xticks(x, labels, rotation=25, ha="right", rotation_mode="anchor")
    axes.set(yticks=[], ylim=(-0.16, 1.06), xlim=(-0.15, len(dimensions) + 0.5))
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def _colors(values: Floats) -> list[Any]:
    """From pale for the worst to dark for the best, by rank."""
    ranks = np.argsort(np.argsort(values)) / max(len(values) - 1, 1)
    return [colormaps[_SHADES](0.95 - 0.95 * rank) for rank in ranks]


def _heights(dimension: Dimension) -> tuple[Floats, list[tuple[float, str]]]:
    """(N,) heights in 0..1 (-0.12 where missing), and labels at some of them."""
    x = dimension.positions
    there = np.isfinite(x)
    choices = dimension.choices
    if choices:
        span = max(len(choices) - 1, 1)
        middle = 0.5 if len(choices) == 1 else 0.0
        return np.where(there, x / span + middle, -0.12), [
            (i / span + middle, shown(choice, 16)) for i, choice in enumerate(choices)
        ]
    if not there.any():
        return np.full(len(x), -0.12), []
    scaled = np.log10(np.where(there, x, 1)) if dimension.log else np.where(there, x, 0)
    low, high = scaled[there].min(), scaled[there].max()
    if high <= low:
        return np.where(there, 0.5, -0.12), [(0.5, f"{x[there][0]:.3g}")]
    ends = [(0.0, x[there].min()), (1.0, x[there].max())]
    heights = np.where(there, (scaled - low) / (high - low), -0.12)
    return heights, [(height, f"{value:.3g}") for height, value in ends]


@styled
def contour(first: Dimension, second: Dimension, values: Floats, name: str) -> Figure:
    """The objective over two dimensions: shades between the trials, and the trials themselves.

    Where several trials stand at one point the shade is that of their mean.
    Of two dimensions with names only the trials are drawn, as between names there is nothing.
    """
    figure = new_figure(5.6, 4.2)
    axes = figure.subplots()
    x, y = first.positions, second.positions
    there = np.isfinite(x) & np.isfinite(y)
    if there.sum() < 1:
        note(axes, "no trial has both")
        return figure
    limits = {"vmin": values[there].min(), "vmax": values[there].max()}
    if not first.choices and not second.choices:
        _shade(axes, first, second, values, there, limits)
    points = axes.scatter(
        _spread(x, first)[there], _spread(y, second)[there], c=values[there], s=38, cmap=_SHADES,
        edgecolors="white", linewidths=0.7, zorder=3, **limits,
    )  # fmt: skip
    axes.use_sticky_edges = False  # else the dots at the ends are cut in half
    axes.margins(0.06)
    _scale(axes, first, "x")
    _scale(axes, second, "y")
    axes.set(xlabel=first.name, ylabel=second.name)
    figure.colorbar(points, label=name)
    return figure


def _shade(
    axes: Axes,
    first: Dimension,
    second: Dimension,
    values: Floats,
    there: NDArray[np.bool_],
    limits: Mapping[str, Any],
) -> None:
    points, same = np.unique(
        np.column_stack([first.positions[there], second.positions[there]]),
        axis=0,
        return_inverse=True,
    )
    means = np.bincount(same, values[there]) / np.bincount(same)
    x, y = points.T
    flat_x = np.log10(x) if first.log else x
    flat_y = np.log10(y) if second.log else y
    if len(x) < 4 or np.ptp(flat_x) == 0 or np.ptp(flat_y) == 0:
        return
    scaled = (flat_x - flat_x.min()) / np.ptp(flat_x), (flat_y - flat_y.min()) / np.ptp(flat_y)
    try:
        triangles = Triangulation(*scaled).triangles
    except RuntimeError:  # all on one line
        return
    shape = Triangulation(x, y, triangles)
    # pale colours in place of transparent ones, which show a line between every two levels
    pale = ListedColormap(1 - 0.55 * (1 - colormaps[_SHADES](np.linspace(0, 1, 256))[:, :3]))
    axes.tricontourf(shape, means, levels=12, cmap=pale, **limits)


@styled
def intermediate(
    curves: Sequence[tuple[NDArray[np.int64], Floats]], states: Sequence[str], name: str
) -> Figure:
    """The objective over the epochs of each trial: where the pruned ones were given up.

    Args:
        curves: Epochs and values of each trial, the best trial first.
        states: complete or pruned (others are left out).
        name: Of the objective.
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
    """A metric against a cost; no trial beats those on the front in both.

    Args:
        metric: (N,) the first objective.
        cost: (N,) the second, smaller being better.
        on_front: (N,) which trials are on the front.
        labels: (N,) what the trials on the front are called; left out where they would overlap.
        names: Of metric and cost.
    """
    figure = new_figure(6, 4)
    axes = figure.subplots()
    axes.scatter(cost[~on_front], metric[~on_front], s=24, color=GREY, label="trial")
    order = np.argsort(cost[on_front])
    x, y = cost[on_front][order], metric[on_front][order]
    axes.plot(x, y, "o-", color=GREEN, ms=6, label="front")
    told: list[Floats] = []  # where a label stands already, in parts of the axes
    spans = np.maximum([np.ptp(cost), np.ptp(metric)], 1e-12)
    for px, py, label in list(zip(x, y, np.asarray(labels)[on_front][order], strict=True))[::-1]:
        place = np.array([px, py]) / spans
        if all(abs(place - other)[1] > 0.06 or abs(place - other)[0] > 0.35 for other in told):
            axes.annotate(shown(label), (px, py), (6, -11), textcoords="offset points", fontsize=8)
            told.append(place)
    axes.set(xlabel=names[1], ylabel=names[0])
    axes.margins(x=0.15, y=0.1)
    axes.grid()
    figure.legend(loc="outside lower center", ncols=2)
    return figure
