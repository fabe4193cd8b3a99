"""Figures of explanations: where the model looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from imbalance_study.evaluation.figures import grid as grids
from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.metrics import Floats, Ints

OVERLAY_SIDE = 112  # pixels to which overlays of smaller images are enlarged
ROWS_PER_BLOCK = 26


def overlay(
    image: NDArray[np.uint8], saliency: Floats, colormap: str = "inferno"
) -> NDArray[np.uint8]:
    """The image with its map laid over it, opaque where the map is large.

    Args:
        image: Raw image (H, W, 3); a small one is enlarged to at least 112 pixels.
        saliency: Map (h, w) of any resolution; below 0 counts as 0, and the largest value is the
            end of the colour map. A map without a positive value leaves the image as it is.
        colormap: Name of a matplotlib colour map.

    Raises:
        ValueError: The colour map is not known.
    """
    if colormap not in colormaps:
        raise ValueError(
            f"unknown colormap {colormap!r}; known are matplotlib's, such as "
            "inferno, viridis, magma, cividis, plasma, turbo"
        )
    factor = -(-OVERLAY_SIDE // min(image.shape[:2])) if min(image.shape[:2]) < OVERLAY_SIDE else 1
    enlarged = image.repeat(factor, 0).repeat(factor, 1)
    height, width = enlarged.shape[:2]
    positive = np.maximum(np.nan_to_num(saliency), 0).astype(np.float32)
    stretched = np.asarray(
        Image.fromarray(positive).resize((width, height), Image.Resampling.BILINEAR)
    )
    scaled = stretched / max(float(stretched.max()), 1e-30)
    alpha = 0.75 * scaled[:, :, None] ** 0.7
    colors = 255 * colormaps[colormap](scaled)[:, :, :3]
    blended: NDArray[np.uint8] = ((1 - alpha) * enlarged + alpha * colors).round().astype(np.uint8)
    return blended


@style.styled
def gradcam_errors(
    images: NDArray[np.uint8],
    maps: Floats,
    targets: Ints,
    probs: Floats,
    class_names: Sequence[str],
    *,
    title: str = "Grad-CAM of misclassified images",
    colormap: str = "inferno",
) -> Figure:
    """Each image, then Grad-CAM for the predicted and for the true class.

    Args:
        images: Raw images (K, H, W, 3).
        maps: Maps (K, 2, h, w): of the predicted class, of the true class.
        targets: True classes (K,).
        probs: Class probabilities (K, C).
        class_names: Names (C,).
        title: Title, the layer's name in it where there are several.
        colormap: Name of a matplotlib colour map.
    """
    rivals = np.stack([probs.argmax(1), targets], axis=1)
    places = [divmod(index, 5) for index in range(len(images))]
    captions = [class_names[label] for label in targets]
    return _cam_grid(
        images, maps, rivals, probs, targets, class_names, places, [], captions, title, colormap
    )


@style.styled
def gradcam_of_classes(
    images: NDArray[np.uint8],
    maps: Floats,
    classes: Ints,
    probs: Floats,
    class_names: Sequence[str],
    captions: Sequence[str],
    *,
    title: str,
    colormap: str = "inferno",
) -> Figure:
    """Images of no known class, each with Grad-CAM for two classes.

    Args:
        images: Raw images (K, H, W, 3).
        maps: Maps (K, 2, h, w).
        classes: The classes that the maps explain (K, 2).
        probs: Class probabilities (K, C).
        class_names: Names (C,).
        captions: What stands above each image (K,).
        title: Title.
        colormap: Name of a matplotlib colour map.
    """
    places = [divmod(index, min(3, len(images))) for index in range(len(images))]
    return _cam_grid(
        images, maps, classes, probs, None, class_names, places, [], captions, title, colormap
    )


@style.styled
def gradcam_correct(
    images: NDArray[np.uint8],
    maps: Floats,
    targets: Ints,
    probs: Floats,
    class_names: Sequence[str],
    *,
    title: str = "Grad-CAM of correctly classified images: own class and runner-up",
    colormap: str = "inferno",
) -> Figure:
    """A row for each class: images that are right, Grad-CAM of their class and of the runner-up.

    Args:
        images: Raw images (K, H, W, 3).
        maps: Maps (K, 2, h, w): of the true class, of the second most probable.
        targets: True classes (K,), which decide the row.
        probs: Class probabilities (K, C).
        class_names: Names (C,). The row of a class without an image says none.
        title: Title.
        colormap: Name of a matplotlib colour map.
    """
    rivals = np.stack([targets, runner_up(targets, probs)], axis=1)
    seen = np.zeros(len(class_names), dtype=int)
    places = []
    for label in targets:
        places.append((int(label), int(seen[label])))
        seen[label] += 1
    return _cam_grid(
        images, maps, rivals, probs, targets, class_names, places, class_names, [], title, colormap
    )


def runner_up(targets: Ints, probs: Floats) -> Ints:
    """The most probable class (K,) apart from the given one."""
    others = np.array(probs, dtype=np.float64)
    others[np.arange(len(others)), targets] = -np.inf
    second: Ints = others.argmax(1)
    return second


def _cam_grid(
    images: NDArray[np.uint8],
    maps: Floats,
    rivals: Ints,
    probs: Floats,
    targets: Ints | None,
    class_names: Sequence[str],
    places: Sequence[tuple[int, int]],
    row_labels: Sequence[str],
    captions: Sequence[str],
    title: str,
    colormap: str,
) -> Figure:
    """Triples of image and two overlays at the given rows and positions within them."""
    if not len(images):
        figure = style.new_figure(5, 1.5)
        axes = figure.subplots()
        axes.set_title(title)
        style.note(axes, "no such image")
        return figure
    rows = len(row_labels) or max(row for row, _ in places) + 1
    columns = 3 * (max(column for _, column in places) + 1)
    grid = grids.picture_grid(
        rows,
        columns,
        aspect=images.shape[1] / images.shape[2],
        cell=style.cell_inches(3 * len(images) // 2, 0.5, 1.0),  # captions need room
        caption_lines=1,
        row_labels=row_labels,
        title=title,
        rows_per_block=ROWS_PER_BLOCK,
        group=3,
    )
    room = grids.letters(grid.cell)
    for row in {*range(len(row_labels))} - {row for row, _ in places}:
        left, upper = grids.corner(grid, row, 0)
        grid.axes.text(left, upper + grid.height / 2, "none", va="center", color=style.GREY)
    for index, (row, column) in enumerate(places):
        caption = style.shown(captions[index], room) if captions else ""
        grids.put(grid, row, 3 * column, images[index], caption)
        for which, label in enumerate(rivals[index]):
            right = targets is not None and label == targets[index]
            in_its_row = row_labels and right
            name = "" if in_its_row else style.shown(class_names[label], room - 4)
            caption = f"{name} {100 * probs[index, label]:.0f}%"
            color = style.BLACK if targets is None else style.GREEN if right else style.RED
            picture = overlay(images[index], maps[index, which], colormap)
            grids.put(grid, row, 3 * column + 1 + which, picture, caption, color=color)
    return grid.figure


@style.styled
def feature_maps(
    images: NDArray[np.uint8],
    maps: Floats,
    channels: Ints,
    *,
    title: str,
    colormap: str = "viridis",
) -> Figure:
    """A row per image: the image, then the activations of some channels of one layer.

    Args:
        images: Raw images (N, H, W, 3).
        maps: Activations (N, K, h, w); each channel has one scale for all images.
        channels: Numbers of the channels (K,).
        title: Title, with the layer's name.
        colormap: Name of a matplotlib colour map.
    """
    aspect = images.shape[1] / images.shape[2]
    grid = grids.picture_grid(
        len(images), 1 + len(channels), aspect=aspect, cell=0.9, caption_lines=1, title=title
    )
    for row, image in enumerate(images):
        grids.put(grid, row, 0, image)
        for column, channel in enumerate(channels):
            low, high = maps[:, column].min(), maps[:, column].max()
            caption = f"channel {channel}" if not row else ""
            look = {"cmap": colormap, "vmin": low, "vmax": max(high, low + 1e-12)}
            grids.put(grid, row, column + 1, maps[row, column], caption, **look)
    return grid.figure


@style.styled
def occlusion(
    images: NDArray[np.uint8],
    drop: Floats,
    probability: Floats,
    explained: Ints,
    whole: Floats,
    class_names: Sequence[str],
    *,
    title: str = "Occlusion: image, where hiding hurts, probability while hidden",
    colormap: str = "viridis",
) -> Figure:
    """Each image, the overlay of the drop, and the plain map of the probability with its scale.

    Args:
        images: Raw images (K, H, W, 3).
        drop: Fall of the probability (K, H, W).
        probability: Probability while a pixel is hidden (K, H, W).
        explained: The class whose probability it is (K,).
        whole: Its probability with nothing hidden (K,).
        class_names: Names (C,).
        title: Title.
        colormap: Name of a matplotlib colour map.
    """
    pairs = min(2, len(images))
    grid = grids.picture_grid(
        -(-len(images) // pairs),
        3 * pairs,
        aspect=images.shape[1] / images.shape[2],
        cell=1.15,
        caption_lines=1,
        title=title,
        group=3,
        right=1.05,
    )
    room = grids.letters(grid.cell)
    low, high = float(probability.min()), float(probability.max())
    low, high = (low, high) if high - low > 0.02 else (low - 0.01, low + 0.01)
    for index, image in enumerate(images):
        row, pair = divmod(index, pairs)
        name = style.shown(class_names[explained[index]], room - 4)
        grids.put(grid, row, 3 * pair, image, f"{name} {100 * whole[index]:.0f}%")
        grids.put(grid, row, 3 * pair + 1, overlay(image, drop[index], colormap))
        caption = f"{probability[index].min():.2f} to {probability[index].max():.2f}"
        look = {"cmap": colormap, "vmin": low, "vmax": high}
        grids.put(grid, row, 3 * pair + 2, probability[index], caption, **look)
    grids.color_bar(grid, colormap, "probability of the class", low, high)
    return grid.figure


@style.styled
def deletion(scores: Mapping[str, tuple[Floats, Floats]], fraction: float) -> Figure:
    """How much hiding the most salient part costs, against the same shape elsewhere.

    Args:
        scores: Method (Grad-CAM, occlusion) to the fall of the probability of each image when its
            salient part is hidden (K,) and when random parts are (K,).
        fraction: Share of the pixels that is hidden.
    """
    figure = style.new_figure(max(6.0, 4.2 * len(scores)), 4.2)
    panels = figure.subplots(1, len(scores), squeeze=False, sharey=True)[0]
    for axes, (method, pair) in zip(panels, scores.items(), strict=True):
        salient, random = (np.asarray(values, dtype=np.float64) for values in pair)
        axes.plot([0, 1], np.stack([salient, random]), color=style.GREY, linewidth=0.6, alpha=0.6)
        for at, values, color in ((0, salient, style.RED), (1, random, style.BLUE)):
            axes.plot(np.full(len(values), at), values, "o", color=color, alpha=0.6)
            axes.plot(
                [at - 0.18, at + 0.18], [values.mean()] * 2, color=color, linewidth=3, zorder=5
            )
        names = [f"most salient {fraction:.0%}", "same shape elsewhere"]
        means = [f"\nmean {values.mean():.3f}" for values in (salient, random)]
        axes.set_xticks([0, 1], [name + mean for name, mean in zip(names, means, strict=True)])
        axes.set(title=f"{method}, {len(salient)} images", xlim=(-0.5, 1.5))
        axes.axhline(0, color=style.GREY, linewidth=0.8, linestyle=":")
        axes.grid(axis="y")
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(min(low, -0.02), max(high, 0.1))  # nothing happens, and it shows
    panels[0].set_ylabel("fall of the probability when hidden")
    return figure
