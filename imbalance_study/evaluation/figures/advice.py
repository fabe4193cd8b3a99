"""Figures of an advice: remedies, recalls, worth of more images, rejection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.metrics import Floats

_WIDE = 7.0


@style.styled
def remedies(
    names: Sequence[str],
    difference: Floats,
    low: Floats,
    high: Floats,
    proven: Sequence[bool],
    unit: str,
) -> Figure:
    """Draw the difference of each remedy to the baseline with its interval, the best on top.

    Args:
        names: Remedies (K,), in the order of the figure.
        difference: Of the metric (K,).
        low: Lower ends (K,).
        high: Upper ends (K,).
        proven: Whether each differs from the baseline, Holm-corrected: filled, else hollow.
        unit: Of the differences, for the axis.
    """
    figure = style.new_figure(_WIDE, 1.1 + 0.32 * len(names))
    axes = figure.subplots()
    axes.axvline(0, color=style.BLACK, linewidth=1)
    for place in range(len(names)):
        if np.isfinite(low[place]):
            axes.plot([low[place], high[place]], [place, place], color=style.BLUE, linewidth=2)
        face = style.BLUE if proven[place] else "white"
        axes.plot(
            difference[place], place, "o", color=style.BLUE, markerfacecolor=face, markersize=7
        )
    axes.set_yticks(range(len(names)), [style.shown(name, 30) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel(f"difference to plain cross-entropy, {unit}; filled: Holm-corrected p < 0.05")
    return figure


@style.styled
def recalls(
    class_names: Sequence[str], counts: Floats, recall: Floats, labels: Sequence[str]
) -> Figure:
    """Draw the recall of each class for one or two remedies, from the frequent to the rare class.

    Args:
        class_names: (C,).
        counts: Images of each class (C,).
        recall: Of each remedy and class (K, C).
        labels: Names of the remedies (K,).
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    figure = style.new_figure(_WIDE, 1.3 + 0.28 * len(order))
    axes = figure.subplots()
    places = np.arange(len(order))
    if len(labels) > 1:
        ends = 100 * recall[:, order]
        axes.hlines(places, ends.min(0), ends.max(0), color="#BBBBBB", linewidth=2, zorder=1)
    for row, label, color in zip(recall, labels, (style.GREY, style.BLUE), strict=False):
        axes.scatter(100 * row[order], places, s=42, color=color, label=label, zorder=2)
    ticks = [f"{style.shown(class_names[one])} ({counts[one]:,.0f})" for one in order]
    axes.set_yticks(places, ticks)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("recall, %")
    axes.grid(axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


@style.styled
def more_images(
    class_names: Sequence[str],
    gain: Floats,
    low: Floats,
    high: Floats,
    remedy: float,
    labels: Sequence[str],
    unit: str,
) -> Figure:
    """Draw the gain from more images of each class, beside that of the best remedy.

    Args:
        class_names: (C,), in the order of the figure.
        gain: For each number of images and class (K, C).
        low: Lower ends (K, C).
        high: Upper ends (K, C).
        remedy: Gain of the best remedy, as a line.
        labels: Of the numbers of images (K,).
        unit: Of the gains, for the axis.
    """
    figure = style.new_figure(_WIDE, 1.5 + 0.42 * len(class_names))
    axes = figure.subplots()
    axes.axvline(0, color=style.BLACK, linewidth=1)
    axes.axvline(remedy, color=style.ORANGE, linewidth=2, label="the best remedy")
    places = np.arange(len(class_names))
    for row, (label, color) in enumerate(zip(labels, (style.SKY, style.BLUE), strict=False)):
        at = places + (0.32 * row - 0.16)
        axes.hlines(at, low[row], high[row], color=color, linewidth=2)
        axes.scatter(gain[row], at, s=36, color=color, label=label, zorder=3)
    axes.set_yticks(places, [style.shown(name) for name in class_names])
    axes.set_ylim(len(class_names) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel(f"expected gain, {unit}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


@style.styled
def rejection(kept: Floats, scores: Sequence[Floats], labels: Sequence[str]) -> Figure:
    """Draw scores of the surest images over the share that is kept.

    Args:
        kept: Shares (K,).
        scores: Of each curve (K,).
        labels: Of the curves.
    """
    figure = style.new_figure(5.5, 3.2)
    axes = figure.subplots()
    for values, label, color in zip(scores, labels, style.OKABE_ITO, strict=False):
        axes.plot(100 * np.asarray(kept), values, "o-", color=color, label=label)
    axes.invert_xaxis()
    axes.set_xlabel("images that are decided, %; the least sure ones go to a person")
    axes.grid(axis="y")
    axes.legend()
    return figure
