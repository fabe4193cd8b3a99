"""What each means of speed gives by itself: a step with it against one without, in turns.

    python benchmarks/means.py --data_dir DIR --models efficientnet_b0,mobilenet_v2,resnet18

The others stay as they are by default. Steps are those of the training, on batches of 128 images of
CIFAR-10 with crops and flips; a ratio above 1 says that the means pays.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import ours
import speed
import store
import tables
from torch import nn

from imbalance_study.training.cpu import allocator, convolutions, winograd

Window = Callable[[], float]


# What stands in a place of the package while the means is off.
OFF: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "taps on padding": (convolutions, "without_padding", nn.Conv2d.forward),
    "Winograd": (winograd, "pays", lambda layer, images: False),
    "memory kept": (allocator, "keep", allocator.give_back),
}


def _window(steps: int, off: str = "", **settings: Any) -> Window:
    """A training of its own; each call returns the seconds of a step."""
    mine = ours.ready(**settings)

    def window() -> float:
        found: list[float] = []
        with mock.patch.object(*OFF[off]) if off else contextlib.nullcontext():
            ours.epochs(
                mine, 2, steps, lambda result: found.append(result.metrics["time/epoch_seconds"])
            )
        return found[1] / steps

    return window


def _compiled(steps: int, seconds: list[float], **settings: Any) -> Window:
    window = _window(steps, **settings, compile=True)
    begun = time.perf_counter()
    window()
    seconds.append(time.perf_counter() - begun)
    return window


def measured(bench: speed.Bench, model: str, steps: int, wanted: list[str]) -> dict[str, Any]:
    """Ratios of one model."""
    settings = bench.cifar(model=model)
    plain = _window(steps, **settings)
    compiling: list[float] = []
    ways: dict[str, tuple[Callable[[], Window], bool]] = {
        # True: the default has it, so that the other one is without.
        **{name: (functools.partial(_window, steps, name, **settings), True) for name in OFF},
        "channels_last": (lambda: _window(steps, **settings, memory_format="contiguous"), True),
        "bf16": (lambda: _window(steps, **settings, precision="bf16"), False),
        "compile": (lambda: _compiled(steps, compiling, **settings), False),
    }
    plain()
    found: dict[str, Any] = {}
    for name in wanted:
        make, by_default = ways[name]
        other, ratios = make(), []
        other()
        for _ in range(bench.windows):
            with_it, without = (plain(), other()) if by_default else (other(), plain())
            ratios.append(without / with_it)
        found[name] = ratios
        print(f"{model}, {name}: {ours.spread(ratios)}", flush=True)
    if compiling:
        found["seconds of compiling"] = compiling
    return found


def main(words: list[str]) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default="", help="folder with cifar10/")
    parser.add_argument("--models", default="efficientnet_b0,mobilenet_v2,resnet18")
    parser.add_argument("--means", default=",".join([*OFF, "channels_last", "bf16", "compile"]))
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="of each window")
    parser.add_argument("--out", type=Path, default=Path("means.json"))
    options = parser.parse_args(words)
    wanted = options.means.split(",")
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        bench = speed.Bench(options.data_dir, options.windows, options.steps, Path(folder))
        found = {
            model: measured(bench, model, options.steps, wanted)
            for model in options.models.split(",")
        }
    lines = [[name, *(ours.spread(one[name]) for one in found.values())] for name in wanted]
    if "compile" in wanted:
        name = "seconds of compiling"
        each = [f"{statistics.median(one[name]):.0f}" for one in found.values()]
        lines.append([f"{name}, once", *each])
    print(tables.markdown(["times faster with", *found], lines))
    content = {
        "ratios": found,
        "hardware": store.hardware(bench.device),
        "versions": store.versions(),
        "command": f"python benchmarks/means.py {' '.join(words)}",
    }
    options.out.write_text(json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except (ValueError, OSError) as error:
        raise SystemExit(f"Error: {error}") from error
