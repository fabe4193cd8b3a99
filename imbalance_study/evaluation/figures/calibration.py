"""Figures of the probabilities: calibration, rejection, and corrections after training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imbalance_study.evaluation.calibration import (
    Coverage,
    accuracy_by_coverage,
    area_under_risk,
    gap,
    reliability,
    split_confidence,
)
from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.metrics import Floats, Ints
from imbalance_study.evaluation.posthoc import TauSearch


@style.styled
def calibration(targets: Ints, probs: Floats) -> Figure:
    """Draw reliability, the confidence of right and wrong predictions, accuracy by coverage.

    Args:
        targets: True classes (N,), N at least 1.
        probs: Class probabilities (N, C).
    """
    probs = np.asarray(probs, dtype=np.float64)
    figure = style.new_figure(13, 8)
    (upper_left, upper_right), (lower_left, lower_right) = figure.subplots(2, 2)
    _reliability(upper_left, targets, probs)
    right, wrong = split_confidence(targets, probs)
    _histogram(upper_right, right, wrong)
    _coverage(lower_left, accuracy_by_coverage(targets, probs))
    _boxes(lower_right, right, wrong)
    return figure


def _reliability(axes: Axes, targets: Ints, probs: Floats) -> None:
    """Draw bars of accuracy over confidence, and the gap between the two by its direction."""
    bins = reliability(probs.max(1), probs.argmax(1) == targets)
    width = np.diff(bins.edges)
    look: dict[str, Any] = {"width": width, "align": "edge", "edgecolor": "white", "linewidth": 0.6}
    accuracy = np.nan_to_num(bins.accuracy)
    confidence = np.nan_to_num(bins.confidence)
    axes.bar(bins.edges[:-1], accuracy, color=style.BLUE, label="accuracy", **look)
    for name, low, high, color, alpha in (
        ("too sure:\nconfidence\nabove accuracy", accuracy, confidence, style.RED, 0.6),
        ("not sure\nenough", confidence, accuracy, style.SKY, 1.0),  # it covers a part of the blue
    ):
        height = np.maximum(high - low, 0)
        axes.bar(bins.edges[:-1], height, bottom=low, color=color, alpha=alpha, label=name, **look)
    axes.plot([0, 1], [0, 1], ":", color=style.BLACK, linewidth=1)
    error = gap(bins)
    axes.set(title=f"Reliability: calibration error {error:.3f}", xlim=(0, 1), ylim=(0, 1.02))
    axes.set(xlabel="confidence", ylabel="accuracy")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))  # bars are everywhere in the panel


def _histogram(axes: Axes, right: Floats, wrong: Floats) -> None:
    edges = np.linspace(0, 1, 31).tolist()
    for values, name, color in ((right, "right", style.BLUE), (wrong, "wrong", style.ORANGE)):
        label = f"{name} ({len(values):,})"
        axes.hist(values, edges, color=color, alpha=0.6, label=label)
    axes.set(title="Confidence of right and wrong predictions", xlabel="confidence", xlim=(0, 1))
    axes.set_ylabel("predictions")
    style.count_axis(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _boxes(axes: Axes, right: Floats, wrong: Floats) -> None:
    """Draw a box of each, with mean and standard deviation beside it."""
    groups = {"right": right, "wrong": wrong}
    filled = {name: values for name, values in groups.items() if len(values)}
    boxes = axes.boxplot(
        list(filled.values()),
        orientation="horizontal",
        widths=0.5,
        patch_artist=True,
        showmeans=True,
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black"},
        medianprops={"color": style.BLACK},
        flierprops={"marker": ".", "markersize": 2, "alpha": 0.3},
    )
    for box, name in zip(boxes["boxes"], filled, strict=True):
        box.set_facecolor({"right": style.BLUE, "wrong": style.ORANGE}[name])
        box.set_alpha(0.6)
    labels = [
        f"{name}\n{values.mean():.3f} ± {values.std():.3f}" for name, values in filled.items()
    ]
    axes.set_yticks(range(1, len(filled) + 1), labels)
    axes.invert_yaxis()
    axes.set(
        title="Confidence: mean ± standard deviation; diamond: mean",
        xlabel="confidence",
        xlim=(0, 1.02),
    )


def _coverage(axes: Axes, curve: Coverage) -> None:
    axes.plot(curve.coverage, curve.accuracy, color=style.BLUE, drawstyle="steps-post")
    if len(curve.coverage) == 1:
        axes.plot(curve.coverage, curve.accuracy, "o", color=style.BLUE)
    axes.axhline(curve.accuracy[-1], color=style.GREY, linestyle=":", linewidth=1)
    axes.set(xlabel="coverage: share of predictions kept, the surest first", ylabel="accuracy")
    area = area_under_risk(curve)
    axes.set_title(f"Accuracy when the least sure are rejected (mean risk {area:.3f})")
    low = min(float(curve.accuracy.min()), 0.95)
    axes.set(xlim=(0, 1.02), ylim=(max(0.0, low - 0.05), 1.02))
    axes.grid(True)


@style.styled
def accuracy_over_tau(
    searches: Mapping[str, TauSearch], test: Mapping[str, Floats] | None = None
) -> Figure:
    """Draw balanced accuracy over the strength of each post-hoc correction.

    Validation, which selects, is solid in a band of one standard error; the test set is dashed.

    Args:
        searches: Name of the correction to its search on validation.
        test: Name of the correction to balanced accuracy (T,) on the test set, on the same grid.
    """
    figure = style.new_figure(7.5, 4)
    axes = figure.subplots()
    for index, (name, search) in enumerate(searches.items()):
        color = style.OKABE_ITO[index]
        scores, errors = search.balanced_accuracy, search.standard_error
        at = list(search.taus).index(search.best)
        label = f"{name}, validation: {scores[at]:.3f} ± {errors[at]:.3f} at {search.best:g}"
        axes.plot(search.taus, scores, ".-", color=color, label=label)
        axes.plot(search.best, scores[at], "o", markersize=9, markerfacecolor="none", color=color)
        axes.fill_between(
            search.taus, scores - errors, scores + errors, color=color, alpha=0.12, linewidth=0
        )
        if test is not None:
            label = f"{name}, test: {test[name][at]:.3f} there"
            axes.plot(search.taus, test[name], "--", color=color, label=label)
    axes.set(xlabel="tau (0: the model itself)", ylabel="balanced accuracy")
    axes.set_title("Correction after training, chosen on validation (band: one standard error)")
    axes.grid(True)
    figure.legend(loc="outside lower center", ncols=min(2, len(searches)))
    return figure
