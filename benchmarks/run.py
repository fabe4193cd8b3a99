"""How fast the training is, each figure a ratio of windows that took turns in one run.

    python benchmarks/run.py --quick --data_dir DIR      P1, P2, P4, P6 and P9, three windows each
    python benchmarks/run.py --full --data_dir DIR       every row that this machine can measure

DIR holds cifar10 and flowers as folders of images; without it, noise of the same size takes their
place, which changes no speed but P3 and P11. Each row is written to --out as JSON once it is
measured, and the table is printed. A row that fails or cannot be measured says why; --resume keeps
the rows that --out has of this machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import against_naive
import speed
import store
import tables

from imbalance_study.evaluation import significance

Row = dict[str, Any]
BELOW = "BELOW THE FLOOR"


class Target(NamedTuple):
    """What a figure has to reach."""

    floor: float
    aim: float | None = None
    at_most: bool = False  # else at least


class Figure(NamedTuple):
    """A row of the table."""

    name: str
    what: str
    cpu: Target | None  # None: not asked for there
    cuda: Target | None
    measure: Callable[[speed.Bench], list[float]]
    quick: bool = False
    seeds: bool = False  # the values are differences of seeds: a paired t-test decides


def _most(floor: float, aim: float | None = None) -> Target:
    return Target(floor, aim, at_most=True)


def _p1(model: str) -> Callable[[speed.Bench], list[float]]:
    return lambda bench: against_naive.over_naive(bench, model)


FIGURES = (
    # On a GPU the naive loop waits for the same launches as ours: fast is a captured update.
    Figure("P1", "over the naive loop, efficientnet_b0 at 32 px", Target(3.0, 4.0),
           Target(0.9, 2.5), _p1("efficientnet_b0"), quick=True),
    Figure("P2a", "over the naive loop, mobilenet_v2 at 32 px", Target(2.6, 3.5),
           Target(0.9, 2.5), _p1("mobilenet_v2"), quick=True),
    Figure("P2b", "over the naive loop, resnet18 at 32 px", Target(1.3, 1.6),
           Target(0.9, 2.0), _p1("resnet18"), quick=True),
    Figure("P12", "captured updates (cuda_graph) over launched ones, efficientnet_b0", None,
           Target(1.0, 2.0), speed.captured),
    Figure("P3", "over the naive loop, efficientnet_b0 on flowers at 224 px, second epoch on",
           Target(1.1), Target(6.0, 10.0), against_naive.flowers_over_naive),
    Figure("P4", "the whole loop over the bare model step, efficientnet_b0", Target(0.97),
           Target(0.95, 0.98), speed.over_bare, quick=True),
    Figure("P5", "wall time with tracking over without, mobilenet_v2", _most(1.02), _most(1.02),
           speed.tracking),
    Figure("P6", "seconds from the start of the command to the first step, digits", _most(5),
           _most(6), speed.start, quick=True),
    Figure("P7a", "images/s with 100,000 resident images over 4,000", Target(0.95), Target(0.95),
           speed.many_images),
    Figure("P7b", "images/s streamed from the memory map over resident", Target(0.9),
           Target(0.85), speed.streamed),
    Figure("P8", "peak memory beyond imports and data, GB; on a GPU: over the naive loop's",
           _most(1.2), _most(0.7), against_naive.memory),
    Figure("P9", "share of a step that sampler, gathering and augmentation take", _most(0.02),
           _most(0.03), speed.share_of_feeding, quick=True),
    Figure("P10", "three trainings at once on one GPU, images/s in all over one", None, Target(1.8),
           speed.three_at_once),
    Figure("gap", "seconds between the trials of a study, digits", _most(0.5), _most(0.5),
           speed.between_trials),
    Figure("child", "seconds of a child of a comparison beside its training, digits",
           _most(0.5, 0.25), _most(0.5, 0.25), speed.beside_training),
    Figure("P11a", "accuracy beyond the naive loop's, points, 3 seeds (a negative one is worse)",
           Target(-1.0), Target(-1.0), against_naive.parity, seeds=True),
    Figure("P11b", "largest difference of the first 50 losses to the naive loop's", _most(1e-4),
           _most(1e-4), against_naive.first_losses),
)  # fmt: skip


def measured(figure: Figure, bench: speed.Bench) -> Row:
    """A row; what is not measured says why."""
    row: Row = {"figure": figure.name, "what": figure.what, "device": bench.device}
    target = figure.cuda if bench.device == "cuda" else figure.cpu
    if target is None:
        return row | {"values": [], "verdict": "not measured: needs a GPU"}
    begun = time.perf_counter()
    try:
        values = figure.measure(bench)
    except Exception as error:  # the other rows are worth having
        kind = "" if isinstance(error, speed.CannotMeasure) else f"{type(error).__name__}: "
        return row | {"values": [], "verdict": f"not measured: {kind}{error}"}
    median = statistics.median(values)
    reached = verdict(median, target)
    if figure.seeds and reached == BELOW:
        test = significance.paired_t_test(dict(enumerate(values)), dict.fromkeys(range(100), 0.0))
        if not test.reason and test.p >= significance.ALPHA:
            least = test.sd * significance.detectable(test.pairs)
            reached = f"no difference shown (80 % power from {least:.2g})"
    return row | {
        "values": values,
        "median": median,
        "floor": target.floor,
        "aim": target.aim,
        "at_most": target.at_most,
        "verdict": reached,
        "seconds": time.perf_counter() - begun,
    }


def verdict(value: float, target: Target) -> str:
    """Whether a figure reaches what it has to."""
    sign = -1 if target.at_most else 1
    if target.aim is not None and sign * value >= sign * target.aim:
        return "aim reached"
    return "floor reached" if sign * value >= sign * target.floor else BELOW


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = []
    for row in rows:
        values = row["values"]
        bound = "at most" if row.get("at_most") else "at least"
        aim = f", aim {row['aim']:g}" if row.get("aim") is not None else ""
        lines.append(
            [
                row["figure"],
                row["what"],
                speed.spread(values) if values else "–",
                f"{bound} {row['floor']:g}{aim}" if values else "–",
                row["verdict"],
            ]
        )
    return tables.markdown(["", "figure", "median (range)", "asked for", "verdict"], lines)


def main(words: list[str]) -> int:
    """Measure what was asked for; the exit status says that it worked, not that it is fast."""
    options = _parser().parse_args(words)
    windows = options.windows or (3 if options.quick else 5)
    chosen = [one for one in FIGURES if one.quick or options.full]
    if options.only:
        known = [one.name for one in FIGURES]
        wanted = set(options.only.split(","))
        if not wanted <= set(known):
            unknown = min(wanted - set(known))
            raise ValueError(f"unknown figure {unknown!r}; known: {', '.join(known)}")
        chosen = [one for one in FIGURES if one.name in wanted]
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        bench = speed.Bench(
            options.data_dir, windows, options.steps, Path(folder), graph=options.graph
        )
        found = {
            "rows": [],
            "hardware": store.hardware(bench.device),
            "versions": store.versions(),
            "memory_format": "channels_last",
            "command": f"python benchmarks/run.py {' '.join(words)}",
            "notes": bench.notes,
        }
        if options.resume:
            _take_over(options.out, found)
        rows = found["rows"]
        have = {row["figure"] for row in rows if row["values"]}
        for figure in chosen:
            if figure.name in have:
                continue
            rows[:] = [row for row in rows if row["figure"] != figure.name]
            rows.append(measured(figure, bench))
            print(f"{figure.name}: {table(rows[-1:]).splitlines()[-1]}", flush=True)
            _write(options.out, found)
    text = [table(rows), "", *(f"- {note}" for note in bench.notes)]
    text += [f"- {name}: {found[name]}" for name in ("hardware", "versions", "command")]
    print("\n".join(text))
    return 0


def _write(out: Path, found: dict[str, Any]) -> None:
    """Write the rows so far; a reader never sees half of them."""
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps({**found, "finished": finished}, indent=1, default=float))
    partial.replace(out)


def _take_over(out: Path, found: dict[str, Any]) -> None:
    """Take the measured rows and the notes of a call before, where it was on the same machine."""
    if not out.exists():
        return
    before = json.loads(out.read_text())
    if (before["hardware"], before["versions"]) == (found["hardware"], found["versions"]):
        found["rows"] += [row for row in before["rows"] if row["values"]]
        found["notes"] += before["notes"]


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = made.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help="the short rows, three windows")
    which.add_argument("--full", action="store_true", help="every row, five windows")
    made.add_argument("--data_dir", default="", help="folder with cifar10/ and flowers/")
    made.add_argument("--out", type=Path, default=Path("performance.json"))
    made.add_argument("--only", default="", help="some rows alone, as in P1,P4")
    made.add_argument("--graph", action="store_true", help="P1 and P2 with cuda_graph=true")
    made.add_argument("--resume", action="store_true", help="keep the rows that --out has")
    made.add_argument("--windows", type=int, default=0, help="windows of each row")
    made.add_argument("--steps", type=int, default=0, help="updates a window; 0: as the row needs")
    return made


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except (ValueError, OSError) as error:
        raise SystemExit(f"Error: {error}") from error
