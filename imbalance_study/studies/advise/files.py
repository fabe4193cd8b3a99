"""The files of an advice: pages, figures, tables, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imbalance_study.files import csv_cell, replacing
from imbalance_study.studies.advise.result import Advice


def write(
    folder: Path, advice: Advice, drawn: Mapping[str, bytes], pages: Mapping[str, bytes]
) -> None:
    """Write all files, each whole or not at all.

    Args:
        folder: Made when missing.
        advice: The advice.
        drawn: Name to PNG.
        pages: Name to content.

    Raises:
        OSError: A file cannot be written.
    """
    contents = dict(pages) | {f"figures/{name}.png": one for name, one in drawn.items()}
    contents["advice.json"] = text(advice).encode()
    for name, content in contents.items():
        with replacing(folder / name, "the advice") as path:
            path.write_bytes(content)
    for name, table in advice.tables.items():
        with replacing(folder / "tables" / f"{name}.csv", "the advice") as path:
            table.map(csv_cell).to_csv(path, index=False)


def text(advice: Advice) -> str:
    """Write an advice as JSON; a number that is not finite becomes null."""
    return json.dumps(_plain(advice.to_dict()), indent=1, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
