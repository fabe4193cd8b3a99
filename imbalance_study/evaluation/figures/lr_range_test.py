"""Figure of a learning-rate range test."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imbalance_study.evaluation.figures import style

Floats = NDArray[np.floating[Any]]


@style.styled
def range_test(lrs: Floats, losses: Floats, smoothed: Floats, suggestion: float) -> Figure:
    """Draw loss over learning rate, raw and smoothed, with the suggested rate.

    Args:
        lrs: Rising learning rates (S,).
        losses: Of each step (S,).
        smoothed: The same, smoothed (S,).
        suggestion: A learning rate.
    """
    figure = style.new_figure(6, 3.6)
    axes = figure.subplots()
    axes.plot(lrs, losses, ".", color=style.GREY, markersize=3, label="each step")
    axes.plot(lrs, smoothed, color=style.BLUE, label="smoothed")
    axes.axvline(suggestion, color=style.RED, linestyle="--", label=f"suggested: {suggestion:g}")
    low, start = smoothed.min(), smoothed[:10].max()
    axes.set_ylim(max(0.0, low - 0.2 * (start - low)), start + 0.6 * (start - low))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title("range test of the learning rate")
    axes.grid(True)
    axes.legend(loc="lower left")
    return figure
