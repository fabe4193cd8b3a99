"""Seconds of an update on a GPU, captured or launched, in each precision.

    python benchmarks/gpu_probe.py --data_dir DIR --out probe.json

Rows take turns in windows of some updates. The verdict (precision, cuda_graph, processes at a time)
is what gpu_kit.py trains the tables with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import ours
import speed
import store
import tables
import torch

from imbalance_study.config.recipes import RECIPES

# Others than launched fp32 in channels_last are taken when so many times faster.
_GAIN = 1.05
_STRONG = {
    name: value
    for name, value in RECIPES["strong"].options.items()
    if name in ("augment", "mix", "ema", "loss")
}
MODELS: dict[str, dict[str, Any]] = {
    "resnet32": {"model": "resnet32"},
    "resnet18, strong": {"model": "resnet18", **_STRONG},
    "efficientnet_b0": {"model": "efficientnet_b0"},
}


def ways(device: str, graph: bool) -> dict[str, dict[str, str]]:
    """List the ways to compute, the plain one first."""
    plain = {"precision": "fp32", "memory_format": "channels_last", "cuda_graph": "false"}
    found = {
        "fp32": plain,
        "fp32, contiguous": plain | {"memory_format": "contiguous"},
        "bf16": plain | {"precision": "bf16"},
    }
    if device == "cuda" and graph:
        found["fp32, captured"] = plain | {"cuda_graph": "true"}
        found["bf16, captured"] = found["bf16"] | {"cuda_graph": "true"}
    return found


def milliseconds(
    bench: speed.Bench, options: dict[str, Any], graph: bool
) -> dict[str, list[float]]:
    """Measure an update of each way, in windows that take turns."""
    made = {}
    for name, way in ways(bench.device, graph).items():
        made[name] = ours.ready(**bench.cifar(**options) | way, optimizer="sgd", lr=0.05)
    found: dict[str, list[float]] = {name: [] for name in made}
    for number in range(bench.windows + 1):
        for name, one in made.items():
            speeds: list[float] = []
            ours.epochs(
                one, 1, bench.steps_of(2, 100),
                lambda result, speeds=speeds: speeds.append(
                    result.metrics["time/images_per_second"]
                ),
            )  # fmt: skip
            if number:
                found[name].append(1000 * speed.BATCH / speeds[0])
    return found


def at_once(bench: speed.Bench, counts: tuple[int, ...], way: dict[str, str]) -> dict[int, float]:
    """Measure images per second of several processes together."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    options = bench.cifar(model="resnet32") | way
    found = {}
    for count in counts:
        try:
            found[count] = speed.together(context, count, options, bench.steps_of(2, 300))
        except RuntimeError as error:
            bench.notes.append(f"{count} processes: {error}")
    return found


def decide(seconds: dict[str, list[float]], known: dict[str, dict[str, str]]) -> str:
    """Choose the fastest way that is clearly faster than those before it."""
    chosen = next(iter(seconds))
    for name in known:
        if statistics.median(seconds[chosen]) > _GAIN * statistics.median(seconds[name]):
            chosen = name
    return chosen


def main(words: list[str] | None = None) -> int:
    """Measure, print the table, and write the verdict."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default="", help="folder with cifar10/; else noise")
    parser.add_argument("--out", type=Path, default=Path("gpu_probe.json"))
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--models", default="|".join(MODELS), help="apart by |")
    parser.add_argument("--processes", default="1|4|6")
    parser.add_argument("--graph", action="store_true", help="the captured ways too")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        bench = speed.Bench(options.data_dir, options.windows, options.steps, Path(folder))
        known = ways(bench.device, options.graph)
        rows: dict[str, Any] = {}
        found = {"rows": rows, "hardware": store.hardware(bench.device)}
        found |= {"versions": store.versions(), "notes": bench.notes, "verdict": {}}
        for name in options.models.split("|"):
            rows[name] = milliseconds(bench, MODELS[name], options.graph)
            way = known[decide(rows[name], known)]
            found["verdict"][name] = way
            options.out.write_text(json.dumps(found, indent=1))
            print(table(rows), flush=True)
        first = next(iter(found["verdict"].values()))
        counts = tuple(int(count) for count in options.processes.split("|"))
        found["at_once"] = at_once(bench, counts, first)
        best = max(found["at_once"], key=lambda count: found["at_once"][count], default=1)
        found["processes"] = best
        options.out.write_text(json.dumps(found, indent=1))
    print(f"images/s of processes at a time: {found['at_once']}; torch {torch.__version__}")
    return 0


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """Milliseconds of an update, a line for each network."""
    names = list(next(iter(rows.values())))
    lines = [
        [model, *(speed.spread(found[name]) if found[name] else "–" for name in names)]
        for model, found in rows.items()
    ]
    return tables.markdown(["ms an update of 128 images", *names], lines)


if __name__ == "__main__":
    raise SystemExit(main())
