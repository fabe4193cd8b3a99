"""What a run left behind, without what a clock or a random id decides."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import torch
from mlflow.entities import Run
from pyarrow import parquet

# Options that were renamed: the new name to the old one.
RENAMED = {"auto_precision": "probe", "decode_workers": "workers"}

# Metrics that say how fast or how large something was on this machine at this moment. All others
# follow from configuration, data and seed.
CLOCK = (
    "time/",  # seconds, and images per second, of every phase
    "system/",  # use of processor, memory and disk, sampled every few seconds
    "cost/latency_ms",  # measured
    "cost/peak_memory_mb",  # of the process, which the allocator decides
    "cost/train_images_per_second",  # measured
    "trials/seconds_between",  # the pause between two trials of a study
)
# Columns of tables that hold the same, or ids; a table with a row for each metric has such rows.
UNSTABLE_COLUMNS = re.compile(r"seconds|latency|peak_memory|images_per_second|run_id")
# Figures that draw the same.
CLOCK_FIGURES = re.compile(r"^comparison/(all_metrics|costs)\.png$")
# Files that hold ids, paths, versions or commands: their names are compared, not what they hold.
UNSTABLE_FILES = ("config.json", "comparison.json", "metrics.json")
TAGS = ("data_fingerprint", "configuration", "trial", "trial_state", "winner_of_trial", "lr")


def sha256(content: bytes | str) -> str:
    """Digest bytes, or text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def files(folder: Path, ending: str) -> Iterator[tuple[str, Path]]:
    """Go through the files below a folder that end so, by their names in it."""
    for path in sorted(folder.rglob(f"*{ending}")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def stable(file: str) -> str:
    """Take the time and the random id out of the name of an image of MLflow's grid."""
    return re.sub(r"\+timestamp\+\d+\+[0-9a-f-]{36}", "", file)


def timeless(name: str) -> bool:
    """Tell whether a metric follows from configuration, data and seed."""
    return not name.startswith(CLOCK)


def history(client: mlflow.MlflowClient, run: Run) -> dict[str, list[Any]]:
    """Read every metric of a run that no clock decides, as steps and values."""
    return {
        name: [
            [one.step, repr(one.value)] for one in client.get_metric_history(run.info.run_id, name)
        ]
        for name in sorted(filter(timeless, run.data.metrics))
    }


def finals(folder: Path) -> dict[str, str]:
    """Read metrics.json, which holds the ends of all intervals too."""
    place = folder / "metrics.json"
    found = json.loads(place.read_text("utf-8")) if place.exists() else {}
    return {name: repr(found[name]) for name in sorted(filter(timeless, found))}


def params(run: Run) -> dict[str, str]:
    """Read the params of a run under their new names, without ids and places."""
    new = {old: name for name, old in RENAMED.items()}
    found = {new.get(name, name): value for name, value in sorted(run.data.params.items())}
    if found.get("weights", "").startswith("runs:/"):
        found["weights"] = "runs:/ID"
    return found


def weights(path: Path) -> str:
    """Digest the tensors of a checkpoint: their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def tables(folder: Path) -> Iterator[tuple[str, str]]:
    """Digest each table, without the columns that a clock decides."""
    for file, path in files(folder, ".json"):
        if path.name not in UNSTABLE_FILES:
            yield file, sha256(json.dumps(without_clock(json.loads(path.read_text("utf-8")))))
    for file, path in files(folder, ".parquet"):
        yield file, columns(path)


def columns(path: Path) -> str:
    """Digest what a Parquet file holds; its bytes depend on who wrote it."""
    return sha256(repr(parquet.read_table(path).to_pydict()))


def without_clock(table: Any) -> Any:
    """Leave out of a table of MLflow what a clock decides: columns, and rows of such a metric."""
    if not isinstance(table, dict) or "columns" not in table:
        return table
    names = table["columns"]
    kept = [place for place, name in enumerate(names) if not UNSTABLE_COLUMNS.search(str(name))]
    rows = [row for row in table["data"] if timeless(str(row[0]))]
    return [[row[place] for place in kept] for row in (names, *rows)]
