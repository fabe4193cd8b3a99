"""Recipes: named sets of knobs, each with its source.

A recipe sets neither the data set nor the model; it names the model that its paper used, and a run
with another says so. Each was written from the method's own paper; what differs from it is said.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Recipe(NamedTuple):
    """A named set of knobs."""

    about: str  # one line
    source: str  # where the settings come from
    model: str  # the model that the paper used; "" where there is none
    knobs: dict[str, Any]


# Cao et al. 2019, section 4 and the authors' code: long-tailed CIFAR with ResNet-32.
_PAPER: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 128,
    "optimizer": "sgd:momentum=0.9,nesterov=false",
    "lr": 0.1,
    "weight_decay": 2e-4,
    "schedule": "step:milestones=0.8/0.9,gamma=0.01,warmup=5",
    "augment": "crop:padding=4+flip",
    "validation": "none",
    "select_by": "last",
}
_EFFECTIVE = "effective:beta=0.9999"
_CAO = "Cao et al. 2019, Learning imbalanced datasets with label-distribution-aware margin loss"
_CUI = "Cui et al. 2019, Class-balanced loss based on effective number of samples"
_MENON = "Menon et al. 2021, Long-tail learning via logit adjustment"
_COSINE_200 = {"lr": 0.1, "schedule": "cosine:warmup=5"}

RECIPES: dict[str, Recipe] = {
    "baseline": Recipe(
        "plain cross-entropy, nothing against the imbalance",
        "the point of comparison",
        "",
        {"loss": "cross_entropy", "class_weights": "none", "sampler": "shuffle", "mix": "none"},
    ),
    "paper_ce": Recipe("cross-entropy as in the papers", _CAO, "resnet32", _PAPER),
    "paper_focal": Recipe(
        "focal loss, gamma 1 as Cao et al. ran it",
        "Lin et al. 2017, Focal loss for dense object detection; settings of " + _CAO,
        "resnet32",
        _PAPER | {"loss": "focal:gamma=1"},
    ),
    "paper_cb_softmax": Recipe(
        "class-balanced softmax cross-entropy from the start",
        _CUI,
        "resnet32",
        _PAPER | {"class_weights": _EFFECTIVE},
    ),
    "paper_cb_sigmoid": Recipe(
        "class-balanced sigmoid cross-entropy from the start",
        _CUI,
        "resnet32",
        _PAPER | {"loss": "sigmoid", "class_weights": _EFFECTIVE},
    ),
    "paper_cb_focal": Recipe(
        "class-balanced sigmoid focal loss, gamma 1, from the start",
        _CUI,
        "resnet32",
        _PAPER | {"loss": "sigmoid_focal:gamma=1", "class_weights": _EFFECTIVE},
    ),
    "paper_drw": Recipe(
        "cross-entropy, effective-number weights from 80 % on",
        _CAO,
        "resnet32",
        _PAPER | {"class_weights": _EFFECTIVE, "defer": 0.8},
    ),
    "paper_ldam_drw": Recipe(
        "LDAM with deferred re-weighting",
        _CAO,
        "resnet32",
        _PAPER | {"loss": "ldam:max_m=0.5,s=30", "class_weights": _EFFECTIVE, "defer": 0.8},
    ),
    "paper_balanced_softmax": Recipe(
        "balanced softmax",
        "Ren et al. 2020, Balanced meta-softmax for long-tailed visual recognition; "
        "settings of " + _CAO,
        "resnet32",
        _PAPER | {"loss": "balanced_softmax"},
    ),
    "paper_logit_adjusted": Recipe(
        "logit-adjusted loss, tau 1",
        _MENON + "; weight decay 1e-4, Nesterov and the same step schedule as there",
        "resnet32",
        _PAPER
        | {
            "loss": "logit_adjusted:tau=1",
            "weight_decay": 1e-4,
            "optimizer": "sgd:momentum=0.9,nesterov=true",
        },
    ),
    "paper_mixup_drw": Recipe(
        "mixup with deferred re-weighting",
        "Zhang et al. 2018, mixup; with the deferral and settings of " + _CAO,
        "resnet32",
        _PAPER | {"mix": "mixup:alpha=1", "class_weights": _EFFECTIVE, "defer": 0.8},
    ),
}
