"""Decoding of image files, of any mode and size, into square uint8 RGB arrays on all cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import sys
import warnings
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from imbalance_study.data import deep_pixels, formats
from imbalance_study.data.deep_pixels import KINDS, Range, Use

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused here, by size

MAX_FILE_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 22
_MAX_CHUNK = 512
_RESIZE_CHUNK = 64  # small images that a thread resizes at a time
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Decoding(NamedTuple):
    """Ways to make a square of eight bits from an image file, the same for all images of a run."""

    fit: str = "crop"  # the largest centred square; or "pad", or "squash"
    whole: Range = ()  # of images of whole numbers with more than eight bits
    decimal: Range = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decoding:
        """Read the record of a run; what it lacks has the default."""
        ranges = {kind: tuple(values.get(kind, ())) for kind in KINDS}
        return cls(values.get("fit", "crop"), **ranges)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"fit": self.fit, **{kind: list(getattr(self, kind)) for kind in KINDS}}


AS_BEFORE = Decoding()  # of runs whose record has none


class Look(NamedTuple):
    """Properties of an image file that its square no longer shows."""

    ratio: float  # longer side over shorter side
    use: Use | None = None  # of an image of more than eight bits
    pages: int = 1  # of a TIFF or a GIF, of which the first is decoded
    spare_band: bool = False  # a fourth band that is not said to be alpha is left out


class Chunk(NamedTuple):
    """A number of decoded files."""

    images: np.ndarray  # of the n readable files, uint8 (n, size, size, 3)
    bad: list[tuple[int, str]]  # position and reason of each unreadable file
    looks: list[Look]  # (n,)


def decode(data: bytes, size: int, decoding: Decoding = AS_BEFORE) -> np.ndarray:
    """Decode one image file to uint8 (size, size, 3); see `decode_and_look`."""
    return decode_and_look(data, size, decoding)[0]


def decode_and_look(
    data: bytes, size: int, decoding: Decoding = AS_BEFORE
) -> tuple[np.ndarray, Look]:
    """Decode one image file to uint8 (size, size, 3), and describe it.

    The image is turned upright by its EXIF orientation, laid over white where it is transparent,
    and converted to RGB (more than eight bits by `deep_pixels`). Then the largest centred square is
    resized with antialiased bicubic interpolation; or all of the image, on black (pad) or squashed.
    Of several pages or an animation, the first counts.

    Raises:
        ValueError: No image, a damaged one, or one with more pixels than
            ``PIL.Image.MAX_IMAGE_PIXELS``; the message is the reason, without a file name.
    """
    if not data:
        raise ValueError("empty file")
    try:
        with formats.opened(data) as image:
            _refuse_bomb(image.width, image.height)
            pages = formats.pages(image)
            spare = formats.has_spare_band(image)
            image.draft(None, (2 * size, 2 * size))  # a large JPEG decodes at 1/2, 1/4 or 1/8
            rgb, use = _rgb(image, data, decoding, spare)
            ratio = max(rgb.size) / min(rgb.size)
            look = Look(ratio, use, pages, spare)
            return np.asarray(fitted(rgb, size, decoding.fit)), look
    except UnidentifiedImageError:
        raise ValueError(formats.why_unreadable(data)) from None
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # a hostile file can make a decoder raise anything
        raise ValueError(str(error) or type(error).__name__) from error


def _refuse_bomb(width: int, height: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise ValueError(f"{width}x{height} pixels are more than the {limit} allowed")


def _rgb(
    image: Image.Image, data: bytes, decoding: Decoding, spare: bool
) -> tuple[Image.Image, Use | None]:
    """Return the image upright, as RGB of eight bits, and its values if it had more bits."""
    values, use = deep_pixels.values_of(image, data), None  # first: EXIF of a PNG loads the pixels
    turn = _turn(image)
    if values is not None:
        use = deep_pixels.use_of(values)
        image = deep_pixels.to_eight_bits(values, getattr(decoding, use.kind))
    if spare:
        image = image.convert("RGB")
    return _to_rgb(image if turn is None else image.transpose(turn)), use


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata does not spoil the pixels
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def fitted(image: Image.Image, size: int, fit: str) -> Image.Image:
    """Make a square of `size` pixels a side from an image; all ways do the same to a square."""
    width, height = image.size
    if width == height == size:
        return image
    bicubic = Image.Resampling.BICUBIC
    if width == height or fit == "squash":
        return image.resize((size, size), bicubic, box=(0, 0, width, height))
    if fit == "pad":
        longer = max(width, height)
        inner = [max(1, round(side * size / longer)) for side in (width, height)]
        square = Image.new("RGB", (size, size))
        left, top = (round((size - side) / 2) for side in inner)  # as ImageOps.pad
        square.paste(image.resize((inner[0], inner[1]), bicubic), (left, top))
        return square
    side = min(width, height)
    x, y = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), bicubic, box=(x, y, x + side, y + side))


def resize(images: np.ndarray, size: int, workers: int = 0) -> np.ndarray:
    """Resize square uint8 images (N, H, H, 3) to (N, size, size, 3), as `decode` does it."""
    if images.shape[1] == size:
        return images

    resized = np.empty((len(images), size, size, 3), np.uint8)

    def fill(start: int) -> None:
        for index in range(start, min(start + _RESIZE_CHUNK, len(images))):
            square = fitted(Image.fromarray(images[index]), size, "crop")
            resized[index] = np.asarray(square)

    with ThreadPoolExecutor(workers or cores()) as pool:
        list(pool.map(fill, range(0, len(images), _RESIZE_CHUNK)))
    return resized


def decode_files(
    root: Path,
    files: Sequence[str],
    total_bytes: int,
    size: int,
    workers: int = 0,
    decoding: Decoding = AS_BEFORE,
) -> Iterator[Chunk]:
    """Decode the files in order, chunk by chunk, on `workers` cores (0: all of them).

    Threads decode photographs at full speed. Of images of a few kilobytes each, the interpreter's
    lock leaves threads slower than one alone (20,000 JPEGs of 32x32 on 2 cores: 2.1 s with threads,
    1.5 s with one, 0.8 s with processes), so many small files are decoded by forked processes,
    where the system forks.

    Args:
        root: The folder, or the zip file, that holds them.
        files: Names below `root`.
        total_bytes: Their size in all, to choose between threads and processes.
        size: Side of the squares in pixels.
        workers: Threads or processes.
        decoding: Ways to make squares of eight bits.

    Yields:
        Chunks in order; their positions are those in `files`.
    """
    step = max(1, min(_MAX_CHUNK, _CHUNK_BYTES // (3 * size * size)))
    starts = range(0, len(files), step)
    workers = max(1, min(workers or cores(), len(starts)))
    small = total_bytes < 8192 * len(files) and len(starts) > 4
    pending: deque[tuple[int, Future[Chunk]]] = deque()
    with _pool(workers, small) as pool:
        try:
            for start in starts:
                chunk = files[start : start + step]
                pending.append(
                    (start, pool.submit(_decode_chunk, str(root), chunk, size, decoding))
                )
                if len(pending) > 2 * workers:
                    yield _shifted(pending[0][0], pending.popleft()[1].result())
            while pending:
                yield _shifted(pending[0][0], pending.popleft()[1].result())
        finally:
            for _, future in pending:
                future.cancel()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pool(workers: int, small_files: bool) -> Executor:
    if workers > 1 and small_files and sys.platform == "linux":
        Image.init()  # so that no child has to import Pillow's plugins
        fork = multiprocessing.get_context("fork")
        return ProcessPoolExecutor(workers, mp_context=fork, initializer=_leave_signals_to_parent)
    return ThreadPoolExecutor(workers)


def _leave_signals_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _shifted(start: int, chunk: Chunk) -> Chunk:
    return chunk._replace(bad=[(start + position, reason) for position, reason in chunk.bad])


def _decode_chunk(root: str, files: Sequence[str], size: int, decoding: Decoding) -> Chunk:
    if os.path.isdir(root):
        return _decode_each(files, size, decoding, lambda name: _read(os.path.join(root, name)))
    with zipfile.ZipFile(root) as archive:
        return _decode_each(files, size, decoding, lambda name: _read_member(archive, name))


def _decode_each(
    files: Sequence[str], size: int, decoding: Decoding, read: Callable[[str], bytes]
) -> Chunk:
    images = np.empty((len(files), size, size, 3), np.uint8)
    bad: list[tuple[int, str]] = []
    looks: list[Look] = []
    for position, name in enumerate(files):
        try:
            images[len(looks)], look = decode_and_look(read(name), size, decoding)
            looks.append(look)
        except Exception as error:  # damaged zip members raise zlib.error, RuntimeError and others
            bad.append((position, _reason(error)))
    return Chunk(images[: len(looks)], bad, looks)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _read(path: str) -> bytes:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # to open a named pipe would wait for ever
        raise ValueError("not a regular file")
    _refuse_large(status.st_size)
    with open(path, "rb") as file:
        return file.read()


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    _refuse_large(archive.getinfo(name).file_size)
    return archive.read(name)


def _refuse_large(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{size} bytes are more than the {MAX_FILE_BYTES} allowed")
