"""The image set of a run: loaded, cut into parts, resampled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study.config import compatibility, resolve, spec
from imbalance_study.config.schema import Config
from imbalance_study.data import datasets, duplicates, fingerprint, leaks, longtail, report
from imbalance_study.data.image_set import ImageSet, Split
from imbalance_study.data.loader import Batches, fits
from imbalance_study.experiment.setup.components import Choices
from imbalance_study.experiment.setup.seeding import seeds
from imbalance_study.files import default_cache_dir
from imbalance_study.models import imagenet, pretrained
from imbalance_study.training import losses


class Data(NamedTuple):
    """An image set that is loaded, cut into parts and resampled."""

    image_set: ImageSet
    split: Split
    train_images: npt.NDArray[np.uint8]  # the images that training rows count in
    train_labels: npt.NDArray[np.int64]
    train_rows: npt.NDArray[np.int64]
    class_counts: npt.NDArray[np.int64]  # (C,) of the training part
    mean: npt.NDArray[np.float64]  # (3,) in 0..1
    std: npt.NDArray[np.float64]
    fingerprint: dict[str, Any]  # see `fingerprint.fingerprint`
    report: report.DataReport

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.image_set.class_names)

    @property
    def image_size(self) -> int:
        """Side in pixels."""
        return int(self.image_set.images.shape[1])


# Options that decide the images, and options that decide how they are cut.
_IMAGES = (
    *("dataset", "data_dir", "image_size", "on_bad_image", "cache_dir"),
    *("csv_columns", "test_fold", "fit", "pixel_range"),
)
_CUT = (
    "imbalance",
    "class_order",
    "validation",
    "test_fraction",
    "data_seed",
    "on_leak",
    "group_copies",
)
_KEPT = 4
_KEPT_FEATURES = 8  # three parts of a run, and the resampled one
# Fewer training images than this train a model better from pretrained weights than from random
# ones, if they are photographs: of this many pixels a side at least.
_FEW_IMAGES, _PHOTOGRAPH = 3_000, 64


class DataCache:
    """Image sets and cuts in memory, which runs of one process share.

    Files that change meanwhile are not seen. The four image sets and the four cuts used last are
    kept.
    """

    def __init__(self) -> None:
        self._images: dict[tuple[Any, ...], ImageSet] = {}
        self._cuts: dict[tuple[Any, ...], Data] = {}
        self._features: dict[tuple[Any, ...], Batches] = {}
        self._digests: dict[tuple[str, ...], str] = {}

    def images(self, config: Config, load: Callable[[], ImageSet]) -> ImageSet:
        """Return the image set of a configuration, loaded once."""
        return _recall(self._images, _values(config, _IMAGES), load)

    def cut(self, config: Config, make: Callable[[], Data]) -> Data:
        """Return the cut of a configuration, made once."""
        resampled = config.resample if config.space == "pixels" else "none"
        return _recall(self._cuts, (*_values(config, _IMAGES + _CUT), resampled), make)

    def features(self, key: tuple[Any, ...], make: Callable[[], Batches]) -> Batches:
        """Return a part as features, loaded once; the key names all that it follows from."""
        return _recall(self._features, key, make, _KEPT_FEATURES)

    def digest(self, part: tuple[str, ...], make: Callable[[], str]) -> str:
        """Return the digest of the pixels of a part, computed once."""
        if part not in self._digests:
            self._digests[part] = make()
        return self._digests[part]


_Value = TypeVar("_Value")


def _recall(
    kept: dict[tuple[Any, ...], _Value],
    key: tuple[Any, ...],
    make: Callable[[], _Value],
    most: int = _KEPT,
) -> _Value:
    value = kept.pop(key) if key in kept else make()
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]
    return value


def _values(config: Config, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(config, name) for name in names)


def load_data(
    config: Config,
    choices: Choices,
    weights: pretrained.Source | None = None,
    cache: DataCache | None = None,
) -> Data:
    """Load, cut and, where asked for, resample the image set.

    Args:
        config: Names the images and the cut.
        choices: As bound from it.
        weights: The weights to start from; ``image_size=auto`` and ``normalisation=auto`` follow
            their training.
        cache: Keeps the images and the cut for the next call.

    Raises:
        ValueError: See `datasets.load`, `longtail.make_split` and `smote.smote`; or an option needs
            validation images, and there are none.
    """
    if weights is not None and weights.image_size and config.image_size == "auto":
        config = dataclasses.replace(config, image_size=weights.image_size)
    cache = DataCache() if cache is None else cache
    data = cache.cut(config, lambda: _cut(config, choices, cache))
    _refuse_without_validation(config, data)
    hints = _hints(config.model, len(data.split.train), data.image_size)
    if hints and weights is None:
        data = data._replace(report=data.report.with_findings(hints))
    if choices.normalisation is not None:
        mean, std = choices.normalisation.function()
    elif config.normalisation == "auto" and weights is not None and weights.mean:
        mean, std = weights.mean, weights.std
    else:
        return data
    return data._replace(mean=np.array(mean), std=np.array(std))


def _hints(model: str, images: int, image_size: int) -> list[report.Finding]:
    """Hint at pretrained weights where few photographs train random ones."""
    if images >= _FEW_IMAGES or image_size < _PHOTOGRAPH:
        return []
    try:
        imagenet.published(spec.parse(model).name)
    except ValueError:  # there are none for this model
        return []
    text = f"weights=imagenet starts from trained weights, which {images:,} images call for"
    return [report.Finding("hint", text)]


def _refuse_without_validation(config: Config, data: Data) -> None:
    needed = "" if len(data.split.val) else compatibility.need_validation(config)
    if not needed:
        return
    name = needed.partition("=")[0]
    reason = f"validation={config.validation} leaves none"
    if config.validation != "none":
        kept = "group of images" if len(data.image_set.groups) else "training image"
        reason += f": the last {kept} of a class is never taken, and no class has more"
    without = {
        "schedule": "schedule=cosine",
        "sampler": "sampler=shuffle",
        "select_by": "select_by=last",
    }
    raise ValueError(
        f"{needed} needs validation images, and {reason}; add images, or set "
        f"{without.get(name, f'{name}=none')}"
    )


def _load_images(config: Config) -> ImageSet:
    found = datasets.load(
        config.dataset,
        config.data_dir,
        image_size=0 if config.image_size == "auto" else config.image_size,
        on_bad_image=config.on_bad_image,
        cache_dir=config.cache_dir,
        workers=config.decode_workers,
        fit=config.fit,
        pixel_range=config.pixel_range,
        csv_columns=config.csv_columns,
        test_fold=None if config.test_fold == "auto" else config.test_fold,
    )
    cache_dir = default_cache_dir() if config.cache_dir == "auto" else Path(config.cache_dir)
    found = dataclasses.replace(found, copies=duplicates.find(found.images, cache_dir.expanduser()))
    leaks.refuse_plain(found)
    return found


def _cut(config: Config, choices: Choices, cache: DataCache) -> Data:
    image_set = leaks.handle(
        cache.images(config, lambda: _load_images(config)), on_leak=config.on_leak
    )
    if config.group_copies:
        image_set = leaks.group(image_set)
    split = longtail.make_split(
        image_set,
        imbalance=choices.imbalance.function,
        validation=choices.validation.function,
        class_order=config.class_order,
        test_fraction=0.2 if config.test_fraction == "auto" else config.test_fraction,
        data_seed=config.data_seed,
    )
    mean, std = fingerprint.channel_statistics(image_set.images, split.train)
    std = np.where(std > 0, std, 1.0)  # images of one colour
    images, labels, rows = image_set.images, image_set.labels, split.train
    if choices.resample is not None and config.space == "pixels":
        seed = seeds(config.data_seed)("resample") % 2**32
        resample, names = choices.resample.function, image_set.class_names
        context = {"class_names": names} if spec.takes(resample, "class_names") else {}
        images, labels = resample(images[rows], labels[rows], seed, **context)
        rows = np.arange(len(labels))
    counts = np.bincount(labels[rows], minlength=len(image_set.class_names))
    losses.check_class_counts(torch.from_numpy(counts), image_set.class_names)
    identity = fingerprint.fingerprint(image_set, split, config.data_seed)
    found = report.make(
        image_set.class_names,
        image_set.labels,
        split._asdict(),
        [
            *image_set.findings,
            *leaks.findings(image_set, split),
            *_idle(config, image_set, split),
        ],
    )
    found = dataclasses.replace(found, copies=leaks.table(image_set, split))
    return Data(image_set, split, images, labels, rows, counts, mean, std, identity, found)


def _idle(config: Config, image_set: ImageSet, split: Split) -> list[report.Finding]:
    """Name the options that do nothing, as the images come with parts of their own."""
    usual = resolve.dataset_defaults(config.dataset)
    found = []
    if len(image_set.test) and config.test_fraction not in (
        "auto",
        usual.get("test_fraction", "auto"),
    ):
        found.append(f"test_fraction={config.test_fraction:g} does nothing: there are test images")
    stratified = config.validation not in ("none", Config.validation)
    if len(image_set.val) and len(split.val) and stratified:
        found.append(f"validation={config.validation} does nothing: there are validation images")
    return [report.Finding("options", text) for text in found]


class Parts(NamedTuple):
    """The batches of each part; validation may be missing, and the test part left out."""

    train: Batches
    val: Batches | None
    test: Batches | None

    def need_val(self) -> Batches:
        """Return the validation part.

        Raises:
            ValueError: There is none.
        """
        if self.val is None:
            raise ValueError("the run has no validation images")
        return self.val

    def need_test(self) -> Batches:
        """Return the test part.

        Raises:
            ValueError: It was left out.
        """
        if self.test is None:
            raise ValueError("the run was set up without its test images")
        return self.test


def parts_of(data: Data, config: Config, device: torch.device, *, test: bool = True) -> Parts:
    """Return the batches of each part.

    Raises:
        ValueError: There is neither a test part nor a validation part to evaluate on.
    """
    val = batches_of(data, "val", config, device) if len(data.split.val) else None
    if not test and val is None:
        raise ValueError(
            "without the test set a run needs validation images, "
            f"got validation={config.validation}"
        )
    train = batches_of(data, "train", config, device)
    return Parts(train, val, batches_of(data, "test", config, device) if test else None)


def batches_of(data: Data, name: str, config: Config, device: torch.device) -> Batches:
    """Return the batches of ``train``, ``val`` or ``test``, on the device where they fit there.

    Images that pass the backbone once are streamed.
    """
    if name == "train":
        images, labels, rows = data.train_images, data.train_labels, data.train_rows
    else:
        images, labels = data.image_set.images, data.image_set.labels
        rows = getattr(data.split, name)
    resident = config.resident == "true"
    if config.space == "features":
        resident = False
    elif config.resident == "auto":
        resident = fits(len(rows) * 3 * data.image_size**2, device)
    return Batches(images, labels, rows, device, resident=resident)
