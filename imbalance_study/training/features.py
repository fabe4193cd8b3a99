"""Features of a frozen backbone: computed once, kept on disk, trained on in place of images.

Features are computed in evaluation mode and in batches of a constant size, since their last digits
depend on it. A file of features is named by a digest of all that they follow from.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imbalance_study import files
from imbalance_study.data.cache import named, refuse_if_full
from imbalance_study.data.loader import Batch, Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.cpu import allocator
from imbalance_study.training.memory import is_out_of_memory
from imbalance_study.training.predict import Precision, autocast

Floats = npt.NDArray[np.float32]

VERSION = 1
# Images of a batch: on a processor the layers of larger batches leave its caches.
_ON_CPU, _ON_GPU = 16, 256


class Views(NamedTuple):
    """Augmented views of each image, in the place of the image itself."""

    number: int
    augment: Callable[[Batch, torch.Generator], Tensor]  # -> uint8 (B, 3, H, W)
    seed: int


class Kept(NamedTuple):
    """Features in the cache."""

    features: Floats  # (N, F), or (N * views, F) with the views of an image in a row; read only
    read: bool  # by this process, computed before
    seconds: float


def batch_size(device: torch.device) -> int:
    """Return the number of images that pass the backbone at a time."""
    return _ON_GPU if device.type == "cuda" else _ON_CPU


def compute(
    model: Classifier,
    images: Batches,
    normalise: Callable[[Tensor], Tensor],
    precision: Precision = "fp32",
    *,
    views: Views | None = None,
    first: int = 0,
) -> Iterator[Floats]:
    """Yield the features (B, F) of all images in order, batch by batch.

    The last batch is filled up with its last image, so that each has the same size.

    Args:
        model: In evaluation mode meanwhile.
        images: The part.
        normalise: uint8 -> float.
        precision: Number format.
        views: Views to compute in place of the images, those of an image in a row.
        first: Batch to begin with.

    Raises:
        ValueError: A feature is not finite, or a batch does not fit into the memory of the GPU.
    """
    size, device = batch_size(images.device), images.device
    rows = torch.arange(len(images)).repeat_interleave(views.number if views else 1)
    count = len(rows)
    rows = torch.cat([rows, rows[-1:].expand(-count % size)])[first * size :]
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with allocator.kept(device), torch.inference_mode():
            for number, batch in enumerate(images.epoch(rows, size), first):
                pixels = batch.images if views is None else _view(views, batch, number)
                with autocast(device, precision):
                    found = model.forward_features(normalise(pixels)).float()
                yield _finite(found)[: count - number * size]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(
            f"{size} images do not fit into the memory of this GPU while their features are "
            "computed; choose a smaller image_size or model"
        ) from error
    finally:
        for module, mode in was_training.items():
            module.training = mode


def _view(views: Views, batch: Batch, number: int) -> Tensor:
    """Augment a batch, in the same way whenever its turn comes."""
    generator = torch.Generator(batch.images.device).manual_seed(views.seed + number)
    return views.augment(batch, generator)


def _finite(found: Tensor) -> Floats:
    values: Floats = found.cpu().numpy()
    if not np.isfinite(values).all():
        raise ValueError(
            "the backbone gives features that are not finite; check its weights, or set "
            "precision=fp32"
        )
    return values


def kept(
    cache_dir: Path,
    made_of: dict[str, Any],
    shape: tuple[int, int],
    per_batch: int,
    compute: Callable[[int], Iterator[Floats]],
    *,
    name: str,
) -> Kept:
    """Return features from the cache, computed when they are not there.

    Of several processes one computes, and the others wait and read. A computation that was
    interrupted goes on at a whole batch. The finished file is renamed: no process sees half of it.

    Args:
        cache_dir: The cache folder; features are in ``features`` inside it.
        made_of: All that the features follow from, for JSON.
        shape: Rows and features of a row.
        per_batch: Rows of a batch.
        compute: Yields the batches from a number on.
        name: Of the part, for the progress bar.

    Raises:
        OSError: The folder cannot be written, or its disk is full; the message names it.
    """
    begun = time.perf_counter()
    made_of = _described(made_of, shape)
    file = _file_of(cache_dir, made_of)
    found, read = _open(file, shape), True
    if found is None:
        with named(cache_dir, "features"):
            file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.with_name(f".lock-{file.stem}"), name):
            found = _open(file, shape)
            if found is None:
                read = False
                _write(file, made_of, shape, per_batch, compute, name)
                found = _open(file, shape)
        if found is None:
            raise OSError(f"the features in {file.parent} cannot be read back after writing")
    return Kept(found, read, time.perf_counter() - begun)


def is_kept(cache_dir: Path, made_of: dict[str, Any], shape: tuple[int, int]) -> bool:
    """Tell whether `kept` would read these features."""
    return _open(_file_of(cache_dir, _described(made_of, shape)), shape) is not None


def _described(made_of: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    return {"version": VERSION, **made_of, "shape": list(shape)}


def _file_of(cache_dir: Path, described: dict[str, Any]) -> Path:
    """Return the file of features, named by a digest of their description."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]
    return cache_dir / "features" / f"{digest}.npy"


@contextlib.contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    """Hold the lock of one file of features, where a lock file can be made."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # else each process computes for itself
            stack.enter_context(files.exclusive_lock(lock, purpose=f"the features of {name}"))
        yield


def _open(file: Path, shape: tuple[int, int]) -> Floats | None:
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None


def _write(
    file: Path,
    made_of: dict[str, Any],
    shape: tuple[int, int],
    per_batch: int,
    compute: Callable[[int], Iterator[Floats]],
    name: str,
) -> None:
    """Compute the batches that are missing, then give the file its name."""
    partial, head = file.with_suffix(".partial"), _header(shape)
    cache_dir, row = file.parent.parent, 4 * shape[1]
    with named(cache_dir, "features"):
        refuse_if_full(cache_dir, shape[0] * row)
        with files.replacing(file.with_suffix(".json"), "the description of") as described:
            described.write_text(json.dumps(made_of, indent=1), "utf-8")
        partial.touch()
    done = max(0, partial.stat().st_size - len(head)) // (per_batch * row)
    # Plain writes at their place, not a writable memory map: on a full disk they raise, a map
    # kills the process.
    with partial.open("r+b") as target:
        with named(cache_dir, "features"):
            target.write(head)
            target.seek(len(head) + done * per_batch * row)
            target.truncate()
        with _bar(name, shape[0], done * per_batch) as bar:
            for values in compute(done):
                with named(cache_dir, "features"):
                    target.write(np.ascontiguousarray(values, np.float32).data)
                    target.flush()
                bar.update(len(values))
        with named(cache_dir, "features"):
            os.fsync(target.fileno())
    with contextlib.suppress(FileNotFoundError), named(cache_dir, "features"):
        partial.replace(file)


def _bar(name: str, count: int, done: int) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=count,
        initial=done,
        desc=f"features of {name}",
        unit="img",
        delay=1,
        mininterval=0.5,
        disable=None,
    )


def _header(shape: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    about: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, about)
    return stream.getvalue()


def digest_of_weights(backbone: nn.Module) -> str:
    """Digest the names, types, shapes and values of all weights and buffers."""
    found = hashlib.sha256()
    for name, value in backbone.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def digest_of_images(images: Batches, chunk: int = 64) -> str:
    """Digest the pixels of a part, in its order."""
    found = hashlib.sha256()
    for start in range(0, len(images), chunk):
        found.update(images.read(np.arange(start, min(start + chunk, len(images)))).data)
    return found.hexdigest()
