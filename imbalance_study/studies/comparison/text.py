"""What a comparison says in words: on the terminal at its end, and as its parent's description."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.comparison.plan import Plan
from imbalance_study.tracking import description as tracking_description

SUMMARY = "comparison/summary"
_HEAD = ("configuration", "seeds", "mean", "sd", "95 % interval", "to baseline", "p (Holm)", "")


def rows(found: Comparison, metric: str) -> list[tuple[str, ...]]:
    """The cells of the table of the result, the head first; the best is marked by a star."""
    table = found.tables.get(SUMMARY, {})
    name = metric.rsplit("/", 1)[-1]
    lines: list[tuple[str, ...]] = [_HEAD]
    for number, configuration in enumerate(table.get("configuration", [])):
        row = {key: column[number] for key, column in table.items()}
        interval = f"{_four(row['low_95'])} to {_four(row['high_95'])}" if row["sd"] else ""
        lines.append(
            (
                configuration + (" *" if row["best"] else ""),
                str(row["seeds"]),
                _four(row[name]),
                _four(row["sd"]),
                interval if not math.isnan(row["low_95"]) else "",
                _four(row["difference"], "+"),
                "" if math.isnan(row["p_holm"]) else f"{row['p_holm']:.2g}",
                row["mark"] or row["verdict"],
            )
        )
    return lines


def _four(value: float, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{sign}.4f}"


def table(found: Comparison, metric: str) -> list[str]:
    """Lines of plain text: what was compared, with mean, spread, interval and test."""
    lines = rows(found, metric)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [_aligned(line, widths) for line in lines]
    return [f"{metric} (* the best)", text[0], "-" * min(len(text[0]), 100), *text[1:]]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:{width}}" if number in (0, len(cells) - 1) else f"{cell:>{width}}"
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def description(
    plan: Plan,
    found: Comparison,
    failed: Mapping[tuple[str, str], str],
    address: str,
    command: str,
) -> str:
    """Findings, table, marks, failures, and the command that repeats it, in Markdown."""
    metric = plan.comparing.metric
    head, *body = rows(found, metric)
    lines = [
        *_items(found.findings),
        "",
        f"**{metric}** over {plan.comparing.seeds} seeds against {plan.baseline}; the claim is the "
        "paired t-test over seeds, Holm-corrected; * the best.",
        "",
        tracking_description.row(head),
        "|---" * len(head) + "|",
        *map(tracking_description.row, body),
        "",
        *_items(f"Not ranked: {mark}" for mark in found.marks),
        *_items(tracking_description.failure(problem) for problem in failed.values()),
        *_items(map(tracking_description.plain, plan.notes)),
        "",
        f"The runs, side by side: [prepared view]({address}).",
        "",
        f"Repeat: `{command}`",
    ]
    return "\n".join(lines)


def _items(sentences: Iterable[Any]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]
