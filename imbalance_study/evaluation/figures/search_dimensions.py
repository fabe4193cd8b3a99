"""Figures of a search over its dimensions: slices, parallel coordinates, contours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from matplotlib.tri import Triangulation
from numpy.typing import NDArray

from imbalance_study.evaluation.figures.style import (
    GREY,
    new_figure,
    note,
    shown,
    styled,
    text_inches,
)

Floats = NDArray[np.float64]
_SHADES = "viridis"


class Dimension(NamedTuple):
    """A searched dimension and the value of each trial."""

    name: str
    values: Sequence[Any]  # (N,) a number or a name; None where the trial does not have it
    log: bool = False

    @property
    def choices(self) -> list[str]:
        """Sorted names of a dimension whose values are names; else empty."""
        names = [value for value in self.values if isinstance(value, str)]
        return list(dict.fromkeys(sorted(names)))

    @property
    def positions(self) -> Floats:
        """Positions (N,) in the figure; NaN where the trial does not have the dimension."""
        choices = self.choices
        return np.array(
            [
                math.nan if v is None else choices.index(v) if isinstance(v, str) else float(v)
                for v in self.values
            ]
        )


@styled
def slices(dimensions: Sequence[Dimension], values: Floats, name: str) -> Figure:
    """Draw the objective over each dimension alone; darker dots are later trials."""
    columns = min(4, max(len(dimensions), 1))
    rows = max(1, math.ceil(len(dimensions) / columns))
    figure = new_figure(3.1 * columns, 2.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, dimension in zip(grid.flat, dimensions, strict=False):
        x = dimension.positions
        present = np.isfinite(x)
        axes.scatter(
            _spread(x, dimension)[present], values[present], c=np.flatnonzero(present), s=20,
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
    """Spread the dots of equal names sideways, in the same way each time."""
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
    """Put ticks at 1, 2 and 5 times each decade, so that a narrow axis has numbers as well.

    Powers of two, such as batch sizes, have ticks at their values.
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
    """Draw a line for each trial through all its dimensions, the best ones on top.

    The line of a trial without a dimension runs through the foot of that axis.
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
    """Return colours by rank, from pale for the worst to dark for the best."""
    ranks = np.argsort(np.argsort(values)) / max(len(values) - 1, 1)
    return [colormaps[_SHADES](0.95 - 0.95 * rank) for rank in ranks]


def _heights(dimension: Dimension) -> tuple[Floats, list[tuple[float, str]]]:
    """Return heights (N,) in 0..1 (-0.12 where missing), and labels at some of them."""
    x = dimension.positions
    present = np.isfinite(x)
    choices = dimension.choices
    if choices:
        span = max(len(choices) - 1, 1)
        middle = 0.5 if len(choices) == 1 else 0.0
        return np.where(present, x / span + middle, -0.12), [
            (i / span + middle, shown(choice, 16)) for i, choice in enumerate(choices)
        ]
    if not present.any():
        return np.full(len(x), -0.12), []
    scaled = np.log10(np.where(present, x, 1)) if dimension.log else np.where(present, x, 0)
    low, high = scaled[present].min(), scaled[present].max()
    if high <= low:
        return np.where(present, 0.5, -0.12), [(0.5, f"{x[present][0]:.3g}")]
    ends = [(0.0, x[present].min()), (1.0, x[present].max())]
    heights = np.where(present, (scaled - low) / (high - low), -0.12)
    return heights, [(height, f"{value:.3g}") for height, value in ends]


@styled
def contour(first: Dimension, second: Dimension, values: Floats, name: str) -> Figure:
    """Draw the objective over two dimensions: shades between the trials, and the trials.

    Several trials at one point have the shade of their mean. Two dimensions of names have no
    shades, as there is nothing between names.
    """
    figure = new_figure(5.6, 4.2)
    axes = figure.subplots()
    x, y = first.positions, second.positions
    present = np.isfinite(x) & np.isfinite(y)
    if present.sum() < 1:
        note(axes, "no trial has both")
        return figure
    limits = {"vmin": values[present].min(), "vmax": values[present].max()}
    if not first.choices and not second.choices:
        _shade(axes, first, second, values, present, limits)
    points = axes.scatter(
        _spread(x, first)[present], _spread(y, second)[present], c=values[present], s=38,
        cmap=_SHADES, edgecolors="white", linewidths=0.7, zorder=3, **limits,
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
    present: NDArray[np.bool_],
    limits: Mapping[str, Any],
) -> None:
    points, same = np.unique(
        np.column_stack([first.positions[present], second.positions[present]]),
        axis=0,
        return_inverse=True,
    )
    means = np.bincount(same, values[present]) / np.bincount(same)
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
