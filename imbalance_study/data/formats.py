"""Formats of image files: names that end like an image, and reasons why one cannot be read."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

# Formats that Pillow decodes by itself, and HEIC, which the extra `heic` decodes.
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c"),
    *(".heic", ".heif", ".hif", ".tga", ".icb", ".vda", ".vst", ".qoi", ".dds", ".pcx", ".psd"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".sgi", ".rgb", ".rgba", ".bw", ".fits", ".fit"),
)
_HEIC = (b"ftyphe", b"ftypmif1", b"ftypmsf1")
_BANDS, _EXTRA_SAMPLES = 277, 338  # tags of a TIFF


def opened(data: bytes) -> Image.Image:
    """Open an image file; HEIC where pillow-heif is installed.

    Raises:
        PIL.UnidentifiedImageError: It is none that can be read.
    """
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if not _is_heic(data) or importlib.util.find_spec("pillow_heif") is None:
            raise
    import pillow_heif

    pillow_heif.register_heif_opener()
    return Image.open(io.BytesIO(data))


def why_unreadable(data: bytes) -> str:
    """Say why a file that Pillow does not know cannot be read."""
    if _is_heic(data) and importlib.util.find_spec("pillow_heif") is None:
        return "HEIC needs pillow-heif: pip install 'imbalance-study[heic]'"
    bands = _bands(data)
    if bands > 4:
        return f"a TIFF of {bands} bands, and at most 4 can be read; write the bands as RGB files"
    return "not an image that Pillow can read"


def pages(image: Image.Image) -> int:
    """Count the pages of a TIFF; an animated GIF has two, and all others one."""
    if image.format == "TIFF":
        return int(getattr(image, "n_frames", 1))
    if image.format == "GIF":
        return 2 if getattr(image, "is_animated", False) else 1
    return 1


def has_spare_band(image: Image.Image) -> bool:
    """Tell whether a TIFF has a fourth band that it does not call alpha, infrared say."""
    tags: Any = getattr(image, "tag_v2", {})
    return image.format == "TIFF" and image.mode == "RGBA" and not tags.get(_EXTRA_SAMPLES)


def _is_heic(data: bytes) -> bool:
    return data[4:12].startswith(_HEIC)


def _bands(data: bytes) -> int:
    """Return the bands of a TIFF; 0 where it is none."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return 0
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        stream = io.BytesIO(data)
        stream.seek(directory.next)
        directory.load(stream)
        return int(directory.get(_BANDS, 1))
    except Exception:  # a damaged file
        return 0
