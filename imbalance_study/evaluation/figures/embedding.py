"""Figure of the feature space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.metrics import Floats, Ints

TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
MARKERS = "os^Dv"
LEGEND_ROWS = 34
PANEL_INCHES = 4.0


@style.styled
def embedding(
    coordinates: Mapping[str, Floats],
    targets: Ints,
    class_names: Sequence[str],
    explained: Floats,
) -> Figure:
    """Draw projections side by side, with class names at the centres and one legend.

    With more than 20 classes a name that would cover another is replaced by the class's label,
    which the legend explains.

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
            members, name = points[targets == label], style.shown(class_names[label])
            axes.scatter(
                members[:, 0],
                members[:, 1],
                s=10,
                marker=class_marker(int(label), num_classes),
                color=colors[label],
                alpha=0.75,
                linewidths=0,
                label=f"{label}  {name}" if small else name,
            )
        low, high = frame(points, cut_off=method == "pca")
        _name_centres(axes, points, targets, class_names, PANEL_INCHES, (low, high))
        axes.spines[:].set_visible(True)
        axes.set(title=TITLES.get(method, method), xticks=[], yticks=[])
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        outside = int(((points < low) | (points > high)).any(1).sum())
        if outside:
            text = f"{outside:,} of {len(points):,} points lie outside"
            axes.text(0.02, 0.02, text, transform=axes.transAxes, fontsize=7.5, color=style.BLACK)
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


def frame(points: Floats, *, cut_off: bool) -> tuple[Floats, Floats]:
    """Return lower and upper limits (2,) that show the points (N, 2), with a margin.

    Args:
        points: The points.
        cut_off: Show at most half the spread of the middle 90 % beyond these: a few far points
            would squeeze all others into a spot.
    """
    low, high = points.min(0), points.max(0)
    if cut_off:
        inner_low, inner_high = np.percentile(points, [5, 95], axis=0)
        reach = np.maximum(0.5 * (inner_high - inner_low), 1e-12)
        low, high = np.maximum(low, inner_low - reach), np.minimum(high, inner_high + reach)
    margin = np.maximum(0.06 * (high - low), 1e-6)
    return low - margin, high + margin


def class_marker(label: int, num_classes: int) -> str:
    """Return one shape for few classes; for many, whose colours are alike, neighbours differ."""
    return "o" if num_classes <= len(style.TEN) else MARKERS[label % len(MARKERS)]


def _name_centres(
    axes: Axes,
    points: Floats,
    targets: Ints,
    class_names: Sequence[str],
    inches: float,
    limits: tuple[Floats, Floats],
) -> None:
    """Write each class's name at the median of its points, moved apart where two would overlap.

    Of many classes, a name without room is replaced by the class's number in the legend.
    """
    many = len(class_names) > style.FEW_CLASSES
    size = 5.0 if many else 8.5
    labels = np.unique(targets)
    centres = np.array([np.median(points[targets == label], axis=0) for label in labels])
    low, span = limits[0], limits[1] - limits[0]
    names = [style.shown(class_names[label], 14) for label in labels]
    room = np.array([(style.text_inches([name], size), 1.3 * size / 72) for name in names])
    places: Floats = np.clip((centres - low) / span * inches, room / 2, inches - room / 2)
    if many:
        free = _that_fit(places, room)
        names = [
            name if fits else str(label)
            for name, fits, label in zip(names, free, labels, strict=True)
        ]
    else:
        places = _moved_apart(places, room)
    for (x, y), name in zip(low + places / inches * span, names, strict=True):
        axes.text(
            x,
            y,
            name,
            ha="center",
            va="center",
            fontsize=size,
            weight="normal" if many else "bold",
            path_effects=[withStroke(linewidth=2.5, foreground="white", alpha=0.85)],
        )


def _overlaps(places: Floats, room: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return vertical distances (K, K) of boxes, and the pairs of them that overlap."""
    apart = places[:, None] - places[None]
    wanted = (room[:, None] + room[None]) / 2
    together = np.all(np.abs(apart) < wanted, axis=-1) & ~np.eye(len(places), dtype=bool)
    return apart[..., 1], together


def _moved_apart(places: Floats, room: Floats, steps: int = 200) -> Floats:
    """Push overlapping boxes (K, 2) of that width and height (K, 2) up and down, bit by bit."""
    places = places.astype(np.float64)
    rank = np.arange(len(places))
    for _ in range(steps):
        apart, together = _overlaps(places, room)
        if not together.any():
            break
        way = np.where(apart == 0, np.sign(rank[:, None] - rank), np.sign(apart))
        places[:, 1] += 0.15 * room[:, 1] * (way * together).sum(1)
    return places


def _that_fit(places: Floats, room: Floats) -> NDArray[np.bool_]:
    """Return which boxes stay when each one gives way to the ones before it."""
    _, together = _overlaps(places, room)
    stays = np.zeros(len(places), dtype=bool)
    for index in range(len(places)):
        stays[index] = not (together[index] & stays).any()
    return stays
