"""Names: of a run, of the data it trains on, of its model; and names that MLflow makes up."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow.utils import name_utils

from imbalance_study.config.schema import Config

# Data sets that are read from the files of `data_dir`, whatever they are.
_OF_FILES = ("imagefolder", "csv")


def run_name(config: Config) -> str:
    """Make the name of a run from the options in which runs usually differ."""
    if config.run_name != "auto":
        return config.run_name
    parts = [] if config.recipe == "none" else [config.recipe]
    for name in ("loss", "class_weights", "sampler", "mix", "stage2"):
        value = getattr(config, name)
        if name == "loss" or value != getattr(Config, name):
            parts.append(value)
    return " ".join([*parts, config.model, data_name(config), f"seed {config.seed}"])


def data_name(config: Config) -> str:
    """Name the data of a run; files of one's own by their folder, too."""
    if config.dataset not in _OF_FILES:
        return config.dataset
    folder = Path(config.data_dir).expanduser().absolute().name
    return f"{config.dataset} {folder}".strip()


def model_name(config: Config) -> str:
    """Name the logged model of a run, without the signs that MLflow does not allow."""
    words = (data_name(config), config.loss, config.model, f"s{config.seed}")
    return re.sub(r"[^\w\-=+]+", "-", "_".join(words)).strip("-")


def is_made_up(name: str) -> bool:
    """Whether MLflow made the name of a run: an adjective, a noun and a number."""
    adjective, _, rest = name.partition("-")
    noun, _, number = rest.partition("-")
    return (
        number.isdigit()
        and adjective in map(str.lower, name_utils._GENERATOR_PREDICATES)
        and noun in map(str.lower, name_utils._GENERATOR_NOUNS)
    )
