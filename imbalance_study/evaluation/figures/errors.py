"""Figures of errors: misclassified images, confused pairs, curves and recall of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from imbalance_study.evaluation.errors import ClassCurves
from imbalance_study.evaluation.figures import grid, style
from imbalance_study.evaluation.metrics import Floats, Ints, frequency_thirds


@style.styled
def labelled_images(
    images: NDArray[np.uint8],
    targets: Ints,
    predictions: Ints,
    confidence: Floats,
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Draw a grid of images, each with its label, its prediction and the confidence.

    The prediction is red where it is wrong and green where it is right.

    Args:
        images: Raw images (K, H, W, 3); five in a row.
        targets: True classes (K,).
        predictions: Predicted classes (K,).
        confidence: Probability of the prediction (K,).
        class_names: Names (C,).
        title: Title of the figure.
    """
    if not len(images):
        return style.empty_figure(title, "no such image")
    sheet = grid.contact_grid(images, 5, title)
    room = grid.letters(sheet.cell)
    for index, image in enumerate(images):
        label, predicted = targets[index], predictions[index]
        name = style.shown(class_names[predicted], room - 6)
        caption = (
            f"{style.shown(class_names[label], room)}\n→ {name} {100 * confidence[index]:.0f}%"
        )
        row, column = divmod(index, sheet.columns)
        color = style.GREEN if label == predicted else style.RED
        grid.put(sheet, row, column, image, caption, color=color)
    return sheet.figure


@style.styled
def confused_pairs(table: Mapping[str, Sequence[Any]]) -> Figure:
    """Draw the most confused pairs as bars, from the columns of `errors.most_confused`."""
    names = [
        f"{style.shown(true)} → {style.shown(predicted)}"
        for true, predicted in zip(table["true"], table["predicted"], strict=True)
    ]
    if not names:
        return style.empty_figure("Most confused pairs", "no error")
    figure = style.new_figure(style.text_inches(names) + 4.5, 0.27 * len(names) + 0.9)
    axes = figure.subplots()
    bars = axes.barh(range(len(names)), table["images"], color=style.BLUE)
    shares = [f" {share:.0%} of the class" for share in table["share"]]
    axes.bar_label(bars, shares, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(title="Most confused pairs: true → predicted", xlabel="images")
    axes.set_xlim(0, 1.35 * max(table["images"]))
    style.count_axis(axes, "x")
    return figure


@style.styled
def roc_pr(
    curves: Sequence[ClassCurves | None], class_names: Sequence[str], train_counts: Ints
) -> Figure:
    """Draw the ROC and the precision-recall curve of each class against the rest.

    Up to 10 classes have a colour and an entry with their areas each; more are coloured by their
    number of training images.

    Args:
        curves: Result of `errors.class_curves` (C,); None is left out.
        class_names: Names (C,).
        train_counts: Training images (C,).
    """
    few = len(curves) <= len(style.TEN)
    figure = style.new_figure(13.5 if few else 11.5, 4.8)
    roc, recall = figure.subplots(1, 2)
    counts = np.maximum(train_counts, 1)
    scale = ScalarMappable(LogNorm(counts.min(), max(counts.max(), counts.min() + 1)), "viridis_r")
    colors = style.class_colors(len(curves)) if few else [scale.to_rgba(count) for count in counts]
    for label, curve in enumerate(curves):
        if curve is None:
            continue
        look: dict[str, Any] = {"color": colors[label], "linewidth": 1.5 if few else 0.8}
        areas = f"{curve.roc_auc:.3f}   {curve.average_precision:.3f}"
        name = f"{areas}   {style.shown(class_names[label])}"
        roc.plot(curve.false_positive_rate, curve.true_positive_rate, label=name, **look)
        recall.step(
            np.append(0, curve.recall), np.append(curve.precision[0], curve.precision), **look
        )
    roc.plot([0, 1], [0, 1], ":", color=style.GREY, linewidth=1)
    _unit_square(roc, "ROC", "false positive rate", "true positive rate")
    _unit_square(recall, "Precision and recall", "recall", "precision")
    known = [curve for curve in curves if curve is not None]
    if not known:
        style.note(roc, "no class with both sides")
    elif few:
        handles = roc.get_lines()[:-1]
        title = "ROC AUC, average precision"
        figure.legend(handles=handles, loc="outside right center", title=title)
    else:
        bar = figure.colorbar(scale, ax=[roc, recall], label="training images of the class")
        bar.ax.yaxis.set_major_formatter(style.plain_numbers)
        means = np.mean([(curve.roc_auc, curve.average_precision) for curve in known], axis=0)
        roc.set_title(f"ROC, mean area {means[0]:.3f}")
        recall.set_title(f"Precision and recall, mean average precision {means[1]:.3f}")
    return figure


def _unit_square(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.grid(True)


@style.styled
def recall_over_epochs(recall: Floats, train_counts: Ints, class_names: Sequence[str]) -> Figure:
    """Draw the recall of each class after each epoch, and the means of head, medium and tail.

    Args:
        recall: Recall (E, C) on validation; NaN for a class without images.
        train_counts: Training images (C,); the classes are sorted by them.
        class_names: Names (C,).
    """
    epochs, num_classes = recall.shape
    order = np.argsort(-np.asarray(train_counts), kind="stable")
    height = float(np.clip(1.2 + 0.22 * num_classes, 3.6, 11))
    figure = style.new_figure(12, height)
    classes, thirds = figure.subplots(1, 2)
    image = classes.imshow(
        np.ma.masked_invalid(recall[:, order].T),
        cmap="viridis",
        vmin=0,
        vmax=1,
        aspect="auto",
        extent=(0.5, epochs + 0.5, num_classes - 0.5, -0.5),
    )
    figure.colorbar(image, ax=classes, label="recall")
    names = [f"{style.shown(class_names[label])}  {train_counts[label]:,}" for label in order]
    classes.set_yticks(range(num_classes), names, fontsize=style.name_size(num_classes, height - 1))
    classes.set(title="Recall; class and its training images", xlabel="epoch")
    for name, labels, color in zip(
        ("head", "medium", "tail"),
        frequency_thirds(train_counts),
        (style.BLUE, style.ORANGE, style.RED),
        strict=True,
    ):
        known = [label for label in labels if not np.isnan(recall[:, label]).all()]
        if known:
            means = np.nanmean(recall[:, known], axis=1)
            marker = "o" if epochs <= 30 else None
            thirds.plot(np.arange(1, epochs + 1), means, color=color, label=name, marker=marker)
    thirds.set(title="Mean recall of thirds by training images", xlabel="epoch", ylim=(-0.02, 1.02))
    thirds.set_xlim(0.5, epochs + 0.5)
    thirds.grid(True)
    thirds.legend()
    for axes in (classes, thirds):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure
