"""Figures of attributions: Grad-CAM, feature maps, occlusion, deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from imbalance_study.evaluation.figures import grid, style
from imbalance_study.evaluation.metrics import Floats, Ints

if TYPE_CHECKING:
    from imbalance_study.evaluation.attribution import Occlusion

OVERLAY_SIDE = 112  # pixels to which overlays of smaller images are enlarged
ROWS_PER_BLOCK = 26


def overlay(
    image: NDArray[np.uint8], saliency: Floats, colormap: str = "inferno"
) -> NDArray[np.uint8]:
    """Lay the map over the image, opaque where the map is large.

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


class ClassMaps(NamedTuple):
    """Images, each with the maps of two classes."""

    images: NDArray[np.uint8]  # (K, H, W, 3), raw
    maps: Floats  # (K, 2, h, w)
    classes: Ints  # (K, 2), the classes that the maps explain
    probs: Floats  # (K, C)
    class_names: Sequence[str]  # (C,)


class _Places(NamedTuple):
    """Row and position of each image, with captions above the images or labels beside the rows."""

    places: Sequence[tuple[int, int]]  # (K,)
    captions: Sequence[str] = ()  # (K,)
    row_labels: Sequence[str] = ()


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
    """Draw each image, then Grad-CAM for the predicted and for the true class.

    Args:
        images: Raw images (K, H, W, 3).
        maps: Maps (K, 2, h, w): of the predicted class, of the true class.
        targets: True classes (K,).
        probs: Class probabilities (K, C).
        class_names: Names (C,).
        title: Title, with the layer's name where there are several.
        colormap: Name of a matplotlib colour map.
    """
    classes = np.stack([probs.argmax(1), targets], axis=1)
    places = [divmod(index, 5) for index in range(len(images))]
    captions = [class_names[label] for label in targets]
    cams = ClassMaps(images, maps, classes, probs, class_names)
    return _cam_grid(cams, targets, _Places(places, captions), title, colormap)


@style.styled
def gradcam_of_classes(
    cams: ClassMaps, captions: Sequence[str], *, title: str, colormap: str = "inferno"
) -> Figure:
    """Draw images whose true class is unknown, each with Grad-CAM for two classes.

    Args:
        cams: Images, maps and classes.
        captions: Text above each image (K,).
        title: Title.
        colormap: Name of a matplotlib colour map.
    """
    count = len(cams.images)
    places = [divmod(index, min(3, count)) for index in range(count)]
    return _cam_grid(cams, None, _Places(places, captions), title, colormap)


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
    """Draw a row of right images for each class, with Grad-CAM of it and of the runner-up.

    Args:
        images: Raw images (K, H, W, 3).
        maps: Maps (K, 2, h, w): of the true class, of the second most probable.
        targets: True classes (K,), which decide the row.
        probs: Class probabilities (K, C).
        class_names: Names (C,). The row of a class without an image reads "none".
        title: Title.
        colormap: Name of a matplotlib colour map.
    """
    classes = np.stack([targets, runner_up(targets, probs)], axis=1)
    drawn = np.zeros(len(class_names), dtype=int)
    places = []
    for label in targets:
        places.append((int(label), int(drawn[label])))
        drawn[label] += 1
    cams = ClassMaps(images, maps, classes, probs, class_names)
    return _cam_grid(cams, targets, _Places(places, row_labels=class_names), title, colormap)


def runner_up(targets: Ints, probs: Floats) -> Ints:
    """Return the most probable class (K,) apart from the given one."""
    others = np.array(probs, dtype=np.float64)
    others[np.arange(len(others)), targets] = -np.inf
    second: Ints = others.argmax(1)
    return second


def _cam_grid(
    cams: ClassMaps, targets: Ints | None, places: _Places, title: str, colormap: str
) -> Figure:
    """Draw triples of an image and two overlays at their places."""
    images, labels = cams.images, places.row_labels
    if not len(images):
        return style.empty_figure(title, "no such image")
    layout = grid.Layout(
        len(labels) or max(row for row, _ in places.places) + 1,
        3 * (max(column for _, column in places.places) + 1),
        aspect=images.shape[1] / images.shape[2],
        cell=style.cell_inches(3 * len(images) // 2, 0.5, 1.0),  # captions need room
        caption_lines=1,
        row_labels=labels,
        title=title,
        rows_per_block=ROWS_PER_BLOCK,
        group=3,
    )
    sheet = grid.picture_grid(layout)
    for row in {*range(len(labels))} - {row for row, _ in places.places}:
        left, upper = grid.corner(sheet, row, 0)
        sheet.axes.text(left, upper + sheet.height / 2, "none", va="center", color=style.GREY)
    room = grid.letters(sheet.cell)
    for index, (row, column) in enumerate(places.places):
        caption = style.shown(places.captions[index], room) if places.captions else ""
        grid.put(sheet, row, 3 * column, images[index], caption)
        target = None if targets is None else int(targets[index])
        for number, label in enumerate(cams.classes[index]):
            named = not (labels and label == target)  # the row has the name already
            name = style.shown(cams.class_names[label], room - 4) if named else ""
            caption = f"{name} {100 * cams.probs[index, label]:.0f}%"
            picture = overlay(images[index], cams.maps[index, number], colormap)
            at = 3 * column + 1 + number
            grid.put(sheet, row, at, picture, caption, color=_color(int(label), target))
    return sheet.figure


def _color(label: int, target: int | None) -> str:
    """Return green for the true class, red for another, black where the truth is unknown."""
    if target is None:
        return style.BLACK
    return style.GREEN if label == target else style.RED


@style.styled
def feature_maps(
    images: NDArray[np.uint8],
    maps: Floats,
    channels: Ints,
    *,
    title: str,
    colormap: str = "viridis",
) -> Figure:
    """Draw a row per image: the image, then activations of some channels of one layer.

    Args:
        images: Raw images (N, H, W, 3).
        maps: Activations (N, K, h, w); each channel has one scale for all images.
        channels: Numbers of the channels (K,).
        title: Title, with the layer's name.
        colormap: Name of a matplotlib colour map.
    """
    aspect = images.shape[1] / images.shape[2]
    layout = grid.Layout(len(images), 1 + len(channels), aspect, 0.9, caption_lines=1, title=title)
    sheet = grid.picture_grid(layout)
    for row, image in enumerate(images):
        grid.put(sheet, row, 0, image)
        for column, channel in enumerate(channels):
            low, high = maps[:, column].min(), maps[:, column].max()
            caption = f"channel {channel}" if not row else ""
            look = {"cmap": colormap, "vmin": low, "vmax": max(high, low + 1e-12)}
            grid.put(sheet, row, column + 1, maps[row, column], caption, **look)
    return sheet.figure


@style.styled
def occlusion(
    images: NDArray[np.uint8],
    hidden: Occlusion,
    explained: Ints,
    class_names: Sequence[str],
    *,
    title: str = "Occlusion: image, where hiding hurts, probability while hidden",
    colormap: str = "viridis",
) -> Figure:
    """Draw each image, the overlay of the drop, and the map of the probability with its scale.

    Args:
        images: Raw images (K, H, W, 3).
        hidden: Probabilities of one class per image while parts of it are hidden.
        explained: The class whose probability it is (K,).
        class_names: Names (C,).
        title: Title.
        colormap: Name of a matplotlib colour map.
    """
    pairs = min(2, len(images))
    layout = grid.Layout(
        -(-len(images) // pairs),
        3 * pairs,
        aspect=images.shape[1] / images.shape[2],
        cell=1.15,
        caption_lines=1,
        title=title,
        group=3,
        right=1.05,
    )
    sheet = grid.picture_grid(layout)
    room = grid.letters(sheet.cell)
    low, high = float(hidden.probability.min()), float(hidden.probability.max())
    low, high = (low, high) if high - low > 0.02 else (low - 0.01, low + 0.01)
    for index, (image, probability) in enumerate(zip(images, hidden.probability, strict=True)):
        row, pair = divmod(index, pairs)
        name = style.shown(class_names[explained[index]], room - 4)
        grid.put(sheet, row, 3 * pair, image, f"{name} {100 * hidden.whole[index]:.0f}%")
        grid.put(sheet, row, 3 * pair + 1, overlay(image, hidden.drop[index], colormap))
        caption = f"{probability.min():.2f} to {probability.max():.2f}"
        look = {"cmap": colormap, "vmin": low, "vmax": high}
        grid.put(sheet, row, 3 * pair + 2, probability, caption, **look)
    grid.color_bar(sheet, colormap, "probability of the class", low, high)
    return sheet.figure


@style.styled
def deletion(scores: Mapping[str, tuple[Floats, Floats]], fraction: float) -> Figure:
    """Draw the cost of hiding the most salient part, against the same shape elsewhere.

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
    panels[0].set_ylim(min(low, -0.02), max(high, 0.1))  # no effect looks like none
    panels[0].set_ylabel("fall of the probability when hidden")
    return figure
