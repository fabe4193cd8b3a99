"""The image set of a run: loaded, cut into parts, resampled."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study.config.schema import Config
from imbalance_study.data import datasets, fingerprint, longtail
from imbalance_study.data.image_set import ImageSet, Split
from imbalance_study.data.loader import Batches, fits
from imbalance_study.experiment.setup.components import Choices
from imbalance_study.experiment.setup.seeding import seeds
from imbalance_study.models import pretrained, transfer
from imbalance_study.training import losses


class Data(NamedTuple):
    """The image set, cut and ready."""

    image_set: ImageSet
    split: Split
    train_images: npt.NDArray[np.uint8]  # the images that training rows count in
    train_labels: npt.NDArray[np.int64]
    train_rows: npt.NDArray[np.int64]
    class_counts: npt.NDArray[np.int64]  # (C,) of the training part
    mean: npt.NDArray[np.float64]  # (3,) in 0..1
    std: npt.NDArray[np.float64]
    fingerprint: dict[str, Any]  # see `fingerprint.fingerprint`
    source: pretrained.Source | None = None  # of the weights to start from

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.image_set.class_names)

    @property
    def image_size(self) -> int:
        """Side in pixels."""
        return int(self.image_set.images.shape[1])


# What decides the images, and what decides how they are cut.
_IMAGES = ("dataset", "data_dir", "image_size", "on_bad_image", "cache_dir")


_CUT = (*("imbalance", "class_order", "validation", "test_fraction", "data_seed", "resample"),)


_KEPT = 4  # most image sets, and most ways to cut them, that are kept in memory


_shared: dict[str, dict[tuple[Any, ...], Any]] | None = None


@contextlib.contextmanager
def shared_data() -> Iterator[None]:
    """While it lasts, `load_data` reads and cuts the same images once for many runs.

    Files that change meanwhile are not seen. The four image sets and cuts used last are kept.
    """
    global _shared
    before = _shared
    _shared = {} if before is None else before
    try:
        yield
    finally:
        _shared = before


def _once(kind: str, config: Config, fields: tuple[str, ...], make: Callable[[], Any]) -> Any:
    if _shared is None:
        return make()
    kept = _shared.setdefault(kind, {})
    key = tuple(getattr(config, name) for name in fields)
    found = kept.pop(key) if key in kept else make()
    kept[key] = found
    while len(kept) > _KEPT:
        del kept[next(iter(kept))]
    return found


def load_data(config: Config, choices: Choices) -> Data:
    """Load, cut and, where asked for, resample the image set; see also `shared_data`.

    Raises:
        ValueError: See `pretrained.find`, `sources.load`, `longtail.make_split` and `smote.smote`.
    """
    source = pretrained.find(config.weights, config.model)
    if source is not None and source.image_size and config.image_size == "auto":
        config = dataclasses.replace(config, image_size=source.image_size)
    data = cast(Data, _once("data", config, _IMAGES + _CUT, lambda: _load_data(config, choices)))
    if source is not None:
        data = data._replace(source=source)
    if config.normalisation == "imagenet":
        mean, std = transfer.imagenet_preprocessing()
    elif config.normalisation == "auto" and source is not None and source.mean:
        mean, std = source.mean, source.std
    else:
        return data
    return data._replace(mean=np.array(mean), std=np.array(std))


def _load_images(config: Config) -> ImageSet:
    return datasets.load(
        config.dataset,
        config.data_dir,
        image_size=0 if config.image_size == "auto" else config.image_size,
        on_bad_image=config.on_bad_image,
        cache_dir=config.cache_dir,
        workers=config.workers,
    )


def _load_data(config: Config, choices: Choices) -> Data:
    image_set = _once("images", config, _IMAGES, lambda: _load_images(config))
    split = longtail.make_split(
        image_set,
        imbalance=choices.imbalance,
        validation=choices.validation,
        class_order=config.class_order,
        test_fraction=0.2 if config.test_fraction == "auto" else config.test_fraction,
        data_seed=config.data_seed,
    )
    mean, std = fingerprint.channel_statistics(image_set.images, split.train)
    std = np.where(std > 0, std, 1.0)  # images of one colour
    images, labels, rows = image_set.images, image_set.labels, split.train
    if choices.resample is not None:
        seed = seeds(config.data_seed)("resample") % 2**32
        images, labels = choices.resample(images[rows], labels[rows], seed)
        rows = np.arange(len(labels))
    counts = np.bincount(labels[rows], minlength=len(image_set.class_names))
    losses.check_class_counts(torch.from_numpy(counts), image_set.class_names)
    identity = fingerprint.fingerprint(image_set, split, config.data_seed)
    return Data(image_set, split, images, labels, rows, counts, mean, std, identity)


def batches_of(data: Data, name: str, config: Config, device: torch.device) -> Batches:
    """The batches of ``train``, ``val`` or ``test``."""
    if name == "train":
        images, labels, rows = data.train_images, data.train_labels, data.train_rows
    else:
        images, labels = data.image_set.images, data.image_set.labels
        rows = getattr(data.split, name)
    resident = config.resident == "true"
    if config.resident == "auto":
        resident = fits(len(rows), data.image_size, device)
    return Batches(images, labels, rows, device, resident=resident)
