"""The number of images an update that a GPU's memory holds, found by trying."""

from __future__ import annotations

import dataclasses
import gc
import traceback
from typing import NamedTuple

import torch

from imbalance_study.config.resolve import usual_batch_size
from imbalance_study.config.schema import Config
from imbalance_study.data.loader import Batches
from imbalance_study.experiment.setup import build, procedures, seeding
from imbalance_study.experiment.setup.components import Choices
from imbalance_study.experiment.setup.data import Data
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.training import distributed
from imbalance_study.training.trainer import Trainer


class Setting(NamedTuple):
    """What a trial needs."""

    config: Config
    choices: Choices
    data: Data
    where: DeviceSetup
    train: Batches


def settle(setting: Setting) -> Config:
    """The configuration with a number in the place of ``batch_size=auto``.

    That is the data set's or the recipe's, halved on a GPU until two updates fit.

    Raises:
        ValueError: Not even one image does, or several processes would have to agree.
    """
    config = setting.config
    if config.batch_size != "auto":
        return config
    if distributed.group().size > 1:
        raise ValueError("batch_size=auto goes with one process; give torchrun a number")
    size = usual_batch_size(config)
    if setting.where.device.type == "cuda":
        found = largest(setting, size)
        if not found:
            raise ValueError(
                f"not even one image an update fits into the memory of this {_memory(setting)}; "
                "choose a smaller image_size or model"
            )
        size = found
    return dataclasses.replace(config, batch_size=size)


def too_large(setting: Setting, error: torch.OutOfMemoryError) -> ValueError:
    """What to say of an update that did not fit, with the batch size that does, found by trying."""
    traceback.clear_frames(error.__traceback__)  # they hold what the failed update allocated
    asked = int(setting.config.batch_size)
    found = largest(setting, asked // 2)
    advice = f"batch_size={found} does" if found else "nor does any smaller one"
    way = "set it, or batch_size=auto" if found else "choose a smaller image_size or model"
    return ValueError(
        f"batch_size={asked} does not fit into the memory of this {_memory(setting)}; {advice}: "
        f"{way}"
    )


def largest(setting: Setting, size: int) -> int:
    """The largest of size, size/2, size/4, ... with which two updates fit; 0 for none."""
    while size and not _fits(setting, size):
        size //= 2
    return size


def _fits(setting: Setting, size: int) -> bool:
    """Whether two updates go through: the optimizer holds its own memory from the second on."""
    _free(setting.where.device)
    try:
        _try_updates(setting, size)
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)
        return False
    finally:
        _free(setting.where.device)
    return True


def _try_updates(setting: Setting, size: int) -> None:
    trainer = trainer_of(setting, size)
    images = torch.arange(size) % len(setting.train)
    for _ in range(2):
        loss, _ = trainer.step(setting.train.take(images), trainer.procedure.class_weights)
        loss.item()


def trainer_of(setting: Setting, size: int) -> Trainer:
    """A model and all that trains it, to try updates of `size` images with."""
    config, choices, data, where, train = setting
    config = dataclasses.replace(config, batch_size=size, compile=False)
    model = build.build_model(config, data, where)
    procedure = procedures.first(config, choices, data, model, where)
    trainer = Trainer(model, train, procedure, seeding.seeds(config.seed))
    procedure.train_mode(model, 0.0)
    return trainer


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _memory(setting: Setting) -> str:
    device = setting.where.device
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
