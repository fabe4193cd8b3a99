"""Snapshots of a training between two epochs, as plain values and tensors.

Schedules, early stopping and samplers are functions of the history and of their generators, so that
a resumed training equals an uninterrupted one: on a CPU bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from imbalance_study.training.best_epoch import Best, cpu_state
from imbalance_study.training.cuda_graph import make_capturable
from imbalance_study.training.procedure import EpochResult, Fit
from imbalance_study.training.trainer import Trainer

Snapshot = dict[str, Any]  # readable by `torch.load` without pickle


def take(trainer: Trainer, best: Best, history: Sequence[EpochResult], seconds: float) -> Snapshot:
    """Return the state after an epoch; its tensors are those of the training, not copies.

    Args:
        trainer: After its last step.
        best: Selection so far.
        history: The epochs of this stage.
        seconds: Duration of the stage so far.
    """
    newest = bool(history) and best.epoch == history[-1].epoch
    return {
        "model": trainer.model.state_dict(),
        "average": trainer.average.state_dict() if trainer.average else {},
        "optimizer": _optimizer_state(trainer.procedure.optimizer),
        "scaler": trainer.scaler.state_dict(),
        "generators": _generators(trainer),
        "best": {
            "epoch": best.epoch,
            "state": {} if newest or best.state is None else best.state,
        },
        "history": [encode_epoch(epoch) for epoch in history],
        "images_seen": trainer.images_seen,
        "steps": trainer.steps,
        "seconds": seconds,
    }


def restore(state: Snapshot, trainer: Trainer, best: Best) -> list[EpochResult]:
    """Put a training into the state of a snapshot; returns the epochs of this stage.

    The generators are left to `restore_generators`, to be called right before the next epoch.
    """
    trainer.model.load_state_dict(state["model"])
    if trainer.average is not None:
        trainer.average.load_state_dict(state["average"])
    trainer.procedure.optimizer.load_state_dict(state["optimizer"])
    if trainer.captured is not None:
        make_capturable(trainer.procedure.optimizer, trainer.train.device)
    trainer.scaler.load_state_dict(state["scaler"])
    trainer.images_seen, trainer.steps = state["images_seen"], state["steps"]
    history = [decode_epoch(epoch) for epoch in state["history"]]
    for epoch in history:
        if epoch.epoch == state["best"]["epoch"]:  # the newest one's weights are not written twice
            weights = state["best"]["state"] or cpu_state(trainer.evaluated)
            best.resume(epoch.epoch, epoch.metrics, weights)
    return history


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state for a checkpoint, with learning rates as numbers.

    A run may go on with or without captured updates, whichever way it began.
    """
    state = optimizer.state_dict()
    groups = [group | {"lr": float(group["lr"])} for group in state["param_groups"]]
    for group in groups:
        if "capturable" in group:
            group["capturable"] = False
    return {**state, "param_groups": groups}


def _generators(trainer: Trainer) -> dict[str, Any]:
    """Return the states of the order, of augmentation, and of torch's generators (dropout)."""
    device = trainer.train.device
    return {
        "order": trainer.order.get_state(),
        "draws": trainer.draws.get_state(),
        "cpu": trainer.group.gather(
            torch.get_rng_state()[None].to(device), trainer.group.size
        ).cpu(),
        "device": trainer.group.gather(
            _device_state(device)[None].to(device), trainer.group.size
        ).cpu(),
    }


def restore_generators(state: Snapshot, trainer: Trainer) -> None:
    """Put every generator into its state of a snapshot, each process its own."""
    states, device = state["generators"], trainer.train.device
    trainer.order.set_state(states["order"])
    trainer.draws.set_state(states["draws"])
    # torch reads a view from the start of its memory: hence the copies.
    torch.set_rng_state(states["cpu"][trainer.group.rank].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["device"][trainer.group.rank].clone(), device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states["device"][trainer.group.rank].clone())


def _device_state(device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.zeros(1, dtype=torch.uint8)


def encode_epoch(epoch: EpochResult) -> dict[str, Any]:
    """Convert an epoch to plain values and tensors, without images and first-epoch notes."""
    return {
        "epoch": epoch.epoch,
        "metrics": {name: float(value) for name, value in epoch.metrics.items()},
        "val_recall": None if epoch.val_recall is None else torch.from_numpy(epoch.val_recall),
        "drawn": None if epoch.drawn is None else torch.from_numpy(epoch.drawn),
    }


def decode_epoch(encoded: dict[str, Any]) -> EpochResult:
    """Restore an epoch from `encode_epoch`."""
    arrays: dict[str, Any] = {
        name: None if encoded[name] is None else np.asarray(encoded[name].numpy())
        for name in ("val_recall", "drawn")
    }
    return EpochResult(encoded["epoch"], dict(encoded["metrics"]), **arrays)


def encode_fit(fitted: Fit) -> dict[str, Any]:
    """Convert a finished stage to plain values and tensors."""
    return fitted._asdict() | {"history": [encode_epoch(epoch) for epoch in fitted.history]}


def decode_fit(encoded: dict[str, Any]) -> Fit:
    """Restore a stage from `encode_fit`."""
    history = [decode_epoch(epoch) for epoch in encoded["history"]]
    return Fit(**encoded | {"history": history})
