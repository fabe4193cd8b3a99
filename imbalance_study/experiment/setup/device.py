"""Device, number format and memory format of a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from imbalance_study.config.schema import Config
from imbalance_study.training.predict import Precision


class DeviceSetup(NamedTuple):
    """Device, number format and memory format of a computation."""

    device: torch.device
    precision: Precision
    channels_last: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of images and weights, as torch names it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


CPU = DeviceSetup(torch.device("cpu"), "fp32", False)


def resolve_device(config: Config) -> DeviceSetup:
    """Resolve device, precision and memory format.

    Raises:
        ValueError: The device asked for is not there, or cannot do what is asked of it.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    name: str = config.device
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if found[kind]), "cpu")
    elif not found.get(name, True):
        raise ValueError(f"device={name}, but this machine has none; use device=cpu or auto")
    precision: Any = config.precision
    if precision == "auto":
        precision = "fp32"
        if name == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            precision = "bf16" if native else "fp16"
    elif precision == "fp16" and name != "cuda":
        raise ValueError(f"precision=fp16 needs device=cuda, got device={name}")
    if name == "cuda":
        torch.backends.cudnn.benchmark = True
    return DeviceSetup(torch.device(name), precision, config.memory_format != "contiguous")
