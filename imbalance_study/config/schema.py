"""Config: every option of a run once, with its default, help, choices and check.

Nothing here imports torch, so that `--help` answers at once. `resolve` decides the options that are
not given.
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
    """One configuration: data, model, remedy, training, evaluation and record of a run.

    Raises:
        ValueError: A value is outside its range or choices, or two values do not go together.
    """

    dataset: str = option(
        "cifar10",
        "Data",
        "Data set of images, or package.module:function.",
        choices=choices.DATASETS,
    )
    data_dir: str = option(
        "data", "Data", "Folder of the data; downloads go there too.", changes_result=False
    )
    image_size: int | Auto = option(
        "auto",
        "Data",
        "Side in pixels of the resized images; auto: native for small images, 32 for digits, "
        "128 for flowers, 224 otherwise.",
        minimum=8,
        maximum=1024,
    )
    on_bad_image: Literal["error", "skip"] = option(
        "error",
        "Data",
        "Unreadable image files: error stops the run and names them, skip leaves them out.",
    )
    fit: Literal["auto", "crop", "pad", "squash"] = option(
        "auto",
        "Data",
        "Way to make squares of image files: crop takes the largest centred square, pad shows all "
        "on black, squash ignores the proportions; auto: crop, or pad where the longer sides of "
        "the training images are more than 1.5 times the shorter in the median.",
    )
    pixel_range: str = option(
        "auto",
        "Data",
        "Values that become black and white in images of more than 8 bits, as LOW/HIGH (0/4095 for "
        "12 bits); auto: those that the training images use.",
    )
    csv_columns: str = option(
        "auto",
        "Data",
        "Columns of the table of dataset=csv, as path:image_id,label:dx,group:lesion_id; the names "
        "stand for file, class, images that stay together, and split:NAME for the part; "
        "label:A+B+C are columns of 0 and 1, group:none is no group; auto: by usual names.",
    )
    test_fold: int | Auto = option(
        "auto",
        "Data",
        "Number of the fold that is the test part, where images come in folds; auto: the lowest.",
        minimum=0,
    )
    cache_dir: str = option(
        "auto",
        "Data",
        "Folder of decoded images, and of checkpoint and journal of each unfinished run "
        "(runs/<id>); auto: ~/.cache/imbalance_study.",
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

    on_leak: Literal["warn", "drop", "error"] = option(
        "warn",
        "Data",
        "Equal or nearly equal images in two parts that come with the data: warn says so, drop "
        "leaves them out of training (and of validation, where test has them), error stops.",
    )
    group_copies: bool = option(
        False,
        "Data",
        "Keep equal and nearly equal images in the same part when parts are cut, as images of one "
        "group.",
    )
    imbalance: str = option(
        "auto",
        "Imbalance",
        "Profile of the class counts of the training set; auto: exponential:ratio=100 for "
        "CIFAR, ratio 10 for digits, none otherwise.",
        choices={"auto": Choice("takes the data set's default")} | choices.IMBALANCES,
    )
    imbalance_ratio: float | Auto = option(
        "auto", "Imbalance", "Ratio n_max / n_min of `imbalance`, as a short form.", minimum=1
    )
    class_order: Literal["label", "size", "random"] = option(
        "label",
        "Imbalance",
        "Order of the classes from frequent to rare: by label, by size, or random.",
    )
    test_fraction: float | Auto = option(
        "auto",
        "Imbalance",
        "Fraction of each class that is cut off for testing, where a data set has no test images "
        "of its own; auto: 0.3 for digits, 0.2 otherwise.",
        above=0,
        below=1,
    )
    validation: str = option(
        "stratified:fraction=0.1",
        "Imbalance",
        "Validation images, cut off the training set; they select the epoch.",
        choices=choices.VALIDATIONS,
    )
    data_seed: int = option(
        0,
        "Imbalance",
        "Seed of subset and split: runs with equal seeds have equal images.",
        minimum=0,
    )

    model: str = option(
        "efficientnet_b0",
        "Model",
        "Network; any torchvision classifier by its name, timm/NAME for one of timm's, or "
        "package.module:function.",
        choices=choices.MODELS,
        open_choice=True,
    )
    stem: Literal["auto", "small", "imagenet"] = option(
        "auto", "Model", "First layers: small for small images, imagenet as torchvision has them."
    )
    head: str = option("auto", "Model", "Classifier on top of the features.", choices=choices.HEADS)
    weights: str = option(
        "none",
        "Model",
        "Weights at the start: none, imagenet (torchvision's or timm's), runs:/ID (of a finished "
        "run), or a file; they decide stem, image_size and normalisation where these are auto.",
    )
    weights_classes: str = option(
        "none",
        "Model",
        "Text file with the class names of a file of weights, a line each, in the order of their "
        "head; the head is kept where the data have the same classes.",
    )
    freeze: str = option("none", "Model", "Weights that do not train.", choices=choices.FREEZES)
    space: Literal["auto", "pixels", "features"] = option(
        "pixels",
        "Model",
        "Training on images, or on features that are computed once and kept; auto: features with "
        "freeze=head_only, where no augmentation draws images anew in each epoch.",
    )
    feature_views: int = option(
        0,
        "Model",
        "Augmented views of each training image whose features are kept; each epoch picks one. "
        "0: the features of the image itself.",
        minimum=0,
        maximum=1000,
    )
    backbone_lr: float = option(
        1.0,
        "Model",
        "Learning rate of the backbone, as a fraction of the rate of the head.",
        above=0,
        maximum=10,
    )
    normalisation: str = option(
        "auto",
        "Model",
        "Mean and standard deviation that normalise the images.",
        choices=choices.NORMALISATIONS,
    )
    autoencoder: str = option(
        "off",
        "Model",
        "Training of the decoder of unet and mobilenet_v2_autoencoder.",
        choices=choices.AUTOENCODERS,
    )

    loss: str = option(
        "cross_entropy", "Remedy", "Loss, or package.module:function.", choices=choices.LOSSES
    )
    label_smoothing: float = option(
        0.0,
        "Remedy",
        "Fraction of each target that is spread over all classes.",
        minimum=0,
        below=1,
    )
    class_weights: str = option(
        "none", "Remedy", "Weight of each class in the loss.", choices=choices.CLASS_WEIGHTS
    )
    sampler: str = option(
        "shuffle",
        "Remedy",
        "Rule that draws the images of an epoch, or package.module:function.",
        choices=choices.SAMPLERS,
    )
    defer: float = option(
        0.0,
        "Remedy",
        "Fraction of the training after which class weights and sampler start (DRW: 0.8).",
        minimum=0,
        below=1,
    )
    mix: str = option("none", "Remedy", "Mixing of images and labels.", choices=choices.MIXES)
    resample: str = option(
        "none",
        "Remedy",
        "New training images, made once after the split.",
        choices=choices.RESAMPLES,
    )
    augment: str = option(
        "auto",
        "Remedy",
        "Augmentations, joined by +, or none; auto: crop+flip, for digits crop.",
        choices={"auto": Choice("takes the data set's default")} | choices.AUGMENTATIONS,
        chain=True,
    )
    tail_augment: str = option(
        "none", "Remedy", "More augmentation for rarer classes.", choices=choices.TAIL_AUGMENTS
    )
    hard_fraction: float = option(
        1.0,
        "Remedy",
        "Fraction of each batch, by largest loss, that contributes to the loss (online hard "
        "example mining).",
        above=0,
        maximum=1,
    )
    supcon: float = option(
        0.0,
        "Remedy",
        "Weight of a supervised contrastive loss on the features; 0: none.",
        minimum=0,
    )
    stage2: str = option(
        "none", "Remedy", "Second stage on frozen features.", choices=choices.STAGES
    )
    allow_double_correction: bool = option(
        False, "Remedy", "Allow combinations that correct twice for the same imbalance."
    )

    epochs: int = option(30, "Training", "Passes over the training set.", minimum=1)
    batch_size: int | Auto = option(
        128,
        "Training",
        "Images of an update; auto: the data set's number, halved until it fits the GPU's memory.",
        minimum=1,
    )
    steps_per_epoch: int = option(
        0, "Training", "Updates of an epoch; 0: as many as the sampler fills.", minimum=0
    )
    optimizer: str = option("adamw", "Training", "Optimizer.", choices=choices.OPTIMIZERS)
    lr: float | Auto = option(
        0.002,
        "Training",
        "Peak learning rate; when not given, 0.05 for sgd, 0.001 for adam and rmsprop; auto: a "
        "range test finds it.",
        above=0,
    )
    weight_decay: float = option(
        0.01,
        "Training",
        "Weight decay; when not given, 0.0005 for sgd, 0 for adam and rmsprop.",
        minimum=0,
    )
    schedule: str = option(
        "cosine:warmup=1",
        "Training",
        "Learning rate over the training; every schedule takes warmup, in epochs.",
        choices=choices.SCHEDULES,
    )
    early_stopping: str = option(
        "none",
        "Training",
        "Validation metric that ends the training when it stops improving, with its patience in "
        "epochs: val/balanced_accuracy:patience=10; none: never.",
    )
    select_by: Literal[
        "val/balanced_accuracy", "val/accuracy", "val/macro_f1", "val/loss", "last"
    ] = option(
        "val/balanced_accuracy",
        "Training",
        "Validation metric that selects the best epoch and drives schedule=plateau; last: keep "
        "the last epoch.",
    )
    ema: bool = option(False, "Training", "Evaluate an exponential moving average of the weights.")
    ema_decay: float = option(0.999, "Training", "Decay of that average.", above=0, below=1)
    grad_clip: float = option(
        0.0, "Training", "Largest norm of the gradient; 0: no limit.", minimum=0
    )
    max_minutes: float = option(
        0.0, "Training", "Stop training after this time, then evaluate; 0: no limit.", minimum=0
    )
    seed: int = option(0, "Training", "Seed of weights, order and augmentation.", minimum=0)

    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "Machine", "Device that computes; auto: cuda, else mps, else cpu."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto",
        "Machine",
        "Number format; auto: what auto_precision finds; without it bf16 on CUDA devices that have "
        "it, fp16 on others of compute capability 7 or more, else fp32. On Ampere and newer, fp32 "
        "multiplies in convolutions with 10 bits (TF32), as is torch's default.",
    )
    memory_format: Literal["auto", "channels_last", "contiguous"] = option(
        "auto", "Machine", "Order of images and weights in memory; auto: channels_last."
    )
    auto_precision: bool = option(
        True,
        "Machine",
        "Measure for two or three seconds which memory format and precision train this model "
        "fastest, where they are auto, and remember it; trainings of fewer than 200 updates skip "
        "this.",
        formerly="probe",
    )
    compile: bool = option(
        False,
        "Machine",
        "Compile the updates (torch.compile): the first takes a minute or more, the others are "
        "faster.",
    )
    cuda_graph: Literal["auto", "true", "false"] = option(
        "auto",
        "Machine",
        "Record an update once and launch it as a whole (a CUDA graph): faster on a GPU where the "
        "images are small; neither with fp16 nor with sam. auto: false, until it has been tried on "
        "a GPU.",
    )
    resident: Literal["auto", "true", "false"] = option(
        "auto",
        "Machine",
        "Keep the training images in the memory of the device; auto: when they fit.",
    )

    analyses: str = option(
        "standard",
        "Evaluation",
        "Analyses after the training, joined by +.",
        choices=choices.ANALYSES,
        chain=True,
        changes_result=False,
    )
    gradcam_layers: str = option(
        "auto",
        "Evaluation",
        "Layers of Grad-CAM and feature maps, joined by +; auto: the last one with a map of 4x4 "
        "or more, all: the last one of each resolution.",
        changes_result=False,
    )
    colormap: Literal["inferno", "viridis", "magma", "plasma", "cividis", "turbo", "jet"] = option(
        "inferno", "Evaluation", "Colours of Grad-CAM and other maps.", changes_result=False
    )
    figure_every: int = option(
        0,
        "Evaluation",
        "Epochs between two figures of the same validation images (training images where there "
        "is no validation), the first before the training; 0: no such figures.",
        minimum=0,
        changes_result=False,
    )

    per_class_metrics: bool = option(
        False,
        "Evaluation",
        "Log the recall of each class on validation after each epoch, as val/recall_<class "
        "number>; off where there are more than 30 classes.",
        changes_result=False,
    )

    tracking_uri: str = option(
        "auto",
        "Tracking",
        "Address of the MLflow store; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
        changes_result=False,
    )
    experiment: str = option(
        "auto",
        "Tracking",
        "Name or id of the MLflow experiment; auto: MLFLOW_EXPERIMENT_ID, MLFLOW_EXPERIMENT_NAME, "
        "that of mlflow run, else MLflow's own (Default).",
        changes_result=False,
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
        "online records in MLflow; offline records on this machine, and imbalance-study sync "
        "uploads it later.",
        changes_result=False,
    )
    output_dir: str = option(
        "auto",
        "Tracking",
        "Folder for the selected and the last weights; auto: MLflow alone keeps them.",
        changes_result=False,
    )
    system_metrics: bool | Auto = option(
        "auto",
        "Tracking",
        "Log use of processor, memory and GPU; auto: of trainings that take more than ten minutes "
        "and belong to no comparison or study.",
        changes_result=False,
    )
    recipe: str = option(
        "none",
        "Tracking",
        "Named set of options; see imbalance-study recipes.",
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
