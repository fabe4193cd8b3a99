"""Tables of finished runs, as Markdown."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def percents(rows: Sequence[Row], metric: str) -> list[float]:
    """A metric of each row, in percent."""
    return [100 * row["metrics"][metric] for row in rows]


def mean_and_deviation(values: Sequence[float]) -> str:
    """``71.30 ± 0.40``, the deviation that of a sample; of one value the value alone."""
    if not values:
        return "–"
    mean = statistics.fmean(values)
    return f"{mean:.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{mean:.2f}"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    cells = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def provenance(rows: Sequence[Row], script: str, words: Sequence[str]) -> str:
    """Where the numbers of a table come from, as lines of a list."""

    def each(name: str) -> str:
        return "; ".join(dict.fromkeys(str(row[name]) for row in rows)) or "–"

    return "\n".join(
        [
            f"- Command: `{shlex.join(['python', f'benchmarks/{script}', *words])}`",
            f"- Hardware: {each('hardware')}; runs at a time: {each('parallel')}",
            f"- Versions: {each('versions')}",
            f"- Data fingerprints: {each('data')}",
            f"- Finished: {max((row['finished'] for row in rows), default='–')}",
        ]
    )


def publish(text: str, path: Path) -> None:
    """Print a table and write it beside the runs, as Markdown."""
    print(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".md").write_text(text + "\n")
