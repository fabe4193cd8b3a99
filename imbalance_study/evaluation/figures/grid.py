"""Grids of pictures with captions, whose sizes are known before anything is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imbalance_study.evaluation.figures import style

LINE = 0.145  # inches that a line of caption takes
MARGIN = 0.08
GROUP_GAP = 0.15


@dataclasses.dataclass(frozen=True)
class Layout:
    """Number, size and arrangement of the pictures.

    Attributes:
        rows: Number of rows.
        columns: Number of columns.
        aspect: Height of a picture over its width.
        cell: Width of a picture in inches; reduced where the figure would be too large.
        caption_lines: Lines of text above each picture.
        row_labels: Text left of each row.
        title: Text at the top.
        rows_per_block: Rows after which the next ones go beside the first; 0 for never.
        group: Columns in a group, before a wider gap; 1 for no groups.
        right: Free inches at the right, for a colour bar.
    """

    rows: int
    columns: int
    aspect: float
    cell: float
    caption_lines: int = 0
    row_labels: Sequence[str] = ()
    title: str = ""
    rows_per_block: int = 0
    group: int = 1
    right: float = 0.0


class Grid(NamedTuple):
    """A figure with one pair of axes, in inches from the upper left corner, and its measures."""

    figure: Figure
    axes: Axes
    cell: float  # width of a picture
    height: float  # height of a picture
    pitch: tuple[float, float]  # from one picture to the next, across and down
    origin: tuple[float, float]  # upper left corner of the first picture
    rows_per_block: int
    block: float  # width of a block of rows, labels included
    group: int  # columns in a group, before a wider gap
    columns: int


def picture_grid(layout: Layout) -> Grid:
    """Make an empty grid of pictures."""
    rows, columns, aspect = layout.rows, layout.columns, layout.aspect
    per_block = layout.rows_per_block or max(rows, 1)
    blocks = max(1, -(-rows // per_block))
    names = [style.shown(name) for name in layout.row_labels]
    label = style.text_inches(names, 8.5) + 0.15 if names else 0.0
    top = 0.35 if layout.title else MARGIN
    space = layout.caption_lines * LINE + 0.06
    free = style.MAX_INCHES - top - 0.2
    cell = min(layout.cell, (free / min(rows or 1, per_block) - space) / aspect)
    gaps = (columns // layout.group - 1) * GROUP_GAP if layout.group > 1 else 0.0
    cell = max(0.2, min(cell, (style.MAX_INCHES / blocks - label - gaps - 0.3) / columns - 0.05))
    pitch = cell + 0.05, cell * aspect + space
    block = label + columns * pitch[0] + gaps + 0.15
    width = max(blocks * block + layout.right, style.text_inches([layout.title], 10.0) + 2 * MARGIN)
    height = top + min(rows or 1, per_block) * pitch[1] + MARGIN
    figure = Figure(figsize=(width, height), dpi=style.DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(figure.get_figheight(), 0))
    axes.set_axis_off()
    axes.text(MARGIN, 0.12, layout.title, va="top", fontsize=10)
    origin = MARGIN + label, top + layout.caption_lines * LINE + 0.03
    grid = Grid(
        figure, axes, cell, cell * aspect, pitch, origin, per_block, block, layout.group, columns
    )
    for row, name in enumerate(names):
        left, upper = corner(grid, row, 0)
        axes.text(left - 0.07, upper + grid.height / 2, name, ha="right", va="center", fontsize=8.5)
    return grid


def contact_grid(images: NDArray[np.uint8], per_row: int, title: str) -> Grid:
    """Make an empty grid for images (K, H, W, 3), with two lines of caption above each."""
    columns = min(per_row, len(images))
    return picture_grid(
        Layout(
            -(-len(images) // columns),
            columns,
            aspect=images.shape[1] / images.shape[2],
            cell=1.15,
            caption_lines=2,
            title=title,
        )
    )


def corner(grid: Grid, row: int, column: int) -> tuple[float, float]:
    """Return the left and upper edge of a picture, in inches."""
    block, row = divmod(row, grid.rows_per_block)
    left = grid.origin[0] + block * grid.block + column * grid.pitch[0]
    left += column // grid.group * GROUP_GAP if grid.group > 1 else 0.0
    return left, grid.origin[1] + row * grid.pitch[1]


def put(
    grid: Grid, row: int, column: int, picture: NDArray[Any], caption: str = "", **options: Any
) -> None:
    """Draw a picture (H, W, 3) uint8 or a map (H, W) with its caption above it.

    Args:
        grid: The grid.
        row: Row.
        column: Column.
        picture: The picture or the map.
        caption: At most as many lines as the layout has; the last can have a colour.
        options: For imshow (cmap, vmin, vmax); ``color`` is the colour of the caption's last line.
    """
    color = options.pop("color", "black")
    left, upper = corner(grid, row, column)
    small = grid.cell * style.DPI >= picture.shape[1]  # enlarged: keep the pixels visible
    grid.axes.imshow(
        picture,
        extent=(left, left + grid.cell, upper + grid.height, upper),
        interpolation="nearest" if small else "antialiased",
        aspect="auto",
        **options,
    )
    for line, text in enumerate(reversed(caption.split("\n"))):
        grid.axes.text(
            left + grid.cell / 2,
            upper - 0.03 - line * LINE,
            text,
            ha="center",
            va="bottom",
            fontsize=7.5,
            color="black" if line else color,
        )
    # imshow moves the limits to its own extent.
    width, height = grid.figure.get_size_inches()
    grid.axes.set(xlim=(0, width), ylim=(height, 0))


def letters(cell: float) -> int:
    """Return the number of letters that fit above a picture `cell` inches wide."""
    return max(4, int((cell + 0.05) * 72 / (7.5 * 0.6)))


def color_bar(grid: Grid, colormap: str, label: str, low: float, high: float) -> None:
    """Draw a colour bar in the space at the right."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width, height = grid.figure.get_size_inches()
    inches = float(np.clip(height - 0.9, 0.4, 3.0))
    axes = grid.figure.add_axes(
        ((width - 0.85) / width, (height - 0.45 - inches) / height, 0.12 / width, inches / height)
    )
    scale = ScalarMappable(Normalize(low, high), colormap)
    grid.figure.colorbar(scale, cax=axes, label=label)
