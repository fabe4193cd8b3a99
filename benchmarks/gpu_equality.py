"""Captured updates against launched ones: equal to the last bit, on a GPU.

    python benchmarks/gpu_equality.py

Each case trains a few epochs of a few updates twice, once with ``cuda_graph=true``, with cuDNN's
deterministic kernels, and compares the losses and all weights. On a machine without a GPU
``--device cpu`` shows that the cases run, with launched updates in both places.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import ours
import torch

from imbalance_study.experiment.setup import seeding
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import cuda_graph
from imbalance_study.training.callback import Callback, EpochState
from imbalance_study.training.loop import fit

UPDATES = 20  # of a case, in both of its epochs
_COMMON: dict[str, Any] = {
    **{"dataset": "digits", "image_size": 32, "model": "resnet20", "batch_size": 32},
    **{"precision": "fp32", "augment": "crop+flip", "optimizer": "sgd", "lr": 0.05},
    **{"epochs": 2, "steps_per_epoch": UPDATES // 2, "validation": "none"},
}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "mixup": {"mix": "mixup"},
    "trivial augment, cutout, cutmix, average": {
        "augment": "crop+flip+trivial_augment+cutout", "mix": "cutmix:p=0.5", "ema": True,
    },
    "tail augmentation": {"tail_augment": "trivial", "augment": "rand_augment"},
    "deferred weights": {"class_weights": "balanced", "defer": 0.5},
    "class weights from the start, hard examples": {
        "class_weights": "balanced", "hard_fraction": 0.5,
    },
    "clipped gradients, adamw": {"grad_clip": 1.0, "optimizer": "adamw", "lr": 0.001},
    "adam, slower backbone": {"optimizer": "adam", "lr": 0.001, "backbone_lr": 0.5},
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.001},
    "dropout, bf16": {"model": "efficientnet_b0", "precision": "bf16"},
    "a smaller last batch": {"steps_per_epoch": 0, "batch_size": 150, "epochs": 2},
    "streamed images": {"resident": "false"},
    "supcon": {"supcon": 0.5},
}  # fmt: skip
RESUMED = "resumed after the first epoch"
FROZEN = "blocks that begin to train"


class Trained(NamedTuple):
    """A finished training."""

    losses: list[float]
    weights: dict[str, torch.Tensor]
    snapshots: list[dict[str, Any]]
    replayed: bool


class _Watch(Callback):
    """Keeps the losses, and a copy of the state after each epoch."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.snapshots: list[dict[str, Any]] = []

    def on_epoch_end(self, state: EpochState) -> None:
        """See `Callback`."""
        self.losses.append(state.result.metrics["train/loss"])
        self.snapshots.append(_copied(state.snapshot()))


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(one) for one in value)
    return value


def train(device: str, captured: bool, state: Any = None, **options: Any) -> Trained:
    """Train a case.

    Args:
        device: cuda, or cpu for a rehearsal, where nothing is captured.
        captured: Capture the updates.
        state: A snapshot to go on from.
        **options: Of the case.
    """
    frozen = options.pop("frozen", False)
    graph = "true" if captured and device == "cuda" else "false"
    mine = ours.ready(**_COMMON | options, device=device, cuda_graph=graph)
    procedure = mine.procedure
    if frozen:
        procedure = dataclasses.replace(procedure, train_mode=_head_first)
    torch.manual_seed(5)
    watch, replays = _Watch(), []
    with _counted(replays):
        fit(
            mine.model, mine.train, None, procedure,
            seeds=seeding.seeds(3), callback=watch, state=state,
        )  # fmt: skip
    weights = _copied(mine.model.state_dict())
    return Trained(watch.losses, weights, watch.snapshots, bool(replays))


def _head_first(model: Classifier, progress: float) -> None:
    model.train()
    model.backbone.requires_grad_(progress >= 0.5)


@contextlib.contextmanager
def _counted(replays: list[int]) -> Iterator[None]:
    """Note each replay of a graph inside the context."""
    plain = torch.cuda.CUDAGraph.replay

    def replay(graph: Any) -> None:
        replays.append(1)
        plain(graph)

    torch.cuda.CUDAGraph.replay = replay  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.cuda.CUDAGraph.replay = plain  # type: ignore[method-assign]


def differences(one: Trained, other: Trained) -> list[str]:
    """Name what is not equal."""
    found = [
        f"loss of epoch {number}: {a!r} and {b!r}"
        for number, (a, b) in enumerate(zip(one.losses, other.losses, strict=True), 1)
        if a != b
    ]
    unequal = [
        name for name, value in one.weights.items() if not torch.equal(value, other.weights[name])
    ]
    if unequal:
        found.append(f"{len(unequal)} of {len(one.weights)} tensors, first {unequal[0]}")
    return found


def case(name: str, device: str) -> str:
    """Run a case; return what is wrong with it, nothing where all is equal."""
    options = CASES.get(name, {"frozen": True} if name == FROZEN else {"mix": "mixup"})
    launched, captured = (train(device, graph, **options) for graph in (False, True))
    if device == "cuda" and not captured.replayed:
        return "nothing was replayed"
    if name == RESUMED:
        whole = captured
        captured = train(device, True, state=whole.snapshots[0], **options)
        again = train(device, False, state=whole.snapshots[0], **options)
        launched = launched._replace(losses=launched.losses[1:])
        wrong = differences(launched, again)
        if wrong:
            return f"launched from a captured checkpoint: {'; '.join(wrong)}"
    return "; ".join(differences(launched, captured))


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let cuDNN and torch choose kernels that always sum in one order."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        cudnn.deterministic = before[0]
        torch.use_deterministic_algorithms(before[1])


def main(words: list[str] | None = None) -> int:
    """Run all cases; the exit status is 1 where one is not equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--updates", type=int, default=UPDATES, help="of a case")
    parser.add_argument("--cases", default="|".join([*CASES, FROZEN, RESUMED]))
    options = parser.parse_args(words)
    _COMMON["steps_per_epoch"] = max(1, options.updates // 2)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    failed = 0
    for name in options.cases.split("|"):
        try:
            with deterministic():
                wrong = case(name, options.device)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        failed += bool(wrong)
        print(f"{name}: {wrong or 'equal'}", flush=True)
    card = torch.cuda.get_device_name() if options.device == "cuda" else options.device
    count = len(options.cases.split("|"))
    print(f"{count - failed} of {count} equal on {card}, torch {torch.__version__}")
    if options.device == "cuda" and not failed and not cuda_graph.AUTO:
        print("set AUTO = True in imbalance_study/training/cuda_graph.py, with date and card")
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
