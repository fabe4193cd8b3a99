"""A contact sheet of images with their predicted labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imbalance_study.evaluation.figures import grid as grids
from imbalance_study.evaluation.figures import style
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
    """Images with file name, predicted class and its probability.

    They stand in the order of the classes, the most certain ones first, so that the odd one out is
    seen. Those below `reject_below` say "rejected", in red.

    Args:
        images: Raw images (K, H, W, 3), at least one; ten in a row.
        files: Their names (K,).
        predictions: Predicted classes (K,).
        confidence: Their probabilities (K,).
        class_names: Names (C,).
        title: What these images are.
        reject_below: Least probability of a label.
    """
    order = np.lexsort((-confidence, predictions))
    columns = min(10, len(images))
    grid = grids.picture_grid(
        -(-len(images) // columns),
        columns,
        aspect=images.shape[1] / images.shape[2],
        cell=1.15,
        caption_lines=2,
        title=title,
    )
    room = grids.letters(grid.cell)
    for place, index in enumerate(order):
        sure = confidence[index] >= reject_below
        name = style.shown(class_names[predictions[index]] if sure else "rejected", room - 5)
        caption = f"{style.shown(files[index], room)}\n{name} {100 * confidence[index]:.0f}%"
        grids.put(
            grid,
            *divmod(place, columns),
            images[index],
            caption,
            color="black" if sure else style.RED,
        )
    return grid.figure
