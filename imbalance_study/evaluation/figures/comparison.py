"""Figures of several configurations: curves, bars, differences, costs.

All take arrays and labels of `comparison_style`. Figures with a value per class are in
`comparison_panels`, figures of many metrics in `comparison_metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from imbalance_study.evaluation.bootstrap import p_text
from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.figures.comparison_style import (
    DAGGER,
    explain_daggers,
    label_inches,
    legend_below,
    legend_inches,
    looks,
)
from imbalance_study.evaluation.metrics import Floats
from imbalance_study.evaluation.text import short_number


class Band(NamedTuple):
    """Mean and spread of a quantity over seeds, by epoch."""

    steps: Floats  # (E,)
    mean: Floats  # (E,)
    low: Floats  # (E,)
    high: Floats  # (E,)


class Bars(NamedTuple):
    """Means, intervals and single values of a metric of all configurations."""

    mean: Floats  # (K,)
    low: Floats  # (K,) end of the interval, NaN without one
    high: Floats  # (K,)
    seeds: Sequence[Floats]  # K vectors of single values


@style.styled
def training_curves_compared(
    curves: Mapping[str, Mapping[int, Band]], names: Sequence[str]
) -> Figure:
    """Draw a panel per metric: mean over seeds -+ standard deviation, by epoch.

    Args:
        curves: Metric to configuration's position in `names` to its band.
        names: Labels (K,), the baseline first.
    """
    across = min(len(curves), 2)
    down = -(-len(curves) // across)
    width = max(5.4 * across, 6.5)
    figure = style.new_figure(width, 3.3 * down + legend_inches(names, width))
    all_looks = looks(len(names))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (metric, bands) in zip(panels, curves.items(), strict=False):
        for index, band in bands.items():
            look = all_looks[index]
            axes.fill_between(
                band.steps, band.low, band.high, color=look.color, alpha=0.12, linewidth=0
            )
            axes.plot(
                band.steps,
                band.mean,
                color=look.color,
                linestyle=look.pattern,
                marker=look.marker if len(band.steps) <= 3 else None,
                label=names[index],
                zorder=3 if index else 4,
            )
        own = " (each its own objective)" if metric == "train/loss" else ""
        axes.set(title=metric + own, xlabel="epoch")
        axes.grid(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    fullest = max(panels, key=lambda axes: len(axes.get_lines()))
    legend_below(figure, fullest, width)
    return figure


@style.styled
def headline_bars(metrics: Mapping[str, Bars], names: Sequence[str]) -> Figure:
    """Draw a group of bars per metric: means, 95 % intervals over seeds, a dot for each seed.

    Args:
        metrics: Metric to its values of all configurations.
        names: Labels (K,), the baseline first, which is drawn on top.
    """
    width = label_inches(names) + 2.35 * len(metrics) + 0.4
    figure = style.new_figure(width, 1.3 + 0.38 * len(names))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    places = np.arange(len(names))
    for axes, (metric, bars) in zip(panels, metrics.items(), strict=True):
        colors = [look.color for look in looks(len(names))]
        axes.barh(places, np.nan_to_num(bars.mean), 0.72, color=colors, alpha=0.55)
        known = np.isfinite(bars.low)
        axes.errorbar(
            bars.mean[known],
            places[known],
            xerr=[(bars.mean - bars.low)[known], (bars.high - bars.mean)[known]],
            fmt="none",
            ecolor="#333333",
            elinewidth=1,
            capsize=2,
        )
        for place, values in zip(places, bars.seeds, strict=True):
            spread = (
                np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(len(values))
            )
            axes.scatter(
                values,
                place + spread,
                s=11,
                color="white",
                edgecolors="#222222",
                linewidths=0.7,
                zorder=3,
            )
        _write_values(axes, bars)
        axes.set_title(metric)
        axes.grid(axis="x")
    panels[0].set_yticks(places, names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    explain_daggers(figure, names)
    return figure


def _write_values(axes: Axes, bars: Bars) -> None:
    """Write the means beside the panel, where no bar, dot or interval reaches them."""
    ends = [bars.mean, *bars.seeds]
    largest = max((float(np.nanmax(one)) for one in ends if np.isfinite(one).any()), default=1.0)
    top = max(largest, float(np.nanmax(bars.high)) if np.isfinite(bars.high).any() else 0.0)
    top = max(min(top, 1.25 * largest), 0.1)
    axes.set_xticks([tick for tick in MaxNLocator(4).tick_values(0, top) if tick <= top])
    axes.set_xlim(0, 1.04 * top)
    for place, mean in enumerate(bars.mean):
        axes.annotate(
            f"{mean:.3f}" if np.isfinite(mean) else "–",
            (1.02, place),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
        )


@style.styled
def differences_to_baseline(
    difference: Floats,
    low: Floats,
    high: Floats,
    p_holm: Floats,
    names: Sequence[str],
    title: str,
    *,
    alpha: float = 0.05,
) -> Figure:
    """Draw mean paired differences with 95 % intervals, the largest on top.

    Filled where the Holm-corrected p is below `alpha`, else hollow; grey where the label carries a
    dagger. A difference without a test (fewer than three seeds) has no interval.

    Args:
        difference: Configuration - baseline (K,), NaN where they have no seed in common.
        low: Lower ends (K,), NaN without a test.
        high: Upper ends (K,).
        p_holm: Corrected p values (K,), NaN without a test.
        names: Labels (K,).
        title: Title of the figure.
        alpha: Significance level.
    """
    order = np.argsort(-np.nan_to_num(difference, nan=-np.inf), kind="stable")
    width = float(np.clip(label_inches(names) + 6.0, 6.5, 11))
    figure = style.new_figure(width, 1.5 + 0.38 * len(names))
    axes = figure.subplots()
    axes.axvline(0, color=style.BLACK, linewidth=1)
    for place, index in enumerate(order):
        significant = bool(p_holm[index] < alpha)
        color = style.GREY if names[index].endswith(DAGGER) else style.BLUE
        axes.plot([low[index], high[index]], [place, place], color=color, linewidth=2)
        face = color if significant else "white"
        axes.plot(difference[index], place, "o", color=color, markerfacecolor=face, markersize=7)
        axes.annotate(
            _difference_text(difference[index], p_holm[index]),
            (1.01, place),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
        )
    axes.set_yticks(range(len(order)), [names[index] for index in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    _around_zero(axes, difference, low, high)
    axes.grid(axis="x")
    axes.set(title=title, xlabel="difference to the baseline; filled: Holm-corrected p below 0.05")
    explain_daggers(figure, names)
    return figure


def _around_zero(axes: Axes, difference: Floats, low: Floats, high: Floats) -> None:
    """Set limits that hold the differences; a much wider interval leaves the figure."""
    largest = float(np.nanmax(np.abs(difference), initial=0.0)) or 0.01
    ends = np.concatenate([difference, low, high])
    least = max(float(np.nanmin(ends, initial=0.0)), -4 * largest)
    most = min(float(np.nanmax(ends, initial=0.0)), 4 * largest)
    margin = 0.06 * (most - least) or largest
    axes.set_xlim(least - margin, most + margin)


def _difference_text(difference: float, p_holm: float) -> str:
    if not np.isfinite(difference):
        return "no seed in common"
    test = "no test" if not np.isfinite(p_holm) else p_text(p_holm)
    return f"{round(difference, 3) + 0.0:+.3f}   {test}"


@style.styled
def metric_against_costs(
    costs: Mapping[str, Floats],
    values: Floats,
    low: Floats,
    high: Floats,
    names: Sequence[str],
    metric: str,
) -> Figure:
    """Draw a panel per cost, on a logarithmic axis, with the metric's 95 % interval.

    Args:
        costs: Name and unit of a cost to its values (K,); NaN where not measured.
        values: Metric (K,).
        low: Lower ends (K,), NaN without an interval.
        high: Upper ends (K,).
        names: Labels (K,), the baseline first.
        metric: Name of the metric.
    """
    width = 5.2 * max(len(costs), 1.4)
    figure = style.new_figure(width, 3.9 + legend_inches(names, width))
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    errors = np.nan_to_num(np.maximum([values - low, high - values], 0))
    for axes, (cost, amounts) in zip(panels, costs.items(), strict=True):
        for index, look in enumerate(looks(len(names))):
            axes.errorbar(
                amounts[index],
                values[index],
                yerr=errors[:, index : index + 1],
                color=look.color,
                marker=look.marker,
                markersize=7,
                markerfacecolor=look.color if look.pattern == "-" else "white",
                linestyle="none",
                elinewidth=1,
                capsize=2,
                label=names[index],
            )
        _log_range(axes, amounts)
        axes.set_xlabel(cost)
        axes.grid(True)
    panels[0].set_ylabel(f"{metric}, 95 % interval")
    _inside_values(panels[0], values)
    legend_below(figure, panels[0], width)
    return figure


def _log_range(axes: Axes, amounts: Floats) -> None:
    known = amounts[np.isfinite(amounts) & (amounts > 0)]
    if not len(known):
        return
    axes.set_xscale("log")
    low, high = float(known.min()), float(known.max())
    room = max((high / low) ** 0.12, 1.25)
    axes.set_xlim(low / room, high * room)
    ticks = _round_ticks(low / room, high * room)
    axes.set_xticks(ticks, [f"{tick:g}" if tick < 1000 else short_number(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _round_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times a power of ten within the range, or the ends of a narrow one."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [step * 10.0**power for power in powers for step in (1, 2, 3, 4, 5, 6, 8)]
    coarse = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    for ticks in (coarse, fine):
        inside = [tick for tick in ticks if low <= tick <= high]
        if 2 <= len(inside) <= 8:
            return inside
    wide = [10.0**power for power in powers if low <= 10.0**power <= high]
    return wide if len(wide) > 1 else [float(f"{(low * high) ** 0.5:.2g}")]


def _inside_values(axes: Axes, values: Floats) -> None:
    """Keep the values in the panel; wide intervals, as of three seeds, may leave it."""
    known = values[np.isfinite(values)]
    if not len(known):
        return
    room = max(float(np.ptp(known)), 0.05)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, float(known.min()) - room), min(top, float(known.max()) + room))
