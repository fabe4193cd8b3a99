"""Sizes to draw, names of made configurations, and a check that no text of a figure is cut off."""

import pytest

from imbalance_study.evaluation.figures.comparison_style import labels


def _in_ci(*size):
    """A size at the edge, which takes long or shows little more: .ci/run draws it."""
    return pytest.param(*size, marks=pytest.mark.slow)


# Classes: five have odd names (`names_of`), with more than twenty there are no labels for each.
CLASSES = [5, 24, _in_ci(2), _in_ci(102)]
FEW_CLASSES = [5, _in_ci(2), _in_ci(102)]  # of a figure that draws more of them no differently
SIZES = [(2, 5), (3, 24), _in_ci(1, 2), _in_ci(16, 102)]  # configurations, classes


def configurations(count):
    long = "loss=ldam:max_m=0.5,s=30 class_weights=effective:beta=0.9999 defer=0.8 model=b"
    return labels([f"{long}{index}" if index % 2 else f"loss=l{index}" for index in range(count)])


def texts_inside(figure, renderer):
    """Return whether every title, tick and other text of the panels lies within the figure."""
    box = figure.bbox.padded(1)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    texts = [text for axes in shown for text in [axes.title, *axes.texts]]
    for axes in shown:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            texts += [label for at, label in ticks if low <= at <= high]
    found = [
        text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text()
    ]
    return all(
        box.x0 <= one.x0 and one.x1 <= box.x1 and box.y0 <= one.y0 and one.y1 <= box.y1
        for one in found
    )
