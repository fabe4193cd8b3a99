"""Decoding of image files, of any mode and size, into square uint8 RGB arrays on all cores."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import stat
import sys
import warnings
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# Images uint8 (n, size, size, 3), and the position and reason of each unreadable file.
Decoded = tuple[np.ndarray, list[tuple[int, str]]]

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused here, by size

MAX_FILE_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 22
_MAX_CHUNK = 512
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


def decode(data: bytes, size: int) -> np.ndarray:
    """Decode one image file to uint8 (size, size, 3).

    The image is turned upright by its EXIF orientation, laid over white where it is transparent,
    converted to RGB (16-bit grey keeps its upper eight bits), and the largest centred square is
    resized with antialiased bicubic interpolation: the shorter side is kept whole, nothing is
    squashed. Of an animation, the first frame counts.

    Raises:
        ValueError: No image, a damaged one, or one with more pixels than
            ``PIL.Image.MAX_IMAGE_PIXELS``; the message is the reason, without a file name.
    """
    if not data:
        raise ValueError("empty file")
    try:
        with Image.open(io.BytesIO(data)) as image:
            _refuse_bomb(image.width, image.height)
            image.draft(None, (2 * size, 2 * size))  # a large JPEG decodes at 1/2, 1/4 or 1/8
            return np.asarray(_square(_to_rgb(_upright(image)), size))
    except UnidentifiedImageError:
        raise ValueError("not an image that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # a hostile file can make a decoder raise anything
        raise ValueError(str(error) or type(error).__name__) from error


def _refuse_bomb(width: int, height: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise ValueError(f"{width}x{height} pixels are more than the {limit} allowed")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata does not spoil the pixels
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Convert grey of more than eight bits: 16-bit integers, or floats with 1 as white."""
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        values = values * 255 if values.max(initial=0) <= 1 else values
    else:
        values = np.asarray(image).astype(np.int64) >> 8
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )


def resize(images: np.ndarray, size: int, workers: int = 0) -> np.ndarray:
    """Resize square uint8 images (N, H, H, 3) to (N, size, size, 3), as `decode` does it."""
    if images.shape[1] == size:
        return images

    def one(image: np.ndarray) -> np.ndarray:
        return np.asarray(_square(Image.fromarray(image), size))

    with ThreadPoolExecutor(workers or cores()) as pool:
        resized = list(pool.map(one, images))
    return np.stack(resized) if resized else np.empty((0, size, size, 3), np.uint8)


def decode_files(
    root: Path, files: Sequence[str], total_bytes: int, size: int, workers: int = 0
) -> Iterator[Decoded]:
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

    Yields:
        The readable images of a chunk, uint8 (n, size, size, 3), and (position in `files`, reason)
        of each unreadable one.
    """
    step = max(1, min(_MAX_CHUNK, _CHUNK_BYTES // (3 * size * size)))
    starts = range(0, len(files), step)
    workers = max(1, min(workers or cores(), len(starts)))
    small = total_bytes < 8192 * len(files) and len(starts) > 4
    pending: deque[tuple[int, Future[Decoded]]] = deque()
    with _pool(workers, small) as pool:
        try:
            for start in starts:
                chunk = files[start : start + step]
                pending.append((start, pool.submit(_decode_chunk, str(root), chunk, size)))
                if len(pending) > 2 * workers:
                    yield _shifted(pending[0][0], *pending.popleft()[1].result())
            while pending:
                yield _shifted(pending[0][0], *pending.popleft()[1].result())
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


def _shifted(start: int, images: np.ndarray, bad: list[tuple[int, str]]) -> Decoded:
    return images, [(start + position, reason) for position, reason in bad]


def _decode_chunk(root: str, files: Sequence[str], size: int) -> Decoded:
    images = np.empty((len(files), size, size, 3), np.uint8)
    bad: list[tuple[int, str]] = []
    if os.path.isdir(root):
        _decode_into(images, bad, files, lambda name: _read(os.path.join(root, name)))
    else:
        with zipfile.ZipFile(root) as archive:
            _decode_into(images, bad, files, lambda name: _read_member(archive, name))
    return images[: len(files) - len(bad)], bad


def _decode_into(
    images: np.ndarray,
    bad: list[tuple[int, str]],
    files: Sequence[str],
    read: Callable[[str], bytes],
) -> None:
    good = 0
    for position, name in enumerate(files):
        try:
            images[good] = decode(read(name), images.shape[1])
            good += 1
        except Exception as error:  # damaged zip members raise zlib.error, RuntimeError and others
            bad.append((position, _reason(error)))


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
