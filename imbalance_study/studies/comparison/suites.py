"""SUITES: ready sets of configurations to compare."""

from __future__ import annotations

from typing import Any, NamedTuple


class Suite(NamedTuple):
    """A ready set of configurations; the first one is the baseline."""

    about: str  # one line
    configurations: dict[str, dict[str, Any]]  # label -> options
    same_updates: bool = False  # as many updates an epoch for all as the baseline makes
    shared: dict[str, Any] = {}  # options of all, where they are not given  # noqa: RUF012
    seeds: int = 3  # where they are not given


_EFFECTIVE = "effective:beta=0.9999"
_BASIC = "crop+flip"

SUITES: dict[str, Suite] = {
    "architectures": Suite(
        "six networks, from scratch",
        {
            name: {"model": name}
            for name in (
                *("custom_cnn", "resnet18", "efficientnet_b0"),
                *("mobilenet_v2", "mobilenet_v3_large", "vgg16"),
            )
        },
    ),
    "losses": Suite(
        "seven ways to weigh the errors",
        {
            "cross_entropy": {"loss": "cross_entropy"},
            "weighted": {"class_weights": "balanced"},
            "focal": {"loss": "focal:gamma=2"},
            "class-balanced focal": {
                "loss": "sigmoid_focal:gamma=2",
                "class_weights": _EFFECTIVE,
            },
            "label smoothing": {"label_smoothing": 0.1},
            "balanced_softmax": {"loss": "balanced_softmax"},
            "ldam, deferred weights": {
                "loss": "ldam:max_m=0.5,s=30",
                "class_weights": _EFFECTIVE,
                "defer": 0.8,
            },
        },
    ),
    "samplers": Suite(
        "which images an epoch shows, at the same number of updates",
        {
            "shuffle": {"sampler": "shuffle"},
            "class_balanced": {"sampler": "class_balanced"},
            "class_balanced, deferred": {"sampler": "class_balanced", "defer": 0.8},
            "square root": {"sampler": "power:q=0.5"},
            "progressive": {"sampler": "progressive"},
            "random_over": {"sampler": "random_over"},
            "random_under": {"sampler": "random_under"},
            "error_driven": {"sampler": "error_driven"},
        },
        same_updates=True,
    ),
    "optimizers": Suite(
        "four optimizers, each at its own usual lr",
        {
            "sgd": {"optimizer": "sgd:momentum=0.9", "lr": 0.01},
            "adam": {"optimizer": "adam", "lr": 0.001},
            "adamw": {"optimizer": "adamw", "lr": 0.001},
            "rmsprop": {"optimizer": "rmsprop", "lr": 0.001},
        },
    ),
    "augmentations": Suite(
        "from no augmentation to policies and mixtures",
        {
            "none": {"augment": "none"},
            "crop": {"augment": "crop"},
            "crop+flip": {"augment": _BASIC},
            "cutout": {"augment": f"{_BASIC}+cutout:size=8"},
            "trivial_augment": {"augment": f"{_BASIC}+trivial_augment"},
            "rand_augment": {"augment": f"{_BASIC}+rand_augment"},
            "mixup": {"augment": _BASIC, "mix": "mixup:alpha=1"},
            "cutmix": {"augment": _BASIC, "mix": "cutmix:alpha=1"},
        },
    ),
    "transfer": Suite(
        "from scratch, and from trained weights (weights=imagenet or runs:/ID), ever less frozen",
        {
            "scratch": {"weights": "none"},
            "head only": {"freeze": "head_only"},
            "last block": {"freeze": "partial:blocks=1"},
            "all layers": {"freeze": "none"},
        },
        shared={"weights": "imagenet"},
    ),
    "frozen_backbones": Suite(
        "three networks with frozen ImageNet weights on all of the data, at 224 px",
        {
            "vgg16": {"model": "vgg16", "head": "mlp:hidden=256,dropout=0.5"},
            "mobilenet_v2": {"model": "mobilenet_v2", "head": "mlp:hidden=256,dropout=0.5"},
            "mobilenet_v3_large": {"model": "mobilenet_v3_large", "head": "last"},
        },
        shared={
            "weights": "imagenet",
            "freeze": "head_only",
            "imbalance": "none",
            "validation": "stratified:fraction=0.2",
            "epochs": 5,
        },
    ),
    "head_remedies": Suite(
        "thirteen remedies for the head on frozen ImageNet features, which are computed once; "
        "ten seeds",
        {
            "cross_entropy": {"loss": "cross_entropy"},
            "balanced weights": {"class_weights": "balanced"},
            "effective weights": {"class_weights": _EFFECTIVE},
            "focal": {"loss": "focal:gamma=2"},
            "ldam, deferred weights": {
                "loss": "ldam:max_m=0.5,s=30",
                "class_weights": _EFFECTIVE,
                "defer": 0.8,
            },
            "balanced_softmax": {"loss": "balanced_softmax"},
            # With tau=1 it is balanced softmax.
            "logit_adjusted": {"loss": "logit_adjusted:tau=1.5"},
            "vs": {"loss": "vs:gamma=0.15,tau=1.25"},
            "class_balanced": {"sampler": "class_balanced"},
            "square root": {"sampler": "power:q=0.5"},
            "smote on features": {"resample": "smote"},
            "mixup of features": {"mix": "mixup:alpha=1"},
            "re-trained head": {"stage2": "crt"},
        },
        same_updates=True,
        shared={"model": "efficientnet_lite0", "weights": "imagenet", "freeze": "head_only"},
        seeds=10,
    ),
    "imbalance_ratios": Suite(
        "the same classes, ever rarer",
        {
            f"ratio {ratio}": {"imbalance": f"exponential:ratio={ratio}"}
            for ratio in (1, 10, 20, 50, 100, 200)
        },
    ),
}
