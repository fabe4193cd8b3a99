"""One update of each kind on the meta device, where waiting for a value raises.

    python benchmarks/meta_updates.py

The meta device has no values: reading one, choosing rows by a mask, and mixing devices raise there.
What runs on it therefore never makes a GPU wait, and leaves nothing on the processor. It takes the
branches of a GPU, and needs none.
"""

from __future__ import annotations

from typing import Any

import torch

from imbalance_study.config import resolve
from imbalance_study.data.loader import Batches
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.device import DeviceSetup
from imbalance_study.experiment.setup.inputs import load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.training.distributed import ALONE
from imbalance_study.training.ema import WeightAverage
from imbalance_study.training.update import Update

IMAGES = 8
_LOSSES = {
    "cross_entropy": {"label_smoothing": 0.1},
    "focal": {},
    "sigmoid": {},
    "sigmoid_focal": {},
    "ldam": {"class_weights": "effective:beta=0.9999"},
    "balanced_softmax": {},
    "logit_adjusted": {},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "crop and flip": {"augment": "crop+flip"},
    "every shape": {"augment": "crop+flip+cutout+rotate90+rotation"},
    "trivial_augment": {"augment": "trivial_augment"},
    "rand_augment": {"augment": "rand_augment"},
    "auto_augment": {"augment": "auto_augment"},
    "tail_trivial": {"tail_augment": "trivial"},
    "mixup": {"mix": "mixup"},
    "cutmix": {"mix": "cutmix:p=0.5"},
    "remix": {"mix": "remix", "class_weights": "balanced"},
    "cmo": {"mix": "cmo"},
    "hard examples": {"hard_fraction": 0.5},
    "clipped gradients": {"grad_clip": 1.0},
    "supcon": {"supcon": 0.5},
    "sam": {"optimizer": "sgd:sam=0.1"},
    "average": {"ema": True},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw"},
    "rmsprop": {"optimizer": "rmsprop"},
    "resnet32": {"model": "resnet32"},
    "efficientnet_b0": {"model": "efficientnet_b0"},
    "autoencoder": {"model": "unet", "autoencoder": "joint"},
    **{f"loss {name}": {"loss": name, **more} for name, more in _LOSSES.items()},
    "class weights": {"class_weights": "balanced"},
}


def update(options: dict[str, Any]) -> None:
    """Make an update on the meta device, and one of the moving average where there is one.

    Raises:
        Exception: Something asks for a value, or lies on another device.
    """
    config = resolve.make(
        **{
            **{"dataset": "digits", "model": "resnet20", "image_size": 32, "device": "cpu"},
            **{"augment": "none", "batch_size": IMAGES, "validation": "none"},
            **{"select_by": "last", "analyses": "none"},
            **options,
        }
    )
    meta = torch.device("meta")
    inputs = load_inputs(config, device_setup=DeviceSetup(meta, "fp32", True))
    model, data = build_model(inputs).train(), inputs.data
    procedure = procedures.first(inputs, model, config.lr)
    train = Batches(data.train_images, data.train_labels, data.train_rows, meta, resident=True)
    made = Update(model, procedure, ALONE, None)  # type: ignore[arg-type]  # no meta generator
    for weights in (None, procedure.class_weights):
        loss, hits = made(train.take(torch.arange(IMAGES)), weights)
        if (loss.device, hits.device) != (meta, meta):
            raise RuntimeError(f"loss and hits are on {loss.device} and {hits.device}")
    if procedure.ema_decay:
        WeightAverage(model, procedure.ema_decay).update(model)


def main() -> int:
    """Run all, and print the failures."""
    failed = 0
    for name, options in VARIANTS.items():
        try:
            update(options)
        except Exception as error:
            failed += 1
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    print(f"{len(VARIANTS) - failed} of {len(VARIANTS)} pass, torch {torch.__version__}")
    return failed


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
