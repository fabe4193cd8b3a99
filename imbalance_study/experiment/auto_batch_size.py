"""The number of images an update that a GPU's memory holds, found by trying."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import traceback
from collections.abc import Iterator

import torch

from imbalance_study.config.resolve import usual_batch_size
from imbalance_study.data.loader import Batches
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import cuda_graph, distributed
from imbalance_study.training.memory import is_out_of_memory
from imbalance_study.training.trainer import Trainer


def settle(inputs: RunInputs, train: Batches) -> RunInputs:
    """Put a number in the place of ``batch_size=auto``.

    The number is that of the data set or the recipe, halved on a GPU until two updates fit.

    Raises:
        ValueError: Not even one image fits, or several processes would have to agree.
    """
    config = inputs.config
    if config.batch_size != "auto":
        return inputs
    if distributed.group().size > 1:
        raise ValueError("batch_size=auto goes with one process; give torchrun a number")
    size = usual_batch_size(config)
    if inputs.device_setup.device.type == "cuda" and config.space == "pixels":
        found = largest(inputs, train, size)
        if not found:
            raise ValueError(
                f"not even one image an update fits into the memory of this {_memory(inputs)}; "
                "choose a smaller image_size or model"
            )
        size = found
    return dataclasses.replace(inputs, config=dataclasses.replace(config, batch_size=size))


@contextlib.contextmanager
def advised(
    inputs: RunInputs, train: Batches, model: Classifier, *optimizers: torch.optim.Optimizer
) -> Iterator[None]:
    """Turn a lack of memory inside the context into advice: the batch size that does fit.

    Args:
        inputs: Of the run.
        train: The training part.
        model: That trains inside; it leaves the device before others are tried there.
        *optimizers: Of this model.

    Raises:
        ValueError: The memory of the device does not suffice.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            optimizer.state.clear()
        model.to("cpu")
        raise too_large(inputs, train, error) from None


def too_large(inputs: RunInputs, train: Batches, error: RuntimeError) -> ValueError:
    """Return advice for an update that did not fit: the batch size that does fit."""
    traceback.clear_frames(error.__traceback__)  # they hold what the failed update allocated
    asked = int(inputs.config.batch_size)
    found = largest(inputs, train, asked // 2)
    advice = f"batch_size={found} does" if found else "nor does any smaller one"
    way = "set it, or batch_size=auto" if found else "choose a smaller image_size or model"
    return ValueError(
        f"batch_size={asked} does not fit into the memory of this {_memory(inputs)}; {advice}: "
        f"{way}"
    )


def largest(inputs: RunInputs, train: Batches, size: int) -> int:
    """Return the largest of size, size/2, size/4, ... with which two updates fit; 0 for none."""
    while size and not _fits(inputs, train, size):
        size //= 2
    return size


def _fits(inputs: RunInputs, train: Batches, size: int) -> bool:
    """Try two updates: the optimizer holds its own memory from the second on.

    Captured updates are tried until one has been replayed: a graph holds its activations for good.
    """
    _free(inputs.device_setup.device)
    try:
        _try_updates(inputs, train, size)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return False
    finally:
        _free(inputs.device_setup.device)
    return True


def _try_updates(inputs: RunInputs, train: Batches, size: int) -> None:
    trainer = trainer_of(inputs, train, size)
    images = torch.arange(size) % len(train)
    for _ in range(2 if trainer.captured is None else cuda_graph.WARM_UP + 2):
        loss, _ = trainer.step(train.take(images), trainer.procedure.class_weights)
        loss.item()


def trainer_of(inputs: RunInputs, train: Batches, size: int) -> Trainer:
    """Build a model and a trainer to try updates of `size` images with."""
    config = dataclasses.replace(inputs.config, batch_size=size, compile=False)
    inputs = dataclasses.replace(inputs, config=config)
    model = build_model(inputs)
    procedure = procedures.first(inputs, model, lr=1.0 if config.lr == "auto" else config.lr)
    trainer = Trainer(model, train, procedure, inputs.seeds)
    procedure.train_mode(model, 0.0)
    return trainer


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _memory(inputs: RunInputs) -> str:
    device = inputs.device_setup.device
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
