"""Recipes: named sets of options, each with its source.

A recipe sets neither the data set nor the model; it names the model that its paper used, and a run
with another says so. Where a method's own paper (or its authors' code) trains differently from
Cao et al., the recipe follows it if the figure that it is compared with was measured so; the source
says what differs.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Recipe(NamedTuple):
    """A named set of options."""

    about: str  # one line
    source: str  # where the settings come from, and what differs from there
    model: str  # the model that the paper used; "" where there is none
    options: dict[str, Any]


_SGD = "sgd:momentum=0.9,nesterov=false"

# Cao et al. 2019, section 4 and the authors' code: long-tailed CIFAR with ResNet-32.
_PAPER: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 128,
    "optimizer": _SGD,
    "lr": 0.1,
    "weight_decay": 2e-4,
    "schedule": "step:milestones=0.8/0.9,gamma=0.01,warmup=5",
    "augment": "crop:padding=4+flip",
    "validation": "none",
    "select_by": "last",
}
_EFFECTIVE = "effective:beta=0.9999"
_CAO = "Cao et al. 2019, Learning imbalanced datasets with label-distribution-aware margin loss"
_SETTINGS = "; settings of Cao et al. 2019"
_CUI = (
    "Cui et al. 2019, Class-balanced loss based on effective number of samples; their batch loss "
    "is divided by the number of images, here by the sum of the weights"
)

_RANGWANI = (
    "Rangwani et al. 2022, Escaping saddle points for effective generalization on class-imbalanced "
    "data, and the authors' code" + _SETTINGS
)

# Alshammari et al. 2022 and the authors' demonstration; Sun et al. 2025 begin with the same stage.
_BALANCED_WEIGHTS: dict[str, Any] = _PAPER | {
    "batch_size": 64,
    "lr": 0.01,
    "weight_decay": 5e-3,
    "schedule": "cosine",
}

RECIPES: dict[str, Recipe] = {
    "baseline": Recipe(
        "plain cross-entropy, nothing against the imbalance",
        "the point of comparison",
        "",
        {"loss": "cross_entropy", "class_weights": "none", "sampler": "shuffle", "mix": "none"},
    ),
    "paper_ce": Recipe(
        "cross-entropy as in the papers",
        _CAO + "; their warm-up rises by the epoch, here by the step; their inputs are normalised "
        "by 0.4914/0.4822/0.4465 and 0.2023/0.1994/0.2010 (a deviation 0.82 times the real one), "
        "here by mean and deviation of the training images; imbalance=published has their images",
        "resnet32",
        _PAPER,
    ),
    "paper_focal": Recipe(
        "focal loss on the softmax, gamma 2",
        "Lin et al. 2017, Focal loss for dense object detection" + _SETTINGS + ", who took gamma 1",
        "resnet32",
        _PAPER | {"loss": "focal:gamma=2"},
    ),
    "paper_sigmoid_focal": Recipe(
        "focal loss on one sigmoid for each class, gamma 2",
        "Lin et al. 2017, Focal loss for dense object detection" + _SETTINGS + "; the loss of the "
        "focal row of Bag of Tricks-LT, whose gamma is not verified",
        "resnet32",
        _PAPER | {"loss": "sigmoid_focal:gamma=2"},
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
    "paper_sam_drw": Recipe(
        "sharpness-aware minimisation with rho 0.5, effective-number weights from 80 % on",
        _RANGWANI,
        "resnet32",
        _PAPER | {"optimizer": _SGD + ",sam=0.5", "class_weights": _EFFECTIVE, "defer": 0.8},
    ),
    "paper_sam_ldam_drw": Recipe(
        "sharpness-aware minimisation with rho 0.8, LDAM with deferred re-weighting",
        _RANGWANI,
        "resnet32",
        _PAPER
        | {
            "optimizer": _SGD + ",sam=0.8",
            "loss": "ldam:max_m=0.5,s=30",
            "class_weights": _EFFECTIVE,
            "defer": 0.8,
        },
    ),
    "paper_cmo": Recipe(
        "balanced softmax on images of frequent classes with pasted boxes of rare ones",
        "Park et al. 2022, The majority can help the minority, and the authors' code"
        + _SETTINGS
        + "; their CIFAR figures are of CIFAR-100; boxes come from the batch here and from all "
        "training images there, where the first and the last three epochs have none",
        "resnet32",
        _PAPER | {"loss": "balanced_softmax", "mix": "cmo:alpha=1,p=0.5"},
    ),
    "paper_balanced_softmax": Recipe(
        "balanced softmax",
        "Ren et al. 2020, Balanced meta-softmax for long-tailed visual recognition"
        + _SETTINGS
        + "; Ren et al. train otherwise, see paper_balanced_softmax_auto_augment",
        "resnet32",
        _PAPER | {"loss": "balanced_softmax"},
    ),
    "paper_balanced_softmax_auto_augment": Recipe(
        "balanced softmax with AutoAugment and cutout, 13,000 updates of 512 images",
        "Ren et al. 2020, Balanced meta-softmax for long-tailed visual recognition, and the "
        "authors' settings: weight decay 5e-4, a warm-up of 800 updates from lr 0.05 to 0.1 (here "
        "from 0), then a cosine; their CIFAR-10 figures 79.8 to 82.2 are at ratio 200; "
        "AutoAugment's policy was learnt on the balanced set; the cutout's size is not verified",
        "resnet32",
        _PAPER
        | {
            "loss": "balanced_softmax",
            "epochs": 520,
            "steps_per_epoch": 25,
            "batch_size": 512,
            "weight_decay": 5e-4,
            "schedule": "cosine:warmup=32",
            "augment": "crop:padding=4+flip+auto_augment+cutout:size=16",
        },
    ),
    "paper_logit_adjusted": Recipe(
        "logit-adjusted loss, tau 1, six times as long as the others",
        "Menon et al. 2021, Long-tail learning via logit adjustment, and the authors' code, whose "
        "l2(1e-4) of Keras is a weight decay of 2e-4 here; its ResNet-32 has 1x1 convolutions "
        "around each 3x3, a batch norm before the pooling, and a head drawn with deviation 0.01; "
        "batch norm is not decayed there, inputs are x/255 - 0.5, and the last batch is dropped",
        "resnet32",
        _PAPER
        | {
            "loss": "logit_adjusted:tau=1",
            "epochs": 1241,
            "optimizer": "sgd:momentum=0.9,nesterov=true",
            # Epochs 604, 926 and 1128.
            "schedule": "step:milestones=0.4867/0.74617/0.90894,gamma=0.1,warmup=20",
            "augment": "crop:padding=2+flip",
        },
    ),
    "paper_mixup_drw": Recipe(
        "mixup with deferred re-weighting",
        "Zhang et al. 2018, mixup: Beyond empirical risk minimization, with the deferral and "
        "settings of Cao et al. 2019, as imbalanced-DL combines them; there a batch has one "
        "lambda, and the loss is divided by the number of images",
        "resnet32",
        _PAPER | {"mix": "mixup:alpha=1", "class_weights": _EFFECTIVE, "defer": 0.8},
    ),
    "paper_crt": Recipe(
        "cross-entropy, then a new classifier on class-balanced samples",
        "Kang et al. 2020, Decoupling representation and classifier for long-tailed "
        "recognition, who have no CIFAR; first stage of Cao et al. 2019; Bag of Tricks-LT trains "
        "the classifier for 30 epochs, with steps; Kang et al. go through the images of each class "
        "without replacement, here with",
        "resnet32",
        _PAPER | {"stage2": "crt:epochs=10"},
    ),
    "paper_mislas": Recipe(
        "mixup, then the classifier again with label-aware smoothing",
        "Zhong et al. 2021, Improving calibration for long-tailed recognition, and the authors' "
        "code, whose steps are of 0.1; there a batch has one lambda, and the second stage goes "
        "through the images of each class without replacement, here with",
        "resnet32",
        _PAPER
        | {
            "mix": "mixup:alpha=1",
            "schedule": "step:milestones=0.8/0.9,gamma=0.1,warmup=5",
            "stage2": "las:epochs=10",
        },
    ),
    "paper_weight_balancing": Recipe(
        "cross-entropy with weight decay 0.005, then a head with MaxNorm and weight decay 0.1",
        "Alshammari et al. 2022, Long-tailed recognition via weight balancing, and the authors' "
        "demonstration for CIFAR-100 at ratio 100, which prints 51.98 % (the epoch that is best on "
        "the test set); on the first images of each class; the second stage has cross-entropy in "
        "place of their binary one",
        "resnet34",
        _BALANCED_WEIGHTS | {"stage2": "maxnorm:epochs=10"},
    ),
    "paper_los": Recipe(
        "cross-entropy with weight decay 0.005, then a head on nearly flat labels",
        "Sun et al. 2025, Rethinking classifier re-training in long-tailed recognition: label "
        "over-smooth can balance, and the authors' code for CIFAR-100, which keeps the epoch that "
        "is best on the test set; the smoothing of 0.98 is not verified",
        "resnet34",
        _BALANCED_WEIGHTS | {"stage2": "los:epochs=20"},
    ),
    "cifar10_resnet18": Recipe(
        "all of CIFAR-10, 30 epochs of SGD with one cosine",
        "this project: no paper's; aims at 95 % within 30 epochs, where a course's ResNet-18 with "
        "plateau and early stopping had 90.71 % at epoch 49",
        "resnet18",
        {
            "imbalance": "none",
            "validation": "balanced:per_class=50",
            "epochs": 30,
            "batch_size": 128,
            "optimizer": "sgd:momentum=0.9,nesterov=true",
            "lr": 0.1,
            "weight_decay": 5e-4,
            "schedule": "cosine:warmup=2",
            "augment": "crop:padding=4+flip+cutout:size=8",
            "label_smoothing": 0.05,
            "select_by": "last",
        },
    ),
    "cifar10_resnet18_plateau": Recipe(
        "all of CIFAR-10, SGD until validation stops to rise, turned images",
        "this project, with the means of the course that cifar10_resnet18 is measured against: "
        "plateau, early stopping, flips, turns by 90 and by few degrees, cutout",
        "resnet18",
        {
            "imbalance": "none",
            "validation": "balanced:per_class=100",
            "epochs": 60,
            "batch_size": 128,
            "optimizer": "sgd:momentum=0.9,nesterov=true",
            "lr": 0.05,
            "weight_decay": 5e-4,
            "schedule": "plateau:factor=0.2,patience=3,warmup=1",
            "early_stopping": "val/accuracy:patience=10",
            "augment": "flip+rotate90+rotation:degrees=10+cutout:size=8",
            "select_by": "val/accuracy",
        },
    ),
    "halved_cifar10": Recipe(
        "CIFAR-10 with half the images of truck, bird and deer",
        "the study of encoder, decoder and classifier whose macro F1 benchmarks/halved.py quotes; "
        "100 validation images a class are cut before, and the training is this project's",
        "unet",
        {
            # In label order: bird, deer and truck are the third, the fifth and the last.
            "imbalance": "explicit:counts=4900/4900/2450/4900/2450/4900/4900/4900/4900/2450",
            "validation": "balanced:per_class=100",
            "epochs": 60,
            "batch_size": 128,
            "optimizer": "sgd:momentum=0.9,nesterov=true",
            "lr": 0.05,
            "weight_decay": 5e-4,
            "schedule": "cosine:warmup=2",
            "augment": "crop:padding=4+flip",
            "select_by": "val/macro_f1",
        },
    ),
    "strong": Recipe(
        "balanced softmax, strong augmentation, CutMix, weight average, 400 epochs",
        "this project: no paper's; for a ResNet-18 from scratch on small images",
        "resnet18",
        _PAPER
        | {
            "loss": "balanced_softmax",
            "epochs": 400,
            "optimizer": "sgd:momentum=0.9,nesterov=true",
            "weight_decay": 5e-4,
            "schedule": "cosine:warmup=5",
            "augment": "crop:padding=4+flip+trivial_augment+cutout:size=8",
            "mix": "cutmix:alpha=1,p=0.5",
            "ema": True,
        },
    ),
}


def recipe_note(recipe: str, model: str) -> str:
    """Say which model a recipe was published with, where a run uses another one; else nothing."""
    published = "" if recipe == "none" else RECIPES[recipe].model
    if published in ("", model):
        return ""
    return f"The recipe {recipe} was published with {published}; this run used {model}."
