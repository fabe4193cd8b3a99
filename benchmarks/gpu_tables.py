"""The tables of gpu_kit.py, as docs/performance.md and docs/results.md have them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import all_of_cifar10
import gpu_probe
import halved
import paper_table
import run
import store
import tables

PROBE = "probe.json"


def report(out: Path, state: dict[str, Any]) -> str:
    """Return the tables of what there is, as the documentation has them, and write them."""
    seconds = [[name, f"{value:.0f}"] for name, value in state["done"].items()]
    parts = ["## Steps", tables.markdown(["step", "seconds"], seconds)]
    if state["done"].get("equality") is not None:
        said = "equal to the last bit" if state["equal"] else "not shown to be equal"
        parts.append(f"Captured updates are {said}.")
    parts += _tables(out)
    text = "\n\n".join(parts)
    (out / "tables.md").write_text(text + "\n")
    return text


def _tables(out: Path) -> Iterator[str]:
    if (out / PROBE).exists():
        found = json.loads((out / PROBE).read_text())
        yield "## Time of an update"
        yield gpu_probe.table(found["rows"])
        yield f"Processes at a time, images/s in all: {found.get('at_once', {})}."
        yield f"{found['hardware']}; {found['versions']}"
    if (out / "performance.json").exists():
        found = json.loads((out / "performance.json").read_text())
        yield "## Performance"
        yield run.table(found["rows"])
        yield "\n".join([*found["notes"], found["hardware"], found["versions"]])
    yield from _results(out)


def _results(out: Path) -> Iterator[str]:
    rows = store.read(out / "paper_table.jsonl")
    if rows:
        names = [*paper_table.PAPERS, *(f"strong, ratio {ratio}" for ratio in (100, 50, 10))]
        have = {row["name"] for row in rows}
        yield "## Reported and ours"
        yield paper_table.table(rows, [name for name in names if name in have])
        yield tables.provenance(rows, "gpu_kit.py", [])
    rows = store.read(out / "all_of_cifar10.jsonl")
    if rows:
        yield "## All of CIFAR-10"
        yield all_of_cifar10.table(rows)
    rows = store.read(out / "halved.jsonl")
    if rows:
        yield "## The halved CIFAR-10"
        yield halved.table(rows)
