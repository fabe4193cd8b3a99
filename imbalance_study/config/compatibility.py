"""Compatibility of options: refuse double correction, contradictions and options without effect.

The rules read names and traits of the registry alone. `Config` applies them to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import with_trait

if TYPE_CHECKING:
    from imbalance_study.config.schema import Config

_CORRECTING = with_trait(choices.LOSSES, "correcting")
_COSINE = with_trait(choices.LOSSES, "cosine")
_SIGMOID = with_trait(choices.LOSSES, "sigmoid")
_SMOOTHABLE = with_trait(choices.LOSSES, "smoothable")
_DECODERS = with_trait(choices.MODELS, "decoder")


def corrections(config: Config) -> list[str]:
    """List the options of a configuration that correct for the class frequencies.

    Margins, focusing, mixing, smoothing and the second stage do not count as corrections.
    """
    found = []
    if spec.parse(config.loss).name in _CORRECTING:
        found.append(f"loss={config.loss}")
    if spec.parse(config.class_weights).name != "none":
        found.append(f"class_weights={config.class_weights}")
    if spec.parse(config.sampler).name != "shuffle":
        found.append(f"sampler={config.sampler}")
    elif spec.parse(config.resample).name != "none":
        found.append(f"resample={config.resample}")
    return found


def check(config: Config) -> None:
    """Refuse options that correct twice, contradict each other or have no effect.

    Raises:
        ValueError: With the reason and the way out.
    """
    for problem in _problems(config):
        raise ValueError(problem)


def _problems(config: Config) -> Iterator[str]:
    found = corrections(config)
    if len(found) > 1 and not config.allow_double_correction:
        yield (
            f"{' and '.join(found)} correct for the same imbalance twice; "
            "choose one, or set allow_double_correction=true"
        )
    yield from _idle(config)
    yield from _contradictions(config)
    yield from _looks(config)


def _idle(config: Config) -> Iterator[str]:
    if config.csv_columns != "auto" and config.dataset != "csv":
        yield f"csv_columns has no effect with dataset={config.dataset}; it goes with dataset=csv"
    if config.dataset in ("digits", "cifar10", "cifar100"):
        for name in ("fit", "pixel_range"):
            if getattr(config, name) != "auto":
                yield f"{name} has no effect with dataset={config.dataset}: squares of 8 bits"
    if config.test_fold != "auto" and config.dataset not in ("imagefolder", "csv"):
        yield (
            f"test_fold has no effect with dataset={config.dataset}; it goes with "
            "dataset=imagefolder or csv"
        )
    loss = spec.parse(config.loss).name
    if config.label_smoothing > 0 and loss not in _SMOOTHABLE and ":" not in loss:
        yield (
            f"label_smoothing has no effect with loss={config.loss}; "
            f"it goes with {' or '.join(_SMOOTHABLE)}"
        )
    weights, sampler = spec.parse(config.class_weights).name, spec.parse(config.sampler).name
    if config.defer > 0 and weights == "none" and sampler == "shuffle":
        yield "defer has no effect without class_weights or a sampler to defer"
    if config.ema_decay != type(config).ema_decay and not config.ema:
        yield "ema_decay has no effect without ema=true"
    if config.class_order != "label" and spec.parse(config.imbalance).name in ("none", "explicit"):
        yield f"class_order has no effect with imbalance={config.imbalance}"
    if config.allow_double_correction and len(corrections(config)) < 2:
        yield "allow_double_correction=true has no effect: nothing corrects twice here"


def _contradictions(config: Config) -> Iterator[str]:
    loss = spec.parse(config.loss).name
    yield from _heads(config, loss)
    yield from _compiling(config)
    yield from _capturing(config)
    yield from _weights(config)
    yield from _features(config)
    yield from _autoencoder(config)
    stage = spec.parse(config.stage2).name
    if stage in ("lws", "las", "maxnorm", "los") and loss in _SIGMOID + _COSINE:
        made = "cosines" if loss in _COSINE else "one sigmoid for each class"
        yield (
            f"stage2={config.stage2} puts the first stage's logits into a softmax, and "
            f"loss={config.loss} makes {made}; use stage2=crt, which begins a new head"
        )
    if config.supcon > 0 and spec.parse(config.mix).name != "none":
        yield f"supcon needs images of one class each, which mix={config.mix} does not leave"
    yield from _validation(config)


def _validation(config: Config) -> Iterator[str]:
    schedule = spec.parse(config.schedule).name
    if schedule in with_trait(choices.SCHEDULES, "uses_validation") and config.select_by == "last":
        yield f"schedule={schedule} follows the metric of select_by, and select_by=last has none"
    if spec.parse(config.validation).name == "none":
        for option in _followers(config):
            yield f"{option} needs validation images, and validation=none"


def need_validation(config: Config) -> str:
    """Return an option, with its value, that asks for validation images; nothing if none does.

    The default of `select_by` does not: without validation images the last epoch is kept.
    """
    chosen = config.select_by not in (type(config).select_by, "last")
    return next(_followers(config), f"select_by={config.select_by}" if chosen else "")


def _followers(config: Config) -> Iterator[str]:
    """Yield the options that follow a metric of validation throughout the training."""
    schedule, sampler = spec.parse(config.schedule).name, spec.parse(config.sampler).name
    if spec.parse(config.early_stopping).name != "none":
        yield f"early_stopping={config.early_stopping}"
    if schedule in with_trait(choices.SCHEDULES, "uses_validation"):
        yield f"schedule={schedule}"
    if sampler in with_trait(choices.SAMPLERS, "uses_validation"):
        yield f"sampler={sampler}"


def _compiling(config: Config) -> Iterator[str]:
    if not config.compile:
        return
    if spec.parse(config.autoencoder).name != "off":
        yield f"compile has no effect with autoencoder={config.autoencoder}"
    if spec.parse(config.freeze).name == "gradual":
        yield "compile=true would compile anew for each block of freeze=gradual; set it false"


def _capturing(config: Config) -> Iterator[str]:
    if config.cuda_graph != "true":
        return
    if config.device not in ("auto", "cuda"):
        yield f"cuda_graph=true needs device=cuda, got device={config.device}"
    if config.precision == "fp16":
        yield "cuda_graph=true needs precision=fp32 or bf16, got fp16; set one of the two"
    if float(spec.parse(config.optimizer).options.get("sam", "0")) > 0:
        yield (
            f"cuda_graph=true does not go with sam, which makes two passes, got "
            f"optimizer={config.optimizer}; set cuda_graph=false"
        )


def _heads(config: Config, loss: str) -> Iterator[str]:
    head = spec.parse(config.head)
    scaled = float(head.options.get("scale", "1")) != 1
    if loss in _COSINE and head.name not in ("auto", "cosine"):
        yield f"loss={config.loss} needs head=cosine: its margins are between cosines"
    if head.name == "cosine" and loss in _COSINE and scaled:
        yield f"loss={config.loss} scales the cosines itself; use head=cosine without scale"
    if head.name == "cosine" and loss not in _COSINE and not scaled:
        yield (
            f"head=cosine gives cosines, which loss={config.loss} does not scale; use loss=ldam, "
            "or head=cosine:scale=16"
        )


def _weights(config: Config) -> Iterator[str]:
    freeze = spec.parse(config.freeze).name
    if freeze != "none" and config.weights == "none":
        yield (
            f"freeze={config.freeze} keeps weights as they are, and without weights they are "
            "random; set weights=imagenet, runs:/ID or a file"
        )
    if config.weights_classes != "none" and (
        config.weights in ("none", "imagenet") or config.weights.startswith("runs:/")
    ):
        yield (
            f"weights_classes has no effect with weights={config.weights}: it names the classes of "
            "a file of weights"
        )
    if freeze == "head_only" and config.backbone_lr != 1:
        yield f"backbone_lr has no effect with freeze={config.freeze}: the backbone does not train"


def _features(config: Config) -> Iterator[str]:
    """Refuse options that need images where the head trains on kept features."""
    freeze, given = f"freeze={config.freeze}", ("augment", "tail_augment")
    anew = [f"{name}={getattr(config, name)}" for name in given if getattr(config, name) != "none"]
    frozen = spec.parse(config.freeze).name == "head_only"
    if frozen and config.supcon > 0:
        yield f"supcon trains the backbone, which {freeze} keeps as it is; set supcon=0"
    if config.feature_views and (not frozen or config.space == "pixels"):
        yield (
            "feature_views keeps features of a frozen backbone; it needs freeze=head_only and "
            f"space=features, got {freeze} and space={config.space}"
        )
    if config.feature_views and set(anew) <= {"augment=auto"}:
        yield (
            f"feature_views={config.feature_views} keeps augmented images, and nothing augments "
            "them; give augment=crop+flip, say, or feature_views=0"
        )
    if config.space != "features":
        return
    if not frozen:
        yield f"space=features needs freeze=head_only: with {freeze} features change as it trains"
    if anew and not config.feature_views:
        yield (
            f"{anew[0]} draws images anew in each epoch, which space=features cannot; set "
            "feature_views=4, say, or space=pixels"
        )
    yield from _pixels(config)


def _pixels(config: Config) -> Iterator[str]:
    """Name the options that have no meaning on features."""
    if spec.parse(config.mix).name == "cutmix":
        yield (
            "mix=cutmix pastes pixels, and space=features has none; use mix=mixup or remix, or "
            "space=pixels"
        )
    if config.resample != "none" and config.feature_views:
        yield (
            f"resample={config.resample} makes features once, and feature_views has several of "
            "each image; set one of the two"
        )
    if spec.parse(config.resample).name not in ("none", "smote"):
        yield f"resample={config.resample} makes images; space=features goes with resample=smote"
    if config.compile:
        yield "compile has no effect with space=features: the head alone trains"
    stage = spec.parse(config.stage2)
    if stage.options.get("shift_bn", "false").lower() == "true":
        yield (
            f"stage2={config.stage2} moves the statistics of the backbone, and space=features "
            "keeps its features; leave shift_bn out, or set space=pixels"
        )


def _autoencoder(config: Config) -> Iterator[str]:
    way = spec.parse(config.autoencoder).name
    if way == "off":
        return
    model = spec.parse(config.model).name
    if model not in _DECODERS:
        yield (
            f"autoencoder={config.autoencoder} needs a model with a decoder "
            f"({' or '.join(sorted(_DECODERS))}), got model={config.model}"
        )
    if config.freeze != "none":
        yield f"freeze={config.freeze} does not go with autoencoder={config.autoencoder}"
    if way == "separate" and config.lr == "auto":
        yield "lr=auto tests one training, and autoencoder=separate is two; set lr yourself"
    if way == "separate" and config.stage2 != "none":
        yield (
            f"autoencoder=separate is a training in two stages itself, and stage2={config.stage2} "
            "would be a third; use autoencoder=joint"
        )
    schedule = spec.parse(config.schedule).name
    if way == "separate" and schedule in with_trait(choices.SCHEDULES, "uses_validation"):
        yield (
            f"schedule={schedule} follows a metric of the classifier, which does not train in the "
            "first stage of autoencoder=separate; choose another schedule"
        )


def _looks(config: Config) -> Iterator[str]:
    if config.per_class_metrics and config.validation == "none":
        yield "per_class_metrics=true needs validation images, got validation=none"
    parts = [spec.parse(part) for part in config.analyses.split("+")]
    names = [part.name for part in parts]
    if "none" in names and len(names) > 1:
        yield f"analyses=none goes with nothing else, got {config.analyses}"
    if any(part.options for part in parts):
        yield f"an analysis has no options, got analyses={config.analyses}"
    if config.figure_every > 0:
        return
    for option, trait in (("gradcam_layers", "layers"), ("colormap", "coloured")):
        used = any(":" in name or trait in choices.ANALYSES[name].traits for name in names)
        if not used and getattr(config, option) != getattr(type(config), option):
            yield f"{option} has no effect with analyses={config.analyses}"
