"""Images beside their reconstructions by a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imbalance_study.evaluation.figures import grid, style

PAIRS = 4  # in a row


@style.styled
def reconstructions(
    images: NDArray[np.uint8],
    drawn: NDArray[np.uint8],
    targets: NDArray[np.integer],
    class_names: Sequence[str],
) -> Figure:
    """Draw pairs of an image and its reconstruction, four pairs in a row.

    Args:
        images: Raw images (K, H, W, 3).
        drawn: Their reconstructions (K, H, W, 3).
        targets: Classes (K,).
        class_names: Names (C,).
    """
    layout = grid.Layout(
        -(-len(images) // PAIRS),
        2 * PAIRS,
        aspect=images.shape[1] / images.shape[2],
        cell=1.0,
        caption_lines=1,
        title="test images, each beside its reconstruction",
        group=2,
    )
    sheet = grid.picture_grid(layout)
    room = grid.letters(sheet.cell)
    for index, (image, reconstruction) in enumerate(zip(images, drawn, strict=True)):
        row, column = divmod(index, PAIRS)
        name = style.shown(class_names[targets[index]], room)
        grid.put(sheet, row, 2 * column, image, name)
        grid.put(sheet, row, 2 * column + 1, reconstruction, "reconstruction"[:room])
    return sheet.figure
