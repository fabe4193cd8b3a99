"""Figures, tables, overlays and columns as files of a run."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image

from imbalance_study.tracking import journal

# Bytes from which a PNG is reduced to 256 colours, which no eye misses in a figure.
_LARGE = 400_000
# Final figures that the image grid shows beside those of other runs, and their keys there.
GRID = {
    "confusion_matrix": "images/confusion_matrix",
    "misclassified": "images/misclassified",
    "gradcam_errors": "images/gradcam",
    "features": "images/features",
    "reconstructions": "images/reconstructions",
}


def png(figure: Any) -> bytes:
    """A matplotlib Figure as PNG, in 256 colours where it would be large."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    if stream.tell() > _LARGE:
        image = Image.open(stream).convert("RGB").quantize(256)
        stream = io.BytesIO()
        image.save(stream, format="png", optimize=True)
    return stream.getvalue()


def log_figures(figures: Mapping[str, Any]) -> dict[str, bytes]:
    """Write figures to ``figures/<name>.png`` of the innermost run; returns the files' contents."""
    drawn = {name: png(figure) for name, figure in figures.items()}
    journal.current().files({f"figures/{name}.png": content for name, content in drawn.items()})
    return drawn


def log_grid(figures: Mapping[str, Any], step: int) -> None:
    """Show figures in the image grid of the innermost run; the name is the key."""
    for key, figure in figures.items():
        _log_image(key, png(figure), step)


def log_final_grid(drawn: Mapping[str, bytes]) -> None:
    """Show a few of the final figures in the image grid.

    They stand at step 0: its slider begins there, and shows nothing where there is no image.
    """
    for name, key in GRID.items():
        if name in drawn:
            _log_image(key, drawn[name], 0)


def log_first_images(drawn: Mapping[str, bytes], wanted: Collection[str]) -> None:
    """Show a few figures in the image grid, at step 0, where its slider begins."""
    for name, content in drawn.items():
        last = name.rpartition("/")[2]
        if last in wanted:
            _log_image(f"images/{last}", content, 0)


def _log_image(key: str, content: bytes, step: int) -> None:
    """Name the files as `mlflow.log_image` does: the image grid reads key, step and time there."""
    if not re.fullmatch(r"[\w\-./ ]+", key, re.ASCII):
        raise ValueError(f"a key of the image grid is made of letters, digits, _-./ , got {key!r}")
    image = Image.open(io.BytesIO(content)).convert("RGB")
    name = f"{key.replace('/', '~')}+step+{step}+timestamp+{journal.now()}+{uuid.uuid4()}"
    small = io.BytesIO()
    compress_image_size(image).save(small, format="webp")
    files = {f"images/{name}.png": content, f"images/{name}+compressed.webp": small.getvalue()}
    journal.current().append("image", {}, files)


def log_overlays(overlays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write images uint8 (H, W, 3) to ``figures/overlays/<name>.png`` of the innermost run."""
    files = {}
    for name, overlay in overlays.items():
        stream = io.BytesIO()
        Image.fromarray(overlay).save(stream, format="png")
        files[f"figures/overlays/{name}.png"] = stream.getvalue()
    journal.current().files(files)


def log_frames(frames: Mapping[str, Mapping[str, Any]]) -> None:
    """Write columns to ``<name>.parquet`` of the innermost run."""
    import pyarrow as pa
    from pyarrow import parquet

    files = {}
    for name, columns in frames.items():
        stream = io.BytesIO()
        parquet.write_table(pa.table(dict(columns)), stream)
        files[f"{name}.parquet"] = stream.getvalue()
    journal.current().files(files)
