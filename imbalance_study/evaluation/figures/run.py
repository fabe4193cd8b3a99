"""Figures of a run's data, training and result.

Arrays in, matplotlib Figure out; nothing here saves or shows a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.metrics import Floats, Ints, frequency_thirds

WILSON_Z = 1.959964  # 95 %
MAX_PICTURES = 330
ROWS_PER_BLOCK = 26  # of the grid of samples, before it goes on in a second block


@style.styled
def class_distribution(counts: Mapping[str, Ints], class_names: Sequence[str]) -> Figure:
    """Draw images per class in each split, on a linear and on a logarithmic axis.

    Args:
        counts: Split name to its class counts (C,); the first split is drawn as bars.
        class_names: Names (C,) in label order.
    """
    num_classes = len(class_names)
    width = float(np.clip(2 + 0.45 * num_classes, 6, 16))
    figure = style.new_figure(width, 7.2 if num_classes <= style.FEW_CLASSES else 8.5)
    panels = figure.subplots(2, 1, sharex=True)
    for axes, scale in zip(panels, ("linear", "log"), strict=True):
        _class_bars(axes, counts)
        axes.set_ylabel(f"images ({scale})")
        axes.grid(axis="y")
        axes.set_xlim(-0.6, num_classes - 0.4)
    style.count_axis(panels[0])
    panels[1].set_ylim(0.7, 2 * max(1, *(int(np.max(values)) for values in counts.values())))
    style.log_counts(panels[1])
    style.class_ticks(panels[1], class_names, width - 0.8)
    first = np.asarray(next(iter(counts.values())))
    ratio = f"{first.max() / first[first > 0].min():.4g}" if first.any() else "undefined"
    sizes = ", ".join(f"{split} {np.sum(values):,}" for split, values in counts.items())
    panels[0].set_title(f"Images per class: {sizes}; imbalance ratio {ratio}")
    panels[0].legend(ncols=len(counts))
    return figure


def _class_bars(axes: Axes, counts: Mapping[str, Ints | Floats]) -> None:
    """Draw grouped bars of few classes; bars and one marked line per further split of many."""
    num_classes = len(next(iter(counts.values())))
    few = num_classes <= style.FEW_CLASSES
    each = 0.84 / len(counts) if few else 0.84
    for index, (split, values) in enumerate(counts.items()):
        color = style.OKABE_ITO[index]
        if few or not index:
            offset = (index - (len(counts) - 1) / 2) * each if few else 0.0
            axes.bar(np.arange(num_classes) + offset, values, each, color=color, label=split)
        else:
            axes.plot(values, ".-", color=color, linewidth=0.8, label=split)


@style.styled
def augmented_samples(images: NDArray[np.uint8], class_names: Sequence[str]) -> Figure:
    """Draw a row per class: the original image, then augmented versions of it.

    Args:
        images: Raw images (R, K, H, W, 3); [:, 0] are the originals. With many classes fewer
            columns are drawn, to keep the file small (3 of 102 classes).
        class_names: The label of each row (R,).
    """
    images = images[:, : max(2, MAX_PICTURES // len(images))]
    rows, columns, height, wide = images.shape[:4]
    blocks = -(-rows // ROWS_PER_BLOCK)
    per_block = -(-rows // blocks)
    cell = style.cell_inches(rows * columns)
    names = [style.shown(name) for name in class_names]
    size = min(9.0, 0.8 * 72 * cell * height / wide)
    labels = style.text_inches(names, size) + 0.3
    figure = style.new_figure(
        blocks * (columns * cell + labels), 1.05 * per_block * cell * height / wide + 0.35
    )
    figure.set_layout_engine("compressed")  # else pictures push the labels out of the figure
    gap = max(1, wide // 16)
    columns_at = np.arange(columns) * (wide + gap) + wide / 2
    for block, axes in enumerate(figure.subplots(1, blocks, squeeze=False)[0]):
        part = slice(block * per_block, (block + 1) * per_block)
        axes.imshow(style.mosaic(images[part], gap), interpolation="antialiased")
        axes.set_ylim(per_block * (height + gap) - gap - 0.5, -0.5)
        rows_at = np.arange(len(names[part])) * (height + gap) + height / 2
        axes.set_yticks(rows_at, names[part], fontsize=size)
        heads = [columns_at[0], (columns_at[min(1, columns - 1)] + columns_at[-1]) / 2]
        shown = min(columns, 2)
        axes.set_xticks(heads[:shown], ["original", "augmented"][:shown])
        axes.set_anchor("N")
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
    return figure


@style.styled
def training_curves(
    history: Mapping[str, Sequence[float]], best_epoch: int | None = None
) -> Figure:
    """Draw losses, accuracies and the learning rate over the epochs.

    Args:
        history: Column name to one value per epoch. Columns called ``.../loss`` go into the first
            panel, ``lr`` into the third, all others (``train/accuracy``,
            ``val/balanced_accuracy``) into the second. A missing value is NaN.
        best_epoch: Number of the selected epoch, counted from 1, marked when given.
    """
    rates = [name for name in history if name.rsplit("/", 1)[-1] == "lr"]
    losses = [name for name in history if name.rsplit("/", 1)[-1] == "loss"]
    scores = [name for name in history if name not in rates and name not in losses]
    figure = style.new_figure(12, 3.6)
    panels = figure.subplots(1, 3)
    titles = ("loss", "score", "learning rate")
    for axes, title, names in zip(panels, titles, (losses, scores, rates), strict=True):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        _curves(axes, {name: history[name] for name in names})
        if best_epoch is not None:
            axes.axvline(best_epoch, color=style.GREY, linestyle=":", label="selected")
        if names:
            axes.legend()
    if scores:
        panels[1].set_ylim(-0.02, 1.02)
    rate = np.asarray(history[rates[0]], dtype=float) if rates else np.zeros(0)
    if len(rate) and (rate > 0).all() and rate.max() > 20 * rate.min():
        panels[2].set_yscale("log")
        # A cosine ends next to 0, which would add empty decades.
        panels[2].set_ylim(bottom=max(0.5 * rate.min(), 5e-4 * rate.max()))
    return figure


def _curves(axes: Axes, columns: Mapping[str, Sequence[float]]) -> None:
    """Draw a line per column: one colour per split, one line style per quantity."""
    splits = {"train": style.ORANGE, "val": style.BLUE}
    patterns = ["-", "--", ":", "-."]
    quantities = list(dict.fromkeys(name.rsplit("/", 1)[-1] for name in columns))
    for name, values in columns.items():
        split, _, quantity = name.rpartition("/")
        axes.plot(
            np.arange(1, len(values) + 1),
            np.asarray(values, dtype=float),
            linestyle=patterns[quantities.index(quantity) % len(patterns)],
            marker="o" if len(values) <= 30 else None,
            color=splits.get(split, style.GREEN),
            label=name,
        )
    if not columns:
        style.note(axes, "not recorded")
        return
    axes.grid(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if max(len(values) for values in columns.values()) == 1:
        axes.set_xlim(0.5, 1.5)


@style.styled
def confusion_matrices(confusion: Ints, class_names: Sequence[str]) -> Figure:
    """Draw counts and shares of each true class, side by side.

    Args:
        confusion: Counts (C, C), a row per true class. A class without images has an empty row.
        class_names: Names (C,) in label order.
    """
    num_classes = len(class_names)
    side = float(np.clip(2.2 + 0.42 * num_classes, 4.4, 11.2))
    figure = style.new_figure(2 * side + 1.2, side)
    support = confusion.sum(1, keepdims=True)
    shares = np.where(support > 0, confusion / np.maximum(support, 1), np.nan)
    annotated = num_classes <= style.FEW_CLASSES
    for axes, values, title in zip(
        figure.subplots(1, 2),
        (confusion, shares),
        ("images", "share of the true class"),
        strict=True,
    ):
        top = 1.0 if values is shares else max(float(confusion.max()), 1.0)
        image = axes.imshow(values, cmap="Blues", vmin=0, vmax=top, aspect="auto")
        figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
        style.class_ticks(axes, class_names, side - 1.6)
        style.class_ticks(axes, class_names, side - 1.6, "y")
        axes.set(title=title, xlabel="predicted", ylabel="true")
        axes.spines[:].set_visible(False)
        if annotated:
            _annotate(axes, values, top, counts=values is not shares)
    return figure


def _annotate(axes: Axes, values: Ints | Floats, top: float, counts: bool) -> None:
    """Write the value into every cell that is not 0, in white on dark cells."""
    size = 8.5 if len(values) <= 12 else 6.0
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value) or value < 0.005:
            continue
        text = f"{value:d}" if counts else f"{value:.2f}".removeprefix("0")
        color = "white" if value > 0.55 * top else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


@style.styled
def recall_by_frequency(
    train_counts: Ints, recall: Floats, test_counts: Ints, class_names: Sequence[str]
) -> Figure:
    """Draw the recall of each class, from most to fewest training images, over bars of these.

    Args:
        train_counts: Training images (C,).
        recall: Recall (C,); NaN is left out.
        test_counts: Test images (C,), for the 95 % Wilson intervals.
        class_names: Names (C,) in label order.
    """
    num_classes = len(class_names)
    order = np.argsort(-np.asarray(train_counts), kind="stable")
    width = float(np.clip(2 + 0.45 * num_classes, 6.5, 16))
    figure = style.new_figure(width, 4.6)
    axes = figure.subplots()
    images = axes.twinx()
    images.bar(range(num_classes), train_counts[order], 0.8, color="#D9D9D9")
    images.set_ylim(0.7, 1.5 * max(1, int(np.max(train_counts))))
    style.log_counts(images)
    images.set_ylabel("training images (bars, log)")
    images.spines["right"].set_visible(True)
    axes.set_zorder(images.get_zorder() + 1)
    axes.patch.set_visible(False)
    low, high = wilson_interval(recall[order], test_counts[order])
    bars = np.maximum([recall[order] - low, high - recall[order]], 0)
    axes.errorbar(
        range(num_classes), recall[order], bars, fmt="o", color=style.BLUE, capsize=2, elinewidth=1
    )
    _mark_thirds(axes, train_counts, recall)
    axes.set(ylabel="recall, 95 % interval", ylim=(-0.03, 1.03), xlim=(-0.6, num_classes - 0.4))
    axes.set_title("Recall, classes from most to fewest training images", pad=18)
    style.class_ticks(axes, [class_names[label] for label in order], width - 1.4)
    return figure


def _mark_thirds(axes: Axes, train_counts: Ints, recall: Floats) -> None:
    """Draw a line at the mean recall of head, medium and tail, with its name above the panel."""
    start = 0
    for name, labels in zip(
        ("head", "medium", "tail"), frequency_thirds(train_counts), strict=True
    ):
        known = recall[labels][~np.isnan(recall[labels])]
        if len(known):
            ends = start - 0.45, start + len(labels) - 0.55
            axes.plot(ends, [known.mean()] * 2, color=style.RED, linewidth=1.2, alpha=0.9)
            axes.text(
                float(np.mean(ends)),
                1.01,
                f"{name} {known.mean():.3f}",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                color=style.RED,
                fontsize=8.5,
            )
        start += len(labels)


def wilson_interval(share: Floats, counts: Ints) -> tuple[Floats, Floats]:
    """Compute 95 % score intervals (Wilson 1927) of shares (C,) of `counts` (C,)."""
    counts = np.where(np.asarray(counts) > 0, counts, np.nan)
    squared = WILSON_Z**2 / counts
    centre = (share + squared / 2) / (1 + squared)
    half = np.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return centre - half, centre + half


@style.styled
def sampled_classes(train_counts: Ints, sampled: Ints, class_names: Sequence[str]) -> Figure:
    """Draw the share of each class in the training set and among the sampled images.

    Args:
        train_counts: Training images (C,).
        sampled: Draws of the first epoch (C,).
        class_names: Names (C,) in label order.
    """
    num_classes = len(class_names)
    width = float(np.clip(2 + 0.45 * num_classes, 6, 16))
    figure = style.new_figure(width, 4)
    axes = figure.subplots()
    shares = {}
    for name, counts in {"training set": train_counts, "first epoch": sampled}.items():
        total = int(np.sum(counts))
        shares[f"{name} ({total:,} images)"] = 100 * counts / max(total, 1)
    _class_bars(axes, shares)
    axes.axhline(100 / num_classes, color=style.GREY, linestyle=":", label="equal shares")
    axes.set(
        ylabel="share in %", title="Classes drawn by the sampler", xlim=(-0.6, num_classes - 0.4)
    )
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    style.class_ticks(axes, class_names, width - 0.8)
    return figure
