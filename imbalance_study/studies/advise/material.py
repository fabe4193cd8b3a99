"""The images of an advice: read, looked through, and passed through the backbone once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from imbalance_study import files
from imbalance_study.config import spec
from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config
from imbalance_study.data.image_set import ImageSet
from imbalance_study.data.loader import Batches
from imbalance_study.data.report import DataReport
from imbalance_study.experiment.setup import features as features_setup
from imbalance_study.experiment.setup import model as model_setup
from imbalance_study.experiment.setup.data import DataCache, Parts
from imbalance_study.experiment.setup.inputs import LocalFiles, RunInputs, load_inputs
from imbalance_study.studies.advise import kept, splits
from imbalance_study.studies.advise.heads import FeatureSet, Ints, Remedy
from imbalance_study.studies.advise.settings import AdviceSettings
from imbalance_study.training.features import digest_of_images


class Material(NamedTuple):
    """Images that may be used: all but those of a test part of their own."""

    inputs: RunInputs
    pool: npt.NDArray[np.int64]  # (N,) rows of the image set
    unseen: int  # test images that the set brings itself, which stay unseen

    @property
    def image_set(self) -> ImageSet:
        """The image set with all its images."""
        return self.inputs.data.image_set

    @property
    def config(self) -> Config:
        """The configuration of images and features."""
        return self.inputs.config

    @property
    def report(self) -> DataReport:
        """The report of the images."""
        return self.inputs.data.report

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Classes of the pool (N,)."""
        return self.image_set.labels[self.pool]

    @property
    def files(self) -> list[str]:
        """File names of the pool (N,)."""
        return [self.image_set.files[row] for row in self.pool.tolist()]

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Groups of the pool (N,), or empty."""
        groups = self.image_set.groups
        return groups[self.pool] if len(groups) else groups


def config_of(settings: AdviceSettings, typed: Mapping[str, Any]) -> Config:
    """Decide the options of images and features.

    Raises:
        ValueError: An option that does not go with advice.
    """
    dataset = settings.dataset
    if dataset == "auto":
        dataset = _kind(Path(settings.data_dir).expanduser())
    fixed: dict[str, Any] = {
        "dataset": dataset,
        "data_dir": settings.data_dir,
        "model": settings.model,
        "freeze": "head_only",
        "validation": "none",
        "select_by": "last",
        "group_copies": True,
    }
    given = {"weights": "imagenet"} | dict(typed)
    if "imbalance" not in given and "imbalance_ratio" not in given:
        given["imbalance"] = "none"
    return make(**fixed | given)


def _kind(folder: Path) -> str:
    """Tell a table from folders of classes."""
    if folder.is_file() and folder.suffix.lower() == ".csv":
        return "csv"
    if folder.is_dir():
        inside = [one for one in folder.iterdir() if not one.name.startswith(".")]
        folders = any(one.is_dir() for one in inside)
        if not folders and any(one.suffix.lower() == ".csv" for one in inside):
            return "csv"
    return "imagefolder"


def read(settings: AdviceSettings, typed: Mapping[str, Any], cache: DataCache) -> Material:
    """Read the images, and check that they can be split.

    Copies stay together as images of one group do, so that no image is tested on its copy.

    Raises:
        ValueError: As `load_inputs`, or see `splits.check`.
    """
    config = config_of(settings, typed)
    inputs = load_inputs(config, LocalFiles(data_cache=cache))
    found, split = inputs.data.image_set, inputs.data.split
    own_test = len(found.test) > 0
    whole = spec.parse(config.imbalance).name == "none"
    parts = [split.train]
    if whole:
        parts += [found.val] if own_test else [found.val, split.test]
    pool = np.unique(np.concatenate(parts))
    material = Material(inputs, pool, len(found.test) if own_test else 0)
    splits.check(material.labels, material.groups, found.class_names)
    return material


def features_of(material: Material, cache: DataCache) -> FeatureSet:
    """Return the features of the pool, from the cache or computed and kept."""
    inputs, found = material.inputs, material.image_set
    device = inputs.device_setup.device
    images = Batches(found.images, found.labels, material.pool, device, resident=False)
    with torch.random.fork_rng([]):
        model = model_setup.build(inputs).model
    computed = features_setup.kept(inputs, model, Parts(images, None, None), cache)
    values = computed.parts.train.read(np.arange(len(material.pool)))
    return FeatureSet(
        np.ascontiguousarray(values, np.float32),
        material.labels,
        tuple(found.class_names),
        material.groups,
    )


def rows_file(material: Material, images: FeatureSet, tried: Sequence[Remedy]) -> Path:
    """Return the file of the rows of repeats: by features, labels, groups and remedies."""
    config = material.config
    folder = files.default_cache_dir()
    if config.cache_dir != "auto":
        folder = Path(config.cache_dir).expanduser()
    every = np.arange(len(images.labels))
    cpu = torch.device("cpu")
    values = images.features.reshape(len(every), -1)
    made_of = {
        "features": digest_of_images(Batches(values, images.labels, every, cpu, resident=False)),
        "labels": images.labels.tolist(),
        "classes": images.class_names,
        "groups": images.groups.tolist(),
        "remedies": [[one.name, one.options, dataclasses.asdict(one.config)] for one in tried],
    }
    return folder / "advice" / kept.name_of(made_of)


def small(material: Material, rows: Ints, side: int = 128) -> npt.NDArray[np.uint8]:
    """Return images (K, H, W, 3) of the pool for a contact sheet, not larger than `side`."""
    images = np.asarray(material.image_set.images[np.sort(material.pool[rows])])
    order = np.argsort(np.argsort(material.pool[rows]))
    step = max(1, images.shape[1] // side)
    return images[order][:, ::step, ::step]
