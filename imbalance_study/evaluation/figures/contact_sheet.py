"""Contact sheets of images with their predicted labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imbalance_study.evaluation.figures import grid, style
from imbalance_study.evaluation.metrics import Floats, Ints


@style.styled
def contact_sheet(
    images: NDArray[np.uint8],
    files: Sequence[str],
    predictions: Ints,
    confidence: Floats,
    class_names: Sequence[str],
    title: str,
    reject_below: float = 0.0,
) -> Figure:
    """Draw images with file name, predicted class and its probability.

    They are sorted by class, the most certain ones first, so that outliers are seen. Images below
    `reject_below` are labelled "rejected", in red.

    Args:
        images: Raw images (K, H, W, 3), at least one; ten in a row.
        files: Their names (K,).
        predictions: Predicted classes (K,).
        confidence: Their probabilities (K,).
        class_names: Names (C,).
        title: Title of the figure.
        reject_below: Least probability of a label.
    """
    order = np.lexsort((-confidence, predictions))
    sheet = grid.contact_grid(images, 10, title)
    room = grid.letters(sheet.cell)
    for place, index in enumerate(order):
        sure = confidence[index] >= reject_below
        name = style.shown(class_names[predictions[index]] if sure else "rejected", room - 5)
        caption = f"{style.shown(files[index], room)}\n{name} {100 * confidence[index]:.0f}%"
        row, column = divmod(place, sheet.columns)
        color = "black" if sure else style.RED
        grid.put(sheet, row, column, images[index], caption, color=color)
    return sheet.figure
