"""Artifacts of a run: figures, the image grid, overlays and columns."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image, ImageDraw, ImageFont

from imbalance_study.tracking import journal

# Bytes from which a PNG is reduced to 256 colours, which suffice for a figure.
_LARGE = 400_000
DPI = 200  # of final figures; those of epochs, of which there are many, have their style's
_MOST_PIXELS = 2_360  # either way, where the style's dots allow it
_PRINT = 0.09  # inches, height of the small print
# Final figures for the image grid, which compares runs, and their keys there.
GRID = {
    "confusion_matrix": "images/confusion_matrix",
    "misclassified": "images/misclassified",
    "gradcam_errors": "images/gradcam",
    "features": "images/features",
    "reconstructions": "images/reconstructions",
}


def png(figure: Any, dpi: int = DPI) -> bytes:
    """Draw a matplotlib Figure as PNG, with its label in small print at the foot.

    A large file is reduced to 256 colours, which suffice for a figure. One that stays large, as
    photographs do, is drawn with as many dots as its style asks for.

    Args:
        figure: The figure; `Figure.set_label` gives it a small print.
        dpi: Dots per inch.
    """
    fitting = int(_MOST_PIXELS / max(figure.get_size_inches()))
    dpi = min(dpi, max(fitting, int(figure.dpi)))
    image = _drawn(figure, dpi)
    stream = io.BytesIO()
    image.save(stream, format="png", dpi=(dpi, dpi))
    if stream.tell() > _LARGE:
        stream = io.BytesIO()
        few = image.convert("RGB").quantize(256)
        few.save(stream, format="png", optimize=True, dpi=(dpi, dpi))
    if stream.tell() > _LARGE and dpi > figure.dpi:
        return png(figure, int(figure.dpi))
    return stream.getvalue()


def _drawn(figure: Any, dpi: int) -> Image.Image:
    """Draw the figure, and its label below it."""
    from matplotlib import font_manager

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    image: Image.Image = Image.open(stream)
    label = " ".join(str(figure.get_label()).split())
    if not label:
        return image
    family = font_manager.FontProperties(family="DejaVu Sans")  # which matplotlib comes with
    font = ImageFont.truetype(font_manager.findfont(family), round(_PRINT * dpi))
    while len(label) > 2 and font.getlength(label) > 0.98 * image.width:
        label = label[:-2].rstrip() + "…"
    height = image.height + round(1.8 * _PRINT * dpi)
    whole = Image.new("RGBA", (image.width, height), "white")
    whole.paste(image, (0, 0))
    place = 0.01 * image.width, image.height + 0.2 * _PRINT * dpi
    ImageDraw.Draw(whole).text(place, label, "#777777", font)
    return whole


def log_figures(figures: Mapping[str, Any], small_print: str = "") -> dict[str, bytes]:
    """Record figures as ``figures/<name>.png`` of the active run.

    Args:
        figures: Name to figure.
        small_print: At the foot of each that has none yet: it says where a downloaded one is from.

    Returns:
        The files' contents.
    """
    for figure in figures.values():
        if not figure.get_label():
            figure.set_label(small_print)
    drawn = {name: png(figure) for name, figure in figures.items()}
    journal.current().files({f"figures/{name}.png": content for name, content in drawn.items()})
    return drawn


def log_grid(figures: Mapping[str, Any], step: int) -> None:
    """Show figures in the image grid of the active run, with their names as keys."""
    for key, figure in figures.items():
        _log_image(key, png(figure, int(figure.dpi)), step)


def log_final_grid(drawn: Mapping[str, bytes]) -> None:
    """Show some of the final figures in the image grid.

    They are recorded at step 0: the slider of the grid begins there, and shows nothing at a step
    without an image.
    """
    for name, key in GRID.items():
        if name in drawn:
            _log_image(key, drawn[name], 0)


def log_first_images(drawn: Mapping[str, bytes], wanted: Collection[str]) -> None:
    """Show the figures with the wanted names in the image grid, at step 0."""
    for name, content in drawn.items():
        last = name.rpartition("/")[2]
        if last in wanted:
            _log_image(f"images/{last}", content, 0)


def _log_image(key: str, content: bytes, step: int) -> None:
    """Record an image under the name of `mlflow.log_image`, which holds key, step and time."""
    if not re.fullmatch(r"[\w\-./ ]+", key, re.ASCII):
        raise ValueError(
            f"a key of the image grid consists of letters, digits, blanks and _-./, got {key!r}"
        )
    image = Image.open(io.BytesIO(content)).convert("RGB")
    name = f"{key.replace('/', '~')}+step+{step}+timestamp+{journal.now()}+{uuid.uuid4()}"
    small = io.BytesIO()
    compress_image_size(image).save(small, format="webp")
    files = {f"images/{name}.png": content, f"images/{name}+compressed.webp": small.getvalue()}
    journal.current().append("image", {}, files)


def log_overlays(overlays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Record images uint8 (H, W, 3) as ``figures/overlays/<name>.png`` of the active run."""
    files = {}
    for name, overlay in overlays.items():
        stream = io.BytesIO()
        Image.fromarray(overlay).save(stream, format="png")
        files[f"figures/overlays/{name}.png"] = stream.getvalue()
    journal.current().files(files)


def log_frames(frames: Mapping[str, Mapping[str, Any]]) -> None:
    """Record columns as ``<name>.parquet`` of the active run."""
    import pyarrow as pa
    from pyarrow import parquet

    files = {}
    for name, columns in frames.items():
        stream = io.BytesIO()
        parquet.write_table(pa.table(dict(columns)), stream)
        files[f"{name}.parquet"] = stream.getvalue()
    journal.current().files(files)
