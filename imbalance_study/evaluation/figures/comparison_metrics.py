"""Figures of many metrics of several configurations: heat map and radar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.figures.comparison_style import (
    explain_daggers,
    label_inches,
    legend_below,
    legend_inches,
    looks,
)
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.evaluation.text import short_number

_COLORS = ListedColormap(["#F6C29A", "#FFFFFF", "#A8CDE8"])  # worse, nothing shown, better


@style.styled
def metrics_heatmap(
    values: Floats,
    shown: Ints,
    directions: Sequence[int],
    metrics: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Draw all metrics (rows) of all configurations (columns), coloured where a test shows it.

    Args:
        values: Means over seeds (M, K); NaN where missing.
        shown: 1 (M, K) where the configuration is shown to be better than the baseline, -1 where
            worse, else 0.
        directions: 1 where larger is better, -1 where smaller, 0 for neither.
        metrics: Names (M,).
        names: Labels (K,), the baseline first.
    """
    arrows = {1: " ↑", -1: " ↓", 0: ""}
    rows = [f"{name}{arrows[way]}" for name, way in zip(metrics, directions, strict=True)]
    cell = 0.72
    heads = min(label_inches(names, 8.5), 3.0)
    width = style.text_inches(rows, 8.5) + max(cell * len(names), 1.6) + 0.7 + 0.5 * heads
    figure = style.new_figure(width, 0.215 * len(rows) + 0.75 * heads + 1.05)
    axes = figure.subplots()
    axes.imshow(shown, cmap=_COLORS, vmin=-1, vmax=1, aspect="auto")
    size = 7.5 if len(rows) <= 80 else 5.5
    for (row, column), value in np.ndenumerate(values):
        text = short_number(float(value)) if np.isfinite(value) else "–"
        axes.text(column, row, text, ha="center", va="center", fontsize=size)
    axes.set_yticks(range(len(rows)), rows, fontsize=min(8.5, size + 1))
    axes.set_xticks(
        range(len(names)), names, fontsize=8.5, rotation=45, ha="left", rotation_mode="anchor"
    )
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    figure.supxlabel(
        "means over seeds; blue better, orange worse than the first\n"
        "by a paired test, Holm-corrected within the row",
        fontsize=8,
    )
    return figure


@style.styled
def radar(values: Floats, metrics: Sequence[str], names: Sequence[str], places: Ints) -> Figure:
    """Draw the profiles of a few configurations, from 0 in the middle.

    Args:
        values: Means over seeds (K, M), all of metrics between 0 and 1 where larger is better.
        metrics: Names (M,), at least 3.
        names: Labels (K,).
        places: Positions among all configurations (K,), which decide the looks.
    """
    angles = np.linspace(0, 2 * np.pi, len(metrics), endpoint=False)
    figure = style.new_figure(7.2, 5.6 + legend_inches(names, 7.2))
    axes: Any = figure.subplots(subplot_kw={"projection": "polar"})
    all_looks = looks(int(np.max(places)) + 1)
    closed = np.append(angles, angles[0])
    for row, name, place in zip(values, names, places, strict=True):
        look = all_looks[place]
        axes.plot(
            closed,
            np.append(row, row[0]),
            color=look.color,
            linestyle=look.pattern,
            marker=look.marker,
            label=name,
        )
    largest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    top = float(np.clip(np.ceil(largest * 10 + 0.2) / 10, 0.1, 1.0))
    axes.set_ylim(0, top)
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, metrics)
    axes.tick_params(axis="x", pad=12)
    axes.tick_params(axis="y", labelsize=7.5, labelcolor="#555555")
    axes.set_rlabel_position(180 / len(metrics))
    axes.spines["polar"].set_visible(False)
    axes.grid(True)
    legend_below(figure, axes, 7.2)
    explain_daggers(figure, names)
    return figure
