"""Config: every option of a run once, with its default, help, choices and check.

Nothing here imports torch, so that `--help` answers at once. What is decided where an option is not
given stands in `decisions`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from imbalance_study.config import choices, compatibility, fields
from imbalance_study.config.choice import Choice
from imbalance_study.config.fields import option
from imbalance_study.config.recipes import RECIPES

Auto = Literal["auto"]


@dataclasses.dataclass(frozen=True)
class Config:
    """One configuration: what is trained on what, how, and where it is recorded.

    Raises:
        ValueError: A value is outside its range or choices, or two values do not go together.
    """

    dataset: str = option("cifar10", "Data", "The image set.", choices=choices.DATASETS)
    data_dir: str = option(
        "data", "Data", "Folder that holds the data, or gets the download.", changes_result=False
    )
    image_size: int | Auto = option(
        "auto",
        "Data",
        "Side in pixels that images are resized to; auto: native for small sets, "
        "32 digits, 128 flowers, 224 otherwise.",
        minimum=8,
        maximum=1024,
    )
    on_bad_image: Literal["error", "skip"] = option(
        "error", "Data", "What to do with a file that is no readable image."
    )
    cache_dir: str = option(
        "auto",
        "Data",
        "Folder of the decoded images, and of checkpoints and journal of each run that is not "
        "finished (runs/<id>); auto: ~/.cache/imbalance_study.",
        changes_result=False,
    )
    decode_workers: int = option(
        0,
        "Data",
        "Cores that decode images; 0: all.",
        minimum=0,
        changes_result=False,
        formerly="workers",
    )

    imbalance: str = option(
        "auto",
        "Imbalance",
        "Class counts of the training set; auto: exponential:ratio=100 for CIFAR, "
        "ratio 10 for digits, none otherwise.",
        choices={"auto": Choice("takes the data set's default")} | choices.IMBALANCES,
    )
    imbalance_ratio: float | Auto = option(
        "auto", "Imbalance", "Short for the ratio of `imbalance`: n_max / n_min.", minimum=1
    )
    class_order: Literal["label", "size", "random"] = option(
        "label", "Imbalance", "Which classes become rare: the last by label, by size, or any."
    )
    test_fraction: float | Auto = option(
        "auto",
        "Imbalance",
        "Share cut for testing, stratified, where a set has no test images of its own; "
        "auto: 0.3 for digits, 0.2 otherwise.",
        above=0,
        below=1,
    )
    validation: str = option(
        "stratified:fraction=0.1",
        "Imbalance",
        "The part of the training set that choices are made on.",
        choices=choices.VALIDATIONS,
    )
    data_seed: int = option(
        0, "Imbalance", "Seed of subset and split; all remedies meet on the same images.", minimum=0
    )

    model: str = option(
        "efficientnet_b0",
        "Model",
        "The network; any torchvision classifier by its name, or package.module:function.",
        choices=choices.MODELS,
        open_choice=True,
    )
    stem: Literal["auto", "small", "imagenet"] = option(
        "auto", "Model", "First layers: for small images, or as for ImageNet."
    )
    head: str = option("auto", "Model", "Classifier on the features.", choices=choices.HEADS)
    weights: str = option(
        "none",
        "Model",
        "Weights to start from: none, imagenet (torchvision's), runs:/ID (a finished run), or a "
        "file; stem, image_size and normalisation come with them where they are auto.",
    )
    freeze: str = option("none", "Model", "What of the weights stays.", choices=choices.FREEZES)
    backbone_lr: float = option(
        1.0, "Model", "Learning rate of the backbone as a share of the head's.", above=0, maximum=10
    )
    normalisation: Literal["auto", "data", "imagenet"] = option(
        "auto",
        "Model",
        "Mean and deviation that images are normalised with; auto: those of the weights, else of "
        "the training pixels.",
    )
    autoencoder: str = option(
        "off",
        "Model",
        "Training of the decoder, with unet and mobilenet_v2_autoencoder.",
        choices=choices.AUTOENCODERS,
    )

    loss: str = option(
        "cross_entropy", "Remedy", "The loss, or package.module:function.", choices=choices.LOSSES
    )
    label_smoothing: float = option(
        0.0, "Remedy", "Share of the target spread over all classes.", minimum=0, below=1
    )
    class_weights: str = option(
        "none", "Remedy", "Weight of each class in the loss.", choices=choices.CLASS_WEIGHTS
    )
    sampler: str = option(
        "shuffle",
        "Remedy",
        "Which images an epoch shows, or package.module:function.",
        choices=choices.SAMPLERS,
    )
    defer: float = option(
        0.0,
        "Remedy",
        "Fraction of the training before class weights and sampler start (0.8 as in DRW).",
        minimum=0,
        below=1,
    )
    mix: str = option("none", "Remedy", "Mixing of images and labels.", choices=choices.MIXES)
    resample: str = option(
        "none", "Remedy", "New training images, made once.", choices=choices.RESAMPLES
    )
    augment: str = option(
        "auto",
        "Remedy",
        "Augmentations joined by +, or none; auto: crop+flip, for digits crop.",
        choices={"auto": Choice("takes the data set's default")} | choices.AUGMENTATIONS,
        chain=True,
    )
    tail_augment: str = option(
        "none", "Remedy", "More augmentation for rarer classes.", choices=choices.TAIL_AUGMENTS
    )
    hard_fraction: float = option(
        1.0, "Remedy", "Share of a batch, hardest first, that counts.", above=0, maximum=1
    )
    supcon: float = option(
        0.0, "Remedy", "Weight of a supervised contrastive loss on the features.", minimum=0
    )
    stage2: str = option(
        "none", "Remedy", "Second stage on frozen features.", choices=choices.STAGES
    )
    allow_double_correction: bool = option(
        False, "Remedy", "Let combinations through that correct twice for the same imbalance."
    )

    epochs: int = option(30, "Training", "Passes over the training set.", minimum=1)
    batch_size: int | Auto = option(
        128,
        "Training",
        "Images an update; auto: the data set's, halved until it fits into a GPU's memory.",
        minimum=1,
    )
    steps_per_epoch: int = option(
        0, "Training", "Updates an epoch; 0: as many as the sampler fills.", minimum=0
    )
    optimizer: str = option("adamw", "Training", "The optimizer.", choices=choices.OPTIMIZERS)
    lr: float | Auto = option(
        0.002,
        "Training",
        "Peak learning rate; when not set, 0.05 for sgd, 0.001 for adam and rmsprop; auto: found "
        "by a range test.",
        above=0,
    )
    weight_decay: float = option(
        0.01,
        "Training",
        "Weight decay; when not set, 0.0005 for sgd, 0 for adam and rmsprop.",
        minimum=0,
    )
    schedule: str = option(
        "cosine:warmup=1",
        "Training",
        "Learning rate over time; every schedule takes warmup in epochs.",
        choices=choices.SCHEDULES,
    )
    early_stopping: str = option(
        "none",
        "Training",
        "none, or a validation metric with its patience in epochs: "
        "val/balanced_accuracy:patience=10.",
    )
    select_by: Literal[
        "val/balanced_accuracy", "val/accuracy", "val/macro_f1", "val/loss", "last"
    ] = option(
        "val/balanced_accuracy",
        "Training",
        "What picks the best epoch and drives plateau; last: no picking.",
    )
    ema: bool = option(False, "Training", "Evaluate a moving average of the weights.")
    ema_decay: float = option(0.999, "Training", "Decay of that average.", above=0, below=1)
    grad_clip: float = option(0.0, "Training", "Largest norm of the gradient; 0: any.", minimum=0)
    max_minutes: float = option(
        0.0, "Training", "Stop training after this time, then evaluate; 0: no limit.", minimum=0
    )
    seed: int = option(0, "Training", "Seed of weights, order and augmentation.", minimum=0)

    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "Machine", "Where to compute; auto: cuda, else mps, else cpu."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "Machine", "auto: bf16 on CUDA that has it, else fp16 there; fp32 on CPU."
    )
    memory_format: Literal["auto", "channels_last", "contiguous"] = option(
        "auto", "Machine", "Order of the numbers in memory; auto: channels_last."
    )
    auto_precision: bool = option(
        True,
        "Machine",
        "On a processor, measure for a second or two which memory format and precision train this "
        "model fastest, where they are auto, and remember it; trainings of fewer than 200 updates "
        "skip this.",
        formerly="probe",
    )
    compile: bool = option(
        False,
        "Machine",
        "Compile the model's steps (torch.compile): a minute or more before the first one, faster "
        "ones afterwards.",
    )
    resident: Literal["auto", "true", "false"] = option(
        "auto", "Machine", "Keep the training images on the device; auto: when they fit."
    )

    analyses: str = option(
        "standard",
        "Evaluation",
        "What is looked at after the training, joined by +.",
        choices=choices.ANALYSES,
        chain=True,
        changes_result=False,
    )
    gradcam_layers: str = option(
        "auto",
        "Evaluation",
        "Layers that Grad-CAM and feature maps look at, joined by +; auto: the last one with a map "
        "of 4x4 or more, all: the last one of each resolution.",
        changes_result=False,
    )
    colormap: Literal["inferno", "viridis", "magma", "plasma", "cividis", "turbo", "jet"] = option(
        "inferno", "Evaluation", "Colours of the maps that explain.", changes_result=False
    )
    figure_every: int = option(
        0,
        "Evaluation",
        "Epochs between two looks at fixed validation images, from before the first epoch on "
        "(training images where there is no validation); 0: none.",
        minimum=0,
        changes_result=False,
    )

    tracking_uri: str = option(
        "auto",
        "Tracking",
        "MLflow store or server; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
        changes_result=False,
    )
    experiment: str = option(
        "imbalance_study", "Tracking", "MLflow experiment.", changes_result=False
    )
    run_name: str = option(
        "auto",
        "Tracking",
        "Name of the run; auto: model, loss, sampler, seed.",
        changes_result=False,
    )
    tracking: Literal["online", "offline"] = option(
        "online",
        "Tracking",
        "offline: record on this machine alone; imbalance-study sync uploads it later.",
        changes_result=False,
    )
    output_dir: str = option(
        "auto",
        "Tracking",
        "Folder for the kept and the last weights; auto: a temporary one, kept in MLflow only.",
        changes_result=False,
    )
    system_metrics: bool = option(
        True, "Tracking", "Log use of processor, memory and GPU.", changes_result=False
    )
    recipe: str = option(
        "none",
        "Tracking",
        "A named set of options; see imbalance-study recipes.",
        choices={"none": Choice("no recipe")}
        | {name: Choice(recipe.about) for name, recipe in RECIPES.items()},
        changes_result=False,
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Rebuild a stored configuration.

        Options under the names of the previous version are renamed, options of other versions are
        left out, and options that are missing have their defaults.

        Raises:
            ValueError: As Config itself.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        present = fields.renamed(cls, values, note=False)
        return cls(**{name: value for name, value in present.items() if name in known})

    def __post_init__(self) -> None:
        fields.check(self)
        compatibility.check(self)


# The options that say where a run is recorded.
RECORDING = ("tracking_uri", "tracking", "experiment", "run_name", "output_dir")
# The axes that runs are compared by: always logged as params.
AXES = (
    "dataset",
    "imbalance",
    "model",
    "loss",
    "class_weights",
    "sampler",
    "defer",
    "mix",
    "augment",
    "label_smoothing",
    "optimizer",
    "lr",
    "epochs",
    "batch_size",
    "seed",
    "recipe",
)
