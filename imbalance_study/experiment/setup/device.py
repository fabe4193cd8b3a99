"""Device, number format and memory format of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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
            precision = _fast_precision()
    elif precision == "fp16" and name != "cuda":
        raise ValueError(f"precision=fp16 needs device=cuda, got device={name}")
    if config.cuda_graph == "true" and name != "cuda":
        raise ValueError(f"cuda_graph=true needs device=cuda, got device={name}")
    return DeviceSetup(torch.device(name), precision, config.memory_format != "contiguous")


def _fast_precision() -> Precision:
    """Return the number format that this GPU multiplies fastest, as far as its kind tells."""
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "fp16" if has_fast_fp16() else "fp32"


def has_fast_fp16() -> bool:
    """Tell whether this GPU is faster in fp16: Pascal (compute capability 6) is 64 times slower."""
    return torch.cuda.get_device_capability() >= (7, 0)


def uses_tf32(device: torch.device) -> bool:
    """Tell whether convolutions in fp32 multiply with 10 bits, as on Ampere and newer."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    return bool(torch.backends.cudnn.allow_tf32)


@contextlib.contextmanager
def kernels_tried(device: torch.device) -> Iterator[None]:
    """Let cuDNN try its kernels at each new shape inside the context, and restore it afterwards."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
