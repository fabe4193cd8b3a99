"""Options of the command advise."""

from __future__ import annotations

import dataclasses

from imbalance_study.config import fields
from imbalance_study.config.fields import option

# Options of a run that images, features and record take; advice decides the others.
OF_RUNS = (
    *("image_size", "on_bad_image", "fit", "pixel_range", "csv_columns", "test_fold"),
    *("cache_dir", "decode_workers", "imbalance", "imbalance_ratio", "class_order", "data_seed"),
    *("weights", "stem", "normalisation", "device", "precision"),
    *("tracking_uri", "experiment", "run_name", "tracking"),
)


@dataclasses.dataclass(frozen=True)
class AdviceSettings:
    """Options of advice on one image set.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    data_dir: str = option("data", "Advice", "Folder of the images, or a csv file.")
    dataset: str = option(
        "auto",
        "Advice",
        "Data set; auto: csv for a csv file or a folder without class folders "
        "that holds one, else imagefolder.",
    )
    model: str = option(
        "efficientnet_lite0", "Advice", "Network whose frozen features the remedies are tried on."
    )
    metric: str = option(
        "balanced_accuracy",
        "Advice",
        "Metric that decides: balanced_accuracy, macro_f1, worst_recall, or cost:file=PATH, a csv "
        "file with the cost of each confusion, true classes as rows.",
    )
    minutes: float = option(
        10.0,
        "Advice",
        "Time for everything; five repeats are made in any case, fifteen are needed for "
        "probabilities.",
        above=0,
    )
    out: str = option("advice", "Advice", "Folder of the pages, figures and tables.")

    def __post_init__(self) -> None:
        fields.check(self)
