"""Costs of a model: parameters, multiplications, bytes, latency, memory, seconds per image."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from imbalance_study.models.feature_maps import dry_forward, on_meta_or_cpu

WARM_UP_RUNS = 3


class ParameterCount(NamedTuple):
    """Numbers of weights."""

    total: int
    trainable: int


class Latency(NamedTuple):
    """Milliseconds of one forward pass of a batch."""

    median_ms: float
    p95_ms: float
    runs: int


def count_parameters(model: nn.Module, *, without: str = "") -> ParameterCount:
    """Count the weights, each shared one once, and those of them that require a gradient.

    Those inside the child called `without` are left out.
    """
    sizes = [
        (weight.numel(), weight.requires_grad)
        for name, weight in model.named_parameters()
        if not (without and name.startswith(f"{without}."))
    ]
    return ParameterCount(sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained))


def model_bytes(model: nn.Module) -> int:
    """Return the bytes of the state_dict: the file is some kilobytes larger."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def macs(model: nn.Module, image_size: int) -> int:
    """Count multiply-accumulates of one image's forward pass, by convolutions and products.

    Counted by ptflops (aten backend) on the meta device: nothing is computed and `model` stays as
    it is. An addition of a bias counts as one; normalisation, activations, pooling and fused
    attention count as nothing. FLOPs are usually twice this number.

    Raises:
        ValueError: The model cannot take images of this size.
    """
    return on_meta_or_cpu(lambda device: _count_macs(model, image_size, device))


def _count_macs(model: nn.Module, image_size: int, device: str) -> int:
    from ptflops import get_model_complexity_info

    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        count, _ = get_model_complexity_info(
            _DryRun(model, image_size, device),
            (3, image_size, image_size),
            print_per_layer_stat=False,
            as_strings=False,
            backend="aten",
            input_constructor=lambda _shape: {},
        )
    if count is None:
        reason = output.getvalue().strip().splitlines()[-1]
        raise ValueError(f"MACs at image_size={image_size} cannot be counted: {reason}")
    return int(count) // 2


class _DryRun(nn.Module):
    """Two images through a model that is no child of this one, so ptflops leaves no hook in it."""

    def __init__(self, model: nn.Module, image_size: int, device: str) -> None:
        super().__init__()
        self.run = lambda: dry_forward(model, image_size, device=device)

    def forward(self) -> Tensor:
        return self.run()


def latency(
    model: nn.Module,
    image_size: int,
    device: torch.device | str,
    *,
    batch_sizes: Sequence[int] = (1, 128),
    seconds: float = 2.0,
    most_runs: int = 100,
) -> dict[int, Latency]:
    """Time forward passes in evaluation mode, without gradients, for each batch size.

    Args:
        model: Already on `device`; its mode is put back afterwards.
        image_size: Side in pixels of the random images, which are channels_last in memory.
        device: Where to run; on CUDA each pass is timed by events, elsewhere by the clock.
        batch_sizes: Images per pass.
        seconds: Time for each batch size, warm-up included. A pass that has begun is finished;
            there is at least one behind a warm-up of one to three.
        most_runs: Timed passes at most.

    Returns:
        Batch size to median and 95th percentile over `runs` passes: with few runs (a large model
        on a CPU) the latter is little more than the slowest.
    """
    device = torch.device(device)
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            return {
                size: _time_passes(model, _images(size, image_size, device), seconds, most_runs)
                for size in batch_sizes
            }
    finally:
        for module, mode in was_training.items():
            module.training = mode


def _time_passes(model: nn.Module, images: Tensor, seconds: float, most_runs: int) -> Latency:
    def one_pass() -> None:
        model(images)

    end = time.perf_counter() + seconds
    for _ in range(WARM_UP_RUNS):
        _milliseconds(one_pass, images.device)
        if time.perf_counter() > end - seconds / 2:
            break
    times = [_milliseconds(one_pass, images.device)]
    while len(times) < most_runs and time.perf_counter() < end:
        times.append(_milliseconds(one_pass, images.device))
    return Latency(float(np.median(times)), float(np.percentile(times, 95)), len(times))


def _milliseconds(work: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))
    begin = time.perf_counter()
    work()
    if device.type == "mps":
        torch.mps.synchronize()
    return 1000 * (time.perf_counter() - begin)


def _images(batch_size: int, image_size: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, image_size, image_size, generator=generator)
    return images.to(device, memory_format=torch.channels_last)


def peak_memory_bytes(device: torch.device | str) -> int:
    """Return the peak memory so far: of tensors on CUDA, of the whole process elsewhere.

    On CUDA ``torch.cuda.reset_peak_memory_stats`` starts anew; the process's peak never falls.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)


def free_cached_memory() -> None:
    """Give the memory that torch keeps for later back to the GPU: other processes may need it."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def estimate_training_memory(
    model: nn.Module, image_size: int, batch_size: int, *, copies: int = 4
) -> int:
    """Estimate the bytes that training takes, in fp32, without running it.

    ``copies`` times the parameters that train (weights, gradients and two slots of an optimizer
    such as Adam; a moving average of the weights is one more), the frozen ones and the buffers
    once, and the tensors of a batch that autograd keeps for the backward pass, counted by a forward
    pass on the meta device (on the CPU with two images for a model that cannot run there), plus the
    largest of these tensors twice for the gradients in flight. bf16 about halves the batch's part.
    The overhead of the allocator, cuDNN's workspaces and the process itself are not included.
    """
    owned = sum(t.numel() * t.element_size() for t in model.parameters())
    trained = sum(t.numel() * t.element_size() for t in model.parameters() if t.requires_grad)
    buffers = sum(t.numel() * t.element_size() for t in model.buffers())
    kept = on_meta_or_cpu(lambda device: _kept_bytes(model, image_size, batch_size, device))
    return owned + (copies - 1) * trained + buffers + kept


def _kept_bytes(model: nn.Module, image_size: int, batch_size: int, device: str) -> int:
    images = batch_size if device == "meta" else 2
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        source = tensor if tensor._base is None else tensor._base
        if not (source.is_leaf and source.requires_grad):  # no weight, nor a view of one
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        output = dry_forward(model, image_size, images, device)
    sizes = [tensor.untyped_storage().nbytes() for tensor in kept.values()]
    del output
    return (sum(sizes) + 2 * max(sizes, default=0)) * batch_size // images
