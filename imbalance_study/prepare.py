"""From a Config to what the parts need: functions, device, data, model.

With `stages`, `corrections` and `experiment` the only module that reads a Config below the command
line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imbalance_study import pretrained, spec
from imbalance_study.config import Config
from imbalance_study.data import augment, longtail, mix, policies, samplers, smote, sources
from imbalance_study.data.batches import Batches, fits
from imbalance_study.models import freezing, heads, transfer, zoo
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import losses, optim, schedules, second_stage
from imbalance_study.training.loop import sampler_context
from imbalance_study.training.predict import Precision

# Keyword-only parameters that the caller supplies: they are no knobs.
_LOOP = frozenset({"progress", "class_errors"})
_OPTIMIZER = frozenset({"lr", "weight_decay"})


class Choices(NamedTuple):
    """The functions that the spec strings of a Config name, with their knobs bound."""

    imbalance: Callable[..., Any]
    validation: Callable[..., Any]
    loss: Callable[..., Tensor]
    class_weights: Callable[..., Tensor]
    sampler: Callable[..., Tensor]
    mix: Callable[..., Any] | None
    augment: Callable[..., Tensor]
    tail_augment: Callable[..., Tensor] | None
    resample: Callable[..., Any] | None
    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Callable[..., float]
    early_stopping: Callable[..., bool] | None
    stage2: Callable[..., second_stage.Stage] | None
    freeze: freezing.Freeze | None = None
    reconstruct: float = 0.0  # weight of the decoder's squared error; 0: no decoder is trained
    separate: bool = False  # the autoencoder first, then the classifier on the frozen encoder


class Machine(NamedTuple):
    """Where and in which number format the computing is done."""

    device: torch.device
    precision: Precision
    channels_last: bool


class Data(NamedTuple):
    """The image set, cut and ready."""

    image_set: sources.ImageSet
    split: longtail.Split
    train_images: npt.NDArray[np.uint8]  # the images that training rows count in
    train_labels: npt.NDArray[np.int64]
    train_rows: npt.NDArray[np.int64]
    class_counts: npt.NDArray[np.int64]  # (C,) of the training part
    mean: npt.NDArray[np.float64]  # (3,) in 0..1
    std: npt.NDArray[np.float64]
    fingerprint: dict[str, Any]  # see `longtail.fingerprint`
    source: pretrained.Source | None = None  # of the weights to start from

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.image_set.class_names)

    @property
    def image_size(self) -> int:
        """Side in pixels."""
        return int(self.image_set.images.shape[1])


def seeds(seed: int) -> Callable[[str], int]:
    """A seed for each purpose, all from one."""

    def of(purpose: str) -> int:
        digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
        return int.from_bytes(digest[:7], "little")

    return of


def bind(config: Config) -> Choices:
    """Bind every spec string; a typing mistake comes out here, before anything is loaded.

    Raises:
        ValueError: An unknown knob or a value of the wrong type or range.
    """

    def optional(registry: spec.Registry, text: str, kind: str) -> Any:
        return None if text == "none" else spec.bind(registry, text, kind)

    loss = spec.bind(losses.LOSSES, config.loss, "loss")
    if config.label_smoothing > 0:
        if not spec.takes(loss, "label_smoothing"):
            raise ValueError(f"label_smoothing has no effect with loss={config.loss}")
        loss = functools.partial(loss, label_smoothing=config.label_smoothing)
    specs = spec.parse_chain(config.augment)
    choices = Choices(
        imbalance=spec.bind(longtail.IMBALANCES, config.imbalance, "imbalance"),
        validation=spec.bind(longtail.VALIDATIONS, config.validation, "validation"),
        loss=loss,
        class_weights=spec.bind(losses.CLASS_WEIGHTS, config.class_weights, "class_weights"),
        sampler=spec.bind(samplers.SAMPLERS, config.sampler, "sampler", _LOOP),
        mix=optional(mix.MIXES, config.mix, "mix"),
        augment=augment.compose(
            [spec.bind(augment.AUGMENTATIONS, one, "augmentation") for one in specs]
        ),
        tail_augment=optional(policies.TAIL_AUGMENTS, config.tail_augment, "tail_augment"),
        resample=optional(smote.RESAMPLERS, config.resample, "resample"),
        optimizer=spec.bind(optim.OPTIMIZERS, config.optimizer, "optimizer", _OPTIMIZER),
        schedule=spec.bind(schedules.SCHEDULES, config.schedule, "schedule"),
        early_stopping=_early_stopping(config.early_stopping),
        stage2=optional(second_stage.STAGES, config.stage2, "stage2"),
        freeze=optional(freezing.FREEZES, config.freeze, "freeze"),
        reconstruct=_weight_of_decoder(config.autoencoder),
        separate=spec.parse(config.autoencoder).name == "separate",
    )
    if config.head != "auto":
        heads.make_head(config.head, 2, 2)
    _try(choices)
    return choices


def _try(choices: Choices) -> None:
    """Call what checks its knobs when it is called, so that nothing is loaded in vain."""
    counts = torch.tensor([3.0, 2.0])
    targets = torch.tensor([0, 0, 0, 1, 1])
    choices.loss(torch.zeros(5, 2), targets, counts)
    choices.class_weights(counts)
    choices.schedule(0.5, 2, [0.0])
    if choices.early_stopping is not None:
        choices.early_stopping([0.0])
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    choices.augment(images, generator)
    choices.sampler(targets, generator, **sampler_context(choices.sampler, 0.0, None))
    if choices.tail_augment is not None:
        choices.tail_augment(images, targets, counts, generator)
    if choices.mix is not None:
        choices.mix(images.float(), targets, counts, generator)
    if choices.freeze is not None:
        choices.freeze(0.0, 1)
    choices.optimizer([nn.Parameter(torch.zeros(1))], lr=0.1, weight_decay=0.0)
    if choices.stage2 is not None:
        with torch.random.fork_rng([]):
            toy = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), image_size=1)
            choices.stage2(toy).loss(torch.zeros(5, 2), targets, counts)


def _weight_of_decoder(text: str) -> float:
    if text == "off":
        return 0.0
    return float(spec.bind(_AUTOENCODERS, text, "autoencoder")())


def _joint(*, weight: float = 1.0) -> float:
    """Raises ValueError where the weight is not positive."""
    if not 0 < weight < math.inf:
        raise ValueError(f"weight of autoencoder joint must be larger than 0, got {weight:g}")
    return weight


_AUTOENCODERS: dict[str, Callable[..., float]] = {"joint": _joint, "separate": lambda: 1.0}

STOP_METRICS = ("val/balanced_accuracy", "val/accuracy", "val/macro_f1", "val/loss")


def _early_stopping(text: str) -> Callable[..., bool] | None:
    if text == "none":
        return None
    registry = dict.fromkeys(STOP_METRICS, schedules.should_stop)
    return spec.bind(registry, text, "early_stopping metric")


def machine(config: Config) -> Machine:
    """Resolve device, precision and memory format.

    Raises:
        ValueError: The device asked for is not there, or cannot do what is asked of it.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    name: str = config.device
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if found[kind]), "cpu")
    elif not found.get(name, True):
        raise ValueError(f"device={name}, but this machine has none; use device=cpu or auto")
    precision: Any = config.precision
    if precision == "auto":
        precision = "fp32"
        if name == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16" if native else "fp16"
    elif precision == "fp16" and name != "cuda":
        raise ValueError(f"precision=fp16 needs device=cuda, got device={name}")
    if name == "cuda":
        torch.backends.cudnn.benchmark = True
    return Machine(torch.device(name), precision, config.memory_format != "contiguous")


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


def _load_images(config: Config) -> sources.ImageSet:
    return sources.load(
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
    mean, std = longtail.channel_statistics(image_set.images, split.train)
    std = np.where(std > 0, std, 1.0)  # images of one colour
    images, labels, rows = image_set.images, image_set.labels, split.train
    if choices.resample is not None:
        seed = seeds(config.data_seed)("resample") % 2**32
        images, labels = choices.resample(images[rows], labels[rows], seed)
        rows = np.arange(len(labels))
    counts = np.bincount(labels[rows], minlength=len(image_set.class_names))
    losses.check_class_counts(torch.from_numpy(counts), image_set.class_names)
    fingerprint = longtail.fingerprint(image_set, split, config.data_seed)
    return Data(image_set, split, images, labels, rows, counts, mean, std, fingerprint)


def part(data: Data, name: str, config: Config, device: torch.device) -> Batches:
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


class Built(NamedTuple):
    """A model ready to train."""

    model: Classifier
    weights: dict[str, Any]  # what was loaded into it, and what not; empty where nothing was


def build_model(config: Config, data: Data, where: Machine) -> Classifier:
    """The model with its head, on the device; see `build`."""
    return build(config, data, where).model


def build(config: Config, data: Data, where: Machine) -> Built:
    """The model with its head, on the device.

    Weights are drawn from `config.seed`, then those that are given are loaded over them. What is
    frozen throughout needs no gradient from here on.

    Raises:
        ValueError: The weights are of another model, or what `freeze` keeps is not among them.
    """
    loss = spec.parse(config.loss).name
    torch.manual_seed(seeds(config.seed)("weights"))
    source, stem = data.source, config.stem
    if stem == "auto" and source is not None:
        stem = source.stem  # type: ignore[assignment]
    model = zoo.create(
        config.model, data.num_classes, image_size=data.image_size, stem=stem, head=head_of(config)
    )
    if loss in losses.SIGMOID_LOSSES:
        heads.set_prior_bias(model.get_classifier(), data.num_classes)
    record: dict[str, Any] = {}
    if config.autoencoder == "off":
        model.decoder = None
    if source is not None:
        loaded = pretrained.put_into(model, source, data.image_set.class_names)
        record = pretrained.describe(source, loaded)
        _check_frozen(config, model, loaded)
    layout = torch.channels_last if where.channels_last else torch.contiguous_format
    return Built(model.to(where.device).to(memory_format=layout), record)


def head_of(config: Config) -> str:
    """The spec string of the head, decided by the loss where it is auto."""
    if config.head != "auto":
        return config.head
    return "cosine" if spec.parse(config.loss).name in losses.COSINE_LOSSES else "last"


def _check_frozen(config: Config, model: Classifier, loaded: transfer.Loaded) -> None:
    if config.freeze == "none":
        return
    freeze = spec.bind(freezing.FREEZES, config.freeze, "freeze")
    with freezing.trial(model, freeze(0.0, len(freezing.blocks_of(model)))):
        kept = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    new = [name for name in loaded.new if name in kept]
    if new:
        raise ValueError(
            f"freeze={config.freeze} would freeze {new[0].removeprefix('backbone.')}, which "
            f"the weights do not hold (stem={model.stem}, head={config.head}); take the stem and "
            "head of the weights, or freeze=none"
        )


def as_dict(config: Config) -> dict[str, Any]:
    """All knobs, for checkpoints; where the run is recorded may hold a password."""
    return dataclasses.asdict(config) | {"tracking_uri": "auto"}
