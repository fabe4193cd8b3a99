"""Features of the frozen backbone of a run, in the place of its images."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from imbalance_study import __version__, files
from imbalance_study.config import choices as registry
from imbalance_study.config import spec
from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batch, Batches, fits
from imbalance_study.experiment.setup.data import DataCache, Parts
from imbalance_study.experiment.setup.inputs import LocalFiles, RunInputs
from imbalance_study.experiment.setup.procedures import all_epochs, normaliser
from imbalance_study.experiment.setup.seeding import seeds
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import features
from imbalance_study.training.procedure import Fit, Procedure


class FeatureParts(NamedTuple):
    """The parts of a run as features, and where they came from."""

    parts: Parts
    seconds: float  # of the pass, or of reading
    read: bool  # all of them were there before


def of(
    inputs: RunInputs, model: Classifier, images: Parts, local: LocalFiles | None
) -> FeatureParts | None:
    """Return the features that a run trains on; None where it trains on images."""
    if inputs.config.space != "features":
        return None
    cache = local.data_cache if local is not None else None
    return kept(inputs, model, images, DataCache() if cache is None else cache)


def in_words(inputs: RunInputs, found: FeatureParts | None) -> str:
    """Say where the features of a frozen backbone came from, or why they are not kept."""
    config = inputs.config
    if found is not None:
        return f"features        {origin(describe(found))}"
    drawn = {config.augment, config.tail_augment} != {"none"}
    if spec.parse(config.freeze).name != "head_only" or not drawn:
        return ""
    return (
        f"features        computed in each epoch, as augment={config.augment} and tail_augment="
        f"{config.tail_augment} draw images anew; augment=none, or feature_views=4, computes them "
        "once"
    )


def origin(record: Mapping[str, Any]) -> str:
    """Say the record of `describe` in words, for a tag."""
    how = "read from the cache" if record["read"] else "computed and kept"
    return f"{how} in {record['seconds']:.1f} s"


def describe(found: FeatureParts) -> dict[str, Any]:
    """Return the origin of the features, for the record."""
    return {"read": found.read, "seconds": found.seconds}


def kept(inputs: RunInputs, model: Classifier, images: Parts, cache: DataCache) -> FeatureParts:
    """Return the features of each part from the cache, computed when they are not there.

    Args:
        inputs: Of a run with ``space=features``.
        model: With its weights, on its device.
        images: The parts.
        cache: Keeps the parts for the next run of this process.

    Raises:
        ValueError: See `features.compute`, and `smote.smote`.
        OSError: The cache cannot be written.
    """
    begun = time.perf_counter()
    of = _Passes(inputs, model, cache)
    train = of.part("train", images.train)
    val = None if images.val is None else of.part("val", images.val)
    test = None if images.test is None else of.part("test", images.test)
    return FeatureParts(Parts(train, val, test), time.perf_counter() - begun, of.all_read)


def in_memory(
    inputs: RunInputs, procedure: Procedure, model: Classifier, images: Parts
) -> FeatureParts:
    """Compute the features of each part for this run alone, whose backbone no other run has."""
    begun = time.perf_counter()

    def computed(part: Batches) -> Batches:
        batches = features.compute(model, part, procedure.normalise, procedure.precision)
        return _batches(np.concatenate(list(batches)), part, inputs.config)

    train = computed(images.train)
    val, test = (None if part is None else computed(part) for part in (images.val, images.test))
    return FeatureParts(Parts(train, val, test), time.perf_counter() - begun, False)


def second_stage_pays(inputs: RunInputs) -> bool:
    """Tell whether a second stage that follows a training on images may use features.

    Neither may draw images anew, nor may the second one change the statistics of the backbone. The
    features serve this run alone, and cost a pass over all images: with one epoch nothing is won.
    """
    config = inputs.config
    stage = spec.parse(config.stage2)
    if not inputs.choices.has_second_stage or stage.options.get("shift_bn", "").lower() == "true":
        return False
    anew = [config.augment, config.tail_augment, config.mix if inputs.choices.separate else "none"]
    return set(anew) == {"none"} and all_epochs(config, inputs.choices) > config.epochs + 1


def are_kept(inputs: RunInputs, model: Classifier, images: Parts) -> bool:
    """Tell whether `kept` would read the features of all parts."""
    of = _Passes(inputs, model, DataCache())
    named = {"train": images.train, "val": images.val, "test": images.test}
    return all(of.is_kept(name, part) for name, part in named.items() if part is not None)


def with_backbone(model: Classifier, fitted: Fit) -> Fit:
    """Return the training of a head with the weights of the whole network, whose head it is."""
    backbone = {
        name: value.detach().cpu()
        for name, value in model.state_dict().items()
        if name.startswith("backbone.")
    }
    return fitted._replace(best=backbone | fitted.best, last=backbone | fitted.last)


def on_features(procedure: Procedure, views: int = 0) -> Procedure:
    """Return a procedure that trains on features, each epoch on one of the views of an image."""
    return dataclasses.replace(
        procedure,
        augment=lambda batch, generator: batch,
        tail_augment=None,
        normalise=unchanged,
        views=max(1, views),
    )


def unchanged(values: Tensor) -> Tensor:
    """Return features as they are: they need no normalisation."""
    return values


class _Passes:
    """The passes of the parts of a run through its backbone."""

    def __init__(self, inputs: RunInputs, model: Classifier, cache: DataCache) -> None:
        self._inputs, self._model, self._cache = inputs, model, cache
        self._backbone = self._made_of_backbone()
        self.all_read = True

    def part(self, name: str, images: Batches) -> Batches:
        """Return a part as features."""
        inputs = self._inputs
        made_of = self._made_of(name, images)
        resample = inputs.choices.resample if name == "train" else None
        digest = str(inputs.data.fingerprint["fingerprint"])  # of the labels, too
        key: tuple[Any, ...] = (name, digest, str(sorted(made_of.items())))
        key += (inputs.config.data_seed, inputs.config.resample) if resample else ()

        def make() -> Batches:
            found = self._kept(name, images, made_of)
            self.all_read = self.all_read and found.read
            if resample is None:
                return _batches(found.features, images, inputs.config)
            seed = seeds(inputs.config.data_seed)("resample") % 2**32
            names = inputs.data.image_set.class_names
            made, labels = resample.function(
                found.features, images.targets.numpy(), seed, class_names=names
            )
            return _batches(made, images, inputs.config, labels)

        return self._cache.features(key, make)

    def is_kept(self, name: str, images: Batches) -> bool:
        """Tell whether the features of a part are in the cache."""
        made_of = self._made_of(name, images)
        return features.is_kept(self._folder, made_of, self._shape(name, images))

    @property
    def _folder(self) -> Path:
        named = self._inputs.config.cache_dir
        return files.default_cache_dir() if named == "auto" else Path(named).expanduser()

    def _shape(self, name: str, images: Batches) -> tuple[int, int]:
        views = self._inputs.config.feature_views if name == "train" else 0
        return len(images) * max(1, views), self._model.num_features

    def _kept(self, name: str, images: Batches, made_of: dict[str, Any]) -> features.Kept:
        inputs, size = self._inputs, features.batch_size(images.device)
        views = self._views() if name == "train" else None
        normalise = normaliser(inputs.data, inputs.device_setup)

        def compute(first: int) -> Any:
            precision = inputs.device_setup.precision
            return features.compute(
                self._model, images, normalise, precision, views=views, first=first
            )

        shape = self._shape(name, images)
        return features.kept(self._folder, made_of, shape, size, compute, name=name)

    def _views(self) -> features.Views | None:
        inputs = self._inputs
        if not inputs.config.feature_views:
            return None
        tail = inputs.choices.tail_augment
        counts = torch.as_tensor(inputs.data.class_counts, dtype=torch.float32)

        def augment(batch: Batch, generator: torch.Generator) -> Tensor:
            images = inputs.choices.augment.function(batch.images, generator)
            if tail is None:
                return images
            return tail.function(images, batch.targets, counts.to(images.device), generator)

        seed = seeds(inputs.config.data_seed)("feature_views")
        return features.Views(inputs.config.feature_views, augment, seed)

    def _made_of(self, name: str, images: Batches) -> dict[str, Any]:
        """Return all that the features of a part follow from."""
        data, config = self._inputs.data, self._inputs.config
        digest = self._cache.digest(
            (data.fingerprint["fingerprint"], name), lambda: features.digest_of_images(images)
        )
        made_of = self._backbone | {"pixels": digest}
        if name == "train" and config.feature_views:
            made_of |= {
                "views": config.feature_views,
                "augment": config.augment,
                "tail_augment": config.tail_augment,
                "data_seed": config.data_seed,
                "labels": hashlib.sha256(images.targets.numpy().tobytes()).hexdigest(),
            }
        return made_of

    def _made_of_backbone(self) -> dict[str, Any]:
        inputs, model = self._inputs, self._model
        device_setup = inputs.device_setup
        return {
            "imbalance_study": __version__,
            "torch": torch.__version__,
            "model": inputs.config.model,
            "code": _code(inputs.config.model),
            "weights": features.digest_of_weights(model.backbone),
            "stem": model.stem,
            "num_features": model.num_features,
            "image_size": inputs.data.image_size,
            "mean": inputs.data.mean.tolist(),
            "std": inputs.data.std.tolist(),
            "device": device_setup.device.type,
            "precision": device_setup.precision,
            "memory_format": str(device_setup.memory_format),
            "batch_size": features.batch_size(device_setup.device),
        }


def _code(model: str) -> str:
    """Digest the module of a user's own model; empty for ours."""
    if ":" not in spec.parse(model).name:
        return ""
    function: Callable[..., Any] = spec.find(registry.MODELS, spec.parse(model).name, "model")
    module = inspect.getmodule(function)
    return hashlib.sha256(inspect.getsource(module).encode()).hexdigest() if module else ""


def _batches(
    values: features.Floats,
    images: Batches,
    config: Config,
    labels: np.ndarray | None = None,
) -> Batches:
    """Return batches of features with the labels of their images, on the device where they fit."""
    if labels is None:
        labels = np.repeat(images.targets.numpy(), len(values) // len(images))
    resident = config.resident == "true"
    if config.resident == "auto":
        resident = fits(values.nbytes, images.device)
    return Batches(values, labels, np.arange(len(labels)), images.device, resident=resident)
