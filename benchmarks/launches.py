"""How many operations a step launches on a GPU: what sets its pace at small images.

    python benchmarks/launches.py

Counted without a GPU, so the numbers are exact and the same everywhere. An operation that a GPU
runs is one that torch's dispatcher sees and that neither makes a view nor reserves memory. Some are
several kernels (the gradients of a convolution are two). Augmentations run on the meta device and
take the branch of a GPU; updates run on the processor with a few images, with fused optimizers as
on a GPU.
"""

from __future__ import annotations

import collections
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ours
import tables
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imbalance_study.config import choices, resolve, spec
from imbalance_study.config.recipes import RECIPES
from imbalance_study.training import divergence, trainer
from imbalance_study.training.distributed import ALONE
from imbalance_study.training.ema import WeightAverage
from imbalance_study.training.update import hits_of

IMAGES = 4
_ALLOCATES = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")
_FREE = (*_ALLOCATES, "detach", "lift_fresh", "_unsafe_view", "_local_scalar_dense", "unbind")


class Launches(TorchDispatchMode):
    """Counts the launches inside its context, by the name of the operation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: collections.Counter[str] = collections.Counter()

    @property
    def total(self) -> int:
        """All of them."""
        return self.names.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation, and run it."""
        name = func._schema.name.removeprefix("aten::")
        if name not in _FREE and not func.is_view:
            self.names[name] += _launches(name, args)
        return func(*args, **(kwargs or {}))


def _launches(name: str, args: Sequence[Any]) -> int:
    """Count the kernels of an operation on a list of tensors, else 1.

    A list of one type is one launch; of several types, a launch for each tensor, as the check in
    ATen/native/ForeachUtils.h then chooses the slow way.
    """
    if not name.startswith("_foreach"):
        return 1
    return 1 if len({one.dtype for one in args[0]}) == 1 else len(args[0])


def of_augmentation(text: str, size: int = 32) -> int:
    """Count the launches of an augmentation, as `augment` or `tail_augment` names it."""
    images = torch.empty((128, 3, size, size), dtype=torch.uint8, device="meta")
    images = images.contiguous(memory_format=torch.channels_last)
    if spec.parse(text).name in choices.TAIL_AUGMENTS:
        tail = spec.bind(choices.TAIL_AUGMENTS, text, "tail_augment")
        targets = torch.empty(128, dtype=torch.int64, device="meta")
        return _counted(lambda: tail(images, targets, torch.empty(10, device="meta"), None))
    functions = [
        spec.bind(choices.AUGMENTATIONS, one, "augmentation") for one in spec.parse_chain(text)
    ]
    return sum(_counted(lambda one=one: one(images, None)) for one in functions)


def of_mix(text: str, size: int = 32) -> int:
    """Count the launches of a mixture."""
    images = torch.empty((128, 3, size, size), device="meta")
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.empty(128, dtype=torch.int64, device="meta")
    mix = spec.bind(choices.MIXES, text, "mix")
    return _counted(lambda: mix(images, targets, torch.empty(10, device="meta"), None))


def _counted(call: Callable[[], object]) -> int:
    """Count the launches of the second call: the first fills tables that are kept."""
    call()
    with Launches() as found:
        call()
    return found.total


def settings(**options: Any) -> dict[str, Any]:
    """Options of a training on the processor, on images of 32 pixels."""
    return {
        **{"dataset": "digits", "image_size": 32, "device": "cpu", "batch_size": IMAGES},
        **{"augment": "none", "memory_format": "channels_last", "precision": "fp32"},
        **options,
    }


def trainer_of(**options: Any) -> trainer.Trainer:
    """Build a trainer of a configuration."""
    mine = ours.ready(**settings(**options))
    made = trainer.Trainer(mine.model, mine.train, mine.procedure, mine.inputs.seeds)
    made.procedure.train_mode(made.model, 0.0)
    return made


def of_step(**options: Any) -> collections.Counter[str]:
    """Count the launches of an update: gathering, augmentation, model, loss, optimizer, average."""
    augment, tail = options.pop("augment", "none"), options.pop("tail_augment", "none")
    made = trainer_of(**options)
    weights = None if made.plain else made.procedure.class_weights

    def update() -> None:
        made.step(made.train.take(torch.arange(IMAGES)), weights)

    update()
    with Launches() as found:
        update()
    found.names["augment"] += of_augmentation(augment)
    if tail != "none":
        found.names["tail_augment"] += of_augmentation(tail)
    return found.names


def of_average(**options: Any) -> int:
    """Count the launches of an update of the moving average."""
    model = trainer_of(**options).model
    average = WeightAverage(model, 0.999)
    return _counted(lambda: average.update(model))


def of_bookkeeping() -> float:
    """Count the launches of an update for losses and hits, beside the loss itself."""
    logits, targets = torch.zeros(IMAGES, 10), torch.zeros(IMAGES, dtype=torch.int64)
    loss = logits.sum()
    every = divergence.EVERY

    def updates() -> None:
        watch = divergence.FiniteWatch(torch.device("mps"), ALONE)
        for step in range(every):
            watch.add(loss, hits_of(logits, targets), IMAGES, 0.1, step + 1, 1)

    return _counted(updates) / every


MODELS = ("resnet32", "resnet18", "efficientnet_b0", "mobilenet_v2")
AUGMENTATIONS = (
    *("flip", "crop", "crop+flip", "cutout", "rotate90", "rotation", "trivial_augment"),
    *("rand_augment", "auto_augment", "trivial"),
)
STRONG = {
    name: value
    for name, value in RECIPES["strong"].options.items()
    if name in ("augment", "mix", "ema", "loss", "optimizer")
}


def rows() -> Iterator[tuple[str, float]]:
    """Yield each name with its number of launches."""
    for name in AUGMENTATIONS:
        yield ("tail_augment=" if name == "trivial" else "augment=") + name, of_augmentation(name)
    yield "augment of strong", of_augmentation(str(STRONG["augment"]))
    for name in ("mixup", "cutmix", "remix", "cmo"):
        yield f"mix={name}", of_mix(name)
    for model in MODELS:
        yield f"moving average, {model}", of_average(model=model)
    yield "losses and hits, a step", of_bookkeeping()
    for model in MODELS:
        for precision in ("fp32", "bf16"):
            found = of_step(model=model, precision=precision, augment="crop+flip", optimizer="sgd")
            yield f"step of {model}, {precision}", found.total()
    yield "step of strong, resnet18, fp32", of_step(model="resnet18", **STRONG).total()


def main() -> int:
    """Print the table."""
    with contextlib.redirect_stderr(sys.stdout):
        lines = [[name, f"{count:g}"] for name, count in rows()]
    print(tables.markdown(["", "launches"], lines))
    return 0


if __name__ == "__main__":
    resolve.make()  # a mistake in the options is seen at once
    raise SystemExit(main())
