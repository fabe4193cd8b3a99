"""Where the time of a training step goes, by kind of operation, and what bounds each.

    python benchmarks/where_time_goes.py --data_dir DIR

Operations are timed by torch's profiler during whole steps of our loop. Each kind is held against
what this machine can do: multiplications against a large matrix product, everything else against a
large copy, and the number of operations against the time of an empty one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ours
import speed
import store
import tables
import torch
from torch.profiler import ProfilerActivity, profile

from imbalance_study.models import profiling

# Kind -> the beginnings of the names of its operations; the first that fits counts.
KINDS: dict[str, tuple[str, ...]] = {
    "convolutions, backwards": ("aten::convolution_backward", "aten::cudnn_convolution_backward"),
    "convolutions, forwards": (
        *("aten::mkldnn_convolution", "aten::cudnn_convolution", "aten::_conv_depthwise2d"),
        *("aten::_slow_conv", "aten::thnn_conv"),
    ),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::mkldnn_linear"),
    "batch norm": (
        *("aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::batch_norm"),
        "aten::miopen_batch_norm",
    ),
    "optimizer": ("aten::_fused", "Optimizer.", "aten::_foreach", "aten::lerp"),
    "gathering images": ("aten::index_select", "aten::constant_pad", "aten::pad"),
}
OTHER = "activations, sums, copies, the rest"


class Kind(NamedTuple):
    """What the profiler saw of a kind of operation."""

    seconds: float  # a step
    calls: float


class Machine(NamedTuple):
    """What it can do at best."""

    flops: float  # a second
    bytes: float  # a second, read and written
    call: float  # seconds of an empty operation


def best(call: Callable[[], Any], device: torch.device, times: int = 20) -> float:
    """Seconds of the fastest of several calls."""
    found = []
    for _ in range(times):
        ours.synchronise(device)
        begun = time.perf_counter()
        call()
        ours.synchronise(device)
        found.append(time.perf_counter() - begun)
    return min(found)


def machine(device: torch.device) -> Machine:
    """Measured here and now."""
    side = 4096 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device)
    long = torch.zeros(2**26, device=device)
    empty = torch.zeros(1, device=device)

    def hundred() -> None:
        for _ in range(100):
            empty.add_(1)

    target = torch.empty_like(long)
    return Machine(
        2 * side**3 / best(lambda: a @ a, device),
        2 * 4 * len(long) / best(lambda: target.copy_(long), device, 5),
        best(hundred, device) / 100,
    )


def kind_of(name: str) -> str:
    """The kind of an operation, by its name."""
    return next((kind for kind, begin in KINDS.items() if name.startswith(begin)), OTHER)


def profiled(mine: ours.Ours, steps: int) -> dict[str, Kind]:
    """Seconds and calls a step, by kind."""
    cuda = mine.device_setup.device.type == "cuda"
    ours.epochs(mine, 1, steps, lambda result: None)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen:
        ours.epochs(mine, 1, steps, lambda result: None)
    found: dict[str, Kind] = dict.fromkeys([*KINDS, OTHER], Kind(0.0, 0.0))
    for event in seen.key_averages():
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        kind = found[kind_of(event.key)]
        found[kind_of(event.key)] = Kind(
            kind.seconds + spent / 1e6 / steps, kind.calls + event.count / steps
        )
    return found


def measured(bench: speed.Bench, model: str, steps: int, can: Machine) -> dict[str, Any]:
    """One model: the table's rows, and the whole against the bounds."""
    mine = ours.ready(**bench.cifar(model=model))
    rates: list[float] = []
    ours.epochs(mine, 4, steps, lambda result: rates.append(result.metrics["time/epoch_seconds"]))
    step = min(rates[1:]) / steps
    kinds = profiled(mine, steps)
    whole = sum(kind.seconds for kind in kinds.values())
    # Forwards once, backwards twice; two operations each.
    flops = 6 * profiling.macs(mine.model, mine.data.image_size) * mine.procedure.batch_size
    calls = sum(kind.calls for kind in kinds.values())
    return {
        "model": model,
        "step_ms": 1e3 * step,
        "images_per_second": mine.procedure.batch_size / step,
        "shares": {name: kind.seconds / whole for name, kind in kinds.items()},
        "gflops": flops / 1e9,
        "share_arithmetic": flops / can.flops / step,
        "calls": calls,
        "share_calls": calls * can.call / step,
    }


def table(found: list[dict[str, Any]]) -> str:
    """The models as columns."""
    lines = [
        [name, *(f"{100 * one['shares'][name]:.0f} %" for one in found)] for name in [*KINDS, OTHER]
    ]
    lines += [
        ["milliseconds a step of 128 images", *(f"{one['step_ms']:.0f}" for one in found)],
        ["GFLOP a step", *(f"{one['gflops']:.0f}" for one in found)],
        [
            "time that a matrix product takes for as many",
            *(f"{100 * one['share_arithmetic']:.0f} %" for one in found),
        ],
        ["operations a step", *(f"{one['calls']:.0f}" for one in found)],
        [
            "time that as many empty ones take",
            *(f"{100 * one['share_calls']:.0f} %" for one in found),
        ],
    ]
    return tables.markdown(["share of a step", *(one["model"] for one in found)], lines)


def main(words: list[str]) -> int:
    """Profile the models and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default="", help="folder with cifar10/")
    parser.add_argument("--models", default="efficientnet_b0,mobilenet_v2,resnet18")
    parser.add_argument("--steps", type=int, default=10, help="of each window")
    parser.add_argument("--out", type=Path, default=Path("where_time_goes.json"))
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        bench = speed.Bench(options.data_dir, 3, options.steps, Path(folder))
        can = machine(torch.device(bench.device))
        found = [measured(bench, model, options.steps, can) for model in options.models.split(",")]
    print(table(found))
    print(
        f"\nHere a matrix product reaches {can.flops / 1e9:.0f} GFLOP/s, a copy "
        f"{can.bytes / 1e9:.0f} GB/s, an empty operation takes {1e6 * can.call:.1f} us."
    )
    content = {
        "models": found,
        "machine": can._asdict(),
        "hardware": store.hardware(bench.device),
        "versions": store.versions(),
        "command": f"python benchmarks/where_time_goes.py {' '.join(words)}",
    }
    options.out.write_text(json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except (ValueError, OSError) as error:
        raise SystemExit(f"Error: {error}") from error
