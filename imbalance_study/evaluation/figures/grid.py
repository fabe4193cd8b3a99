"""Grids of pictures with captions, at sizes that are known before anything is drawn."""

from __future__ import annotations

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


class Grid(NamedTuple):
    """A figure whose only axes count in inches from the upper left corner, and its layout."""

    figure: Figure
    axes: Axes
    cell: float  # width of a picture
    height: float  # of a picture
    pitch: tuple[float, float]  # from one picture to the next, across and down
    origin: tuple[float, float]  # upper left corner of the first picture
    rows_per_block: int
    block: float  # width of a block of rows, labels included
    group: int  # columns that stand together, before a wider gap


def picture_grid(
    rows: int,
    columns: int,
    *,
    aspect: float,
    cell: float,
    caption_lines: int = 0,
    row_labels: Sequence[str] = (),
    title: str = "",
    rows_per_block: int = 0,
    group: int = 1,
    right: float = 0.0,
) -> Grid:
    """An empty grid of pictures.

    Args:
        rows: Number of rows.
        columns: Number of columns.
        aspect: Height of a picture over its width.
        cell: Width of a picture in inches; made less where the figure would be too large.
        caption_lines: Lines of text above each picture.
        row_labels: Text left of each row.
        title: Text at the top.
        rows_per_block: Go on beside the first rows after so many; 0 for never.
        group: Columns that stand together, before a wider gap; 1 for no groups.
        right: Inches left free at the right, for a colour bar.
    """
    per_block = rows_per_block or max(rows, 1)
    blocks = max(1, -(-rows // per_block))
    names = [style.shown(name) for name in row_labels]
    label = style.text_inches(names, 8.5) + 0.15 if names else 0.0
    top = 0.35 if title else MARGIN
    space = caption_lines * LINE + 0.06
    free = style.MAX_INCHES - top - 0.2
    cell = min(cell, (free / min(rows or 1, per_block) - space) / aspect)
    gaps = (columns // group - 1) * GROUP_GAP if group > 1 else 0.0
    cell = max(0.2, min(cell, (style.MAX_INCHES / blocks - label - gaps - 0.3) / columns - 0.05))
    pitch = cell + 0.05, cell * aspect + space
    block = label + columns * pitch[0] + gaps + 0.15
    width = max(blocks * block + right, style.text_inches([title], 10.0) + 2 * MARGIN)
    figure = Figure(
        figsize=(width, top + min(rows or 1, per_block) * pitch[1] + MARGIN), dpi=style.DPI
    )
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(figure.get_figheight(), 0))
    axes.set_axis_off()
    axes.text(MARGIN, 0.12, title, va="top", fontsize=10)
    origin = MARGIN + label, top + caption_lines * LINE + 0.03
    grid = Grid(figure, axes, cell, cell * aspect, pitch, origin, per_block, block, group)
    for row, name in enumerate(names):
        left, upper = corner(grid, row, 0)
        axes.text(left - 0.07, upper + grid.height / 2, name, ha="right", va="center", fontsize=8.5)
    return grid


def corner(grid: Grid, row: int, column: int) -> tuple[float, float]:
    """Left and upper edge of a picture, in inches."""
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
        picture: What to draw.
        caption: One line for each line that the grid has room for; the last can have a colour.
        options: For imshow (cmap, vmin, vmax); ``color`` is that of the caption's last line.
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
    """How many letters of a caption fit above a picture that many inches wide."""
    return max(4, int((cell + 0.05) * 72 / (7.5 * 0.6)))


def color_bar(grid: Grid, colormap: str, label: str, low: float, high: float) -> None:
    """A colour bar in the space at the right."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width, height = grid.figure.get_size_inches()
    inches = float(np.clip(height - 0.9, 0.4, 3.0))
    axes = grid.figure.add_axes(
        ((width - 0.85) / width, (height - 0.45 - inches) / height, 0.12 / width, inches / height)
    )
    scale = ScalarMappable(Normalize(low, high), colormap)
    grid.figure.colorbar(scale, cax=axes, label=label)
