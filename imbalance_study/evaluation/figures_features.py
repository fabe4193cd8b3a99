"""Figure of the feature space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from imbalance_study.evaluation import figures_style as style
from imbalance_study.evaluation.metrics import Floats, Ints

TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
MARKERS = "os^Dv"
LEGEND_ROWS = 34


@style.styled
def embedding(
    coordinates: Mapping[str, Floats],
    targets: Ints,
    class_names: Sequence[str],
    explained: Floats,
) -> Figure:
    """Projections side by side, one legend, the class names at the centres of their points.

    Args:
        coordinates: Method (pca, tsne, umap) to points (N, 2).
        targets: True classes (N,).
        class_names: Names (C,).
        explained: Shares of variance of the first principal components, at least 2.
    """
    num_classes = len(class_names)
    ncols = -(-num_classes // LEGEND_ROWS)
    small = num_classes > style.FEW_CLASSES
    figure = style.new_figure(4.3 * len(coordinates) + (1.5 * ncols), 4.8 if not small else 6)
    panels = figure.subplots(1, len(coordinates), squeeze=False)[0]
    colors = style.class_colors(num_classes)
    for axes, (method, points) in zip(panels, coordinates.items(), strict=True):
        for label in np.unique(targets):
            members = points[targets == label]
            axes.scatter(
                members[:, 0],
                members[:, 1],
                s=10,
                marker=_marker(int(label), num_classes),
                color=colors[label],
                alpha=0.75,
                linewidths=0,
                label=style.shown(class_names[label]),
            )
        _name_centres(axes, points, targets, class_names)
        axes.set(title=TITLES.get(method, method), xticks=[], yticks=[])
        axes.margins(0.06)
        if method == "pca":
            axes.set(xlabel=f"{explained[0]:.1%} of the variance", ylabel=f"{explained[1]:.1%}")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside right center",
        ncols=ncols,
        markerscale=2,
        fontsize=6.0 if small else 8.5,
        handletextpad=0.2,
        columnspacing=0.8,
    )
    return figure


def _marker(label: int, num_classes: int) -> str:
    """One shape for few classes; for many, whose colours are alike, neighbours differ."""
    return "o" if num_classes <= len(style.PETROFF) else MARKERS[label % len(MARKERS)]


def _name_centres(axes: Axes, points: Floats, targets: Ints, class_names: Sequence[str]) -> None:
    """Write each class's name at the median of its points."""
    size = 8.5 if len(class_names) <= style.FEW_CLASSES else 5.0
    for label in np.unique(targets):
        centre = np.median(points[targets == label], axis=0)
        axes.text(
            centre[0],
            centre[1],
            style.shown(class_names[label], 14),
            ha="center",
            va="center",
            fontsize=size,
            weight="bold" if size > 6 else "normal",
            path_effects=[withStroke(linewidth=2.5, foreground="white", alpha=0.85)],
        )
