"""Figures of classes in several configurations: confusion matrices, feature clusters, recalls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.figures.comparison_style import (
    label_lines,
    legend_below,
    legend_inches,
    looks,
)
from imbalance_study.evaluation.figures.embedding import (
    LEGEND_ROWS,
    class_marker,
    frame,
)
from imbalance_study.evaluation.metrics import Floats, Ints

FREQUENCY_BINS = 10  # of many classes


def _grid(count: int) -> tuple[int, int]:
    """Return rows and columns of `count` cells, up to four side by side."""
    columns = count if count <= 3 else 4 if count > 6 else -(-count // 2)
    return -(-count // columns), columns


@style.styled
def confusion_panel(
    shares: Sequence[Floats], scores: Sequence[float], names: Sequence[str], classes: Sequence[str]
) -> Figure:
    """Draw a confusion matrix per configuration: shares of each true class, over all seeds.

    Args:
        shares: Matrices (C, C); a row is NaN where the class has no image.
        scores: Mean balanced accuracy of each, in its title.
        names: Labels of the configurations.
        classes: Names (C,).
    """
    rows, columns = _grid(len(shares))
    few = len(classes) <= style.FEW_CLASSES
    side = 2.9 if few else 3.2
    room = style.text_inches([style.shown(name) for name in classes], 7.5) if few else 0.4
    title = 0.4 + 0.16 * label_lines(names)
    figure = style.new_figure(
        columns * side + min(room, 1.5) + 1.0, rows * (side + title) + min(room, 1.5) + 0.4
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image = None
    for index, axes in enumerate(panels.ravel()):
        if index >= len(shares):
            axes.set_visible(False)
            continue
        image = axes.imshow(shares[index], cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_title(f"{names[index]}\nbalanced accuracy {scores[index]:.3f}", fontsize=9)
        axes.spines[:].set_visible(False)
        _write_shares(axes, shares[index])
        below = index + columns >= len(shares)
        _class_axes(axes, classes, side, x=below, y=index % columns == 0)
    if image is not None:
        bar = figure.colorbar(image, ax=panels, fraction=0.02, pad=0.01, aspect=40)
        bar.set_label("share of the true class")
    return figure


def _write_shares(axes: Axes, shares: Floats) -> None:
    if len(shares) > 10:
        return
    for (row, column), value in np.ndenumerate(shares):
        if np.isnan(value) or value < 0.005:
            continue
        text = f"{value:.2f}".removeprefix("0")
        color = "white" if value > 0.55 else "black"
        size = 5.5 if len(shares) > 6 else 7.5
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


def _class_axes(axes: Axes, classes: Sequence[str], side: float, *, x: bool, y: bool) -> None:
    """Write class names at the outer cells alone; none where they would be too many to read."""
    if len(classes) > style.FEW_CLASSES:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("predicted, classes in label order" if x else "")
        axes.set_ylabel("true" if y else "")
        return
    size = min(7.5, style.name_size(len(classes), side - 0.3))
    names = [style.shown(name) for name in classes]
    axes.set_xticks(range(len(names)), names, fontsize=size, rotation=90)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(labelbottom=x, labelleft=y, length=2)
    axes.set(xlabel="predicted" if x else "", ylabel="true" if y else "")


@style.styled
def cluster_panel(
    points: Sequence[Floats],
    targets: Ints,
    scores: Sequence[float],
    names: Sequence[str],
    classes: Sequence[str],
    title: str,
) -> Figure:
    """Draw t-SNE of the same test images, a cell per configuration, with one legend.

    Args:
        points: Coordinates (N, 2) of each configuration; row n is the same image in all.
        targets: True classes (N,).
        scores: Macro F1 of each run, written under its cell.
        names: Labels of the configurations.
        classes: Names (C,).
        title: Title, with the images and the seed.
    """
    rows, columns = _grid(len(points))
    many = len(classes) > style.FEW_CLASSES
    legend_columns = -(-len(classes) // (LEGEND_ROWS if rows == 1 else 2 * LEGEND_ROWS))
    side, title_inches = 3.1, 0.35 + 0.16 * label_lines(names)
    figure = style.new_figure(
        columns * side + 1.6 * legend_columns, rows * (side + title_inches) + 0.3
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, axes in enumerate(panels):
        if index >= len(points):
            axes.set_visible(False)
            continue
        _scatter(axes, points[index], targets, len(classes))
        axes.spines[:].set_visible(True)
        low, high = frame(points[index], cut_off=False)
        axes.set(xticks=[], yticks=[], xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.set_title(names[index], fontsize=9)
        axes.set_xlabel(f"macro F1 {scores[index]:.3f}")
    figure.suptitle(title, fontsize=10)
    figure.legend(
        handles=_class_handles(np.unique(targets), classes),
        loc="outside right center",
        ncols=legend_columns,
        fontsize=6.0 if many else 8.5,
        handletextpad=0.2,
        columnspacing=0.8,
    )
    return figure


def _scatter(axes: Axes, points: Floats, targets: Ints, num_classes: int) -> None:
    """Draw one collection per marker: a hundred in each cell would take a minute to draw."""
    colors = np.array([to_rgba(color) for color in style.class_colors(num_classes)])
    markers = np.array([class_marker(int(label), num_classes) for label in targets])
    for marker in np.unique(markers):
        rows = markers == marker
        axes.scatter(
            points[rows, 0],
            points[rows, 1],
            s=7,
            marker=str(marker),
            color=colors[targets[rows]],
            alpha=0.75,
            linewidths=0,
        )


def _class_handles(labels: Ints, classes: Sequence[str]) -> list[Line2D]:
    """Return the legend entries of the classes."""
    colors = style.class_colors(len(classes))
    many = len(classes) > style.FEW_CLASSES
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=class_marker(int(label), len(classes)),
            color=colors[label],
            markersize=4 if many else 6,
            label=f"{label}  {style.shown(classes[label])}"
            if many
            else style.shown(classes[label]),
        )
        for label in labels
    ]


@style.styled
def recall_compared(
    train_counts: Ints, recalls: Sequence[Floats], names: Sequence[str], classes: Sequence[str]
) -> Figure:
    """Draw the recall of each class for every configuration, from most to fewest images.

    Of more than 20 classes, means over ten groups of neighbours in that order are drawn.

    Args:
        train_counts: Training images (C,), drawn as bars behind.
        recalls: Recall (C,) of each configuration, the mean over seeds; NaN is left out.
        names: Labels of the configurations, the baseline first.
        classes: Names (C,).
    """
    order = np.argsort(-np.asarray(train_counts), kind="stable")
    groups = _neighbours(order)
    width = float(np.clip(2.5 + 0.75 * len(groups), 7.5, 16))
    figure = style.new_figure(width, 4.4 + legend_inches(names, width))
    axes = figure.subplots()
    images = axes.twinx()
    sizes = np.array([np.mean(train_counts[group]) for group in groups])
    images.bar(range(len(groups)), sizes, 0.9, color="#E3E3E3")
    images.set_ylim(0.7, 1.5 * max(1.0, float(sizes.max())))
    style.log_counts(images)
    images.set_ylabel("training images (bars, log)")
    images.spines["right"].set_visible(True)
    axes.set_zorder(images.get_zorder() + 1)
    axes.patch.set_visible(False)
    shift = np.linspace(-0.22, 0.22, len(names)) if len(names) > 1 else np.zeros(1)
    for index, (look, recall) in enumerate(zip(looks(len(names)), recalls, strict=True)):
        axes.plot(
            np.arange(len(groups)) + shift[index],
            [_known_mean(recall[group]) for group in groups],
            color=look.color,
            linestyle=look.pattern,
            marker=look.marker,
            linewidth=1.1,
            label=names[index],
        )
    axes.set(ylabel="recall, mean over seeds", ylim=(-0.03, 1.03), xlim=(-0.6, len(groups) - 0.4))
    axes.grid(axis="y")
    axes.set_title("Recall, from the classes with most to those with fewest training images")
    ticks = [
        classes[group[0]] if len(group) == 1 else _range(train_counts[group]) for group in groups
    ]
    style.class_ticks(axes, ticks, width - 1.4)
    if len(groups) < len(classes):
        axes.set_xlabel(
            f"training images of a class; {len(classes)} classes in {len(groups)} groups"
        )
    legend_below(figure, axes, width)
    return figure


def _neighbours(order: Ints) -> list[Ints]:
    few = len(order) <= style.FEW_CLASSES
    return np.array_split(order, len(order) if few else FREQUENCY_BINS)


def _known_mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _range(counts: Ints) -> str:
    most, fewest = int(np.max(counts)), int(np.min(counts))
    return f"{most:,}" if most == fewest else f"{most:,}–{fewest:,}"
