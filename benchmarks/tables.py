"""Tables of finished runs, as Markdown."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imbalance_study.evaluation import bootstrap, significance

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


COMPARED = ("mean difference", "95 % interval", "p (Holm)", "verdict")


def compared(
    values: Mapping[str, Mapping[int, float]], baseline: str
) -> dict[str, tuple[str, str, str, str]]:
    """Compare each name with the baseline as a comparison does; the cells of `COMPARED`.

    A paired t-test over the seeds that both have, at least three, Holm-corrected over all names
    that have a test. Beside 'no difference shown' stands the smallest true difference that these
    seeds show with 80 % power.

    Args:
        values: Name to seed to value.
        baseline: One of the names.
    """
    others = [name for name in values if name != baseline]
    found = values.get(baseline, {})
    tests = [significance.paired_t_test(values[name], found) for name in others]
    adjusted = significance.holm([test.p for test in tests])
    tested = sum(test.p == test.p for test in tests)
    return {
        name: _cells(test, p, tested) for name, test, p in zip(others, tests, adjusted, strict=True)
    }


def _cells(test: significance.PairedTest, p: float, tested: int) -> tuple[str, str, str, str]:
    difference = "–" if not test.pairs else f"{test.difference:+.2f}"
    if test.reason:
        return difference, "–", "–", f"no test: {test.reason}"
    interval = f"{test.low:+.2f} to {test.high:+.2f}"
    p_text = bootstrap.p_text(p).removeprefix("p ").removeprefix("= ")
    if p < significance.ALPHA:
        return difference, interval, p_text, "better" if test.difference > 0 else "worse"
    shown_from = significance.detectable(test.pairs, tested) * test.sd
    power = f" (80 % power from {shown_from:.1f})" if shown_from > 0 else ""
    return difference, interval, p_text, f"no difference shown{power}"


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
