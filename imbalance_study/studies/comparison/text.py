"""Write the result of a comparison as text: for the terminal, and as the parent's description."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imbalance_study.studies.comparison import costs, differences
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.comparison.plan import ComparisonPlan
from imbalance_study.tracking.description import failure_note
from imbalance_study.tracking.markup import escape_markdown, markdown_row

SUMMARY = "comparison/summary"
COSTS = "comparison/costs"
_HEAD = ("configuration", "seeds", "mean", "sd", "95 % interval", "to baseline", "p (Holm)")
# Columns of costs, and their heads.
_COSTS = {
    "train_seconds": "training, s",
    "peak_memory_mb": "memory, MB",
    "train_kwh": "kWh",
    "train_price": "price",
}


def table_rows(comparison: Comparison, metric: str) -> list[tuple[str, ...]]:
    """Make the cells of the result's table, the head first; a star marks the best.

    The costs of training stand before the verdict, each with its deviation over seeds.
    """
    summary = comparison.tables.get(SUMMARY, {})
    name = metric.rsplit("/", 1)[-1]
    spent = _spent(comparison)
    lines: list[tuple[str, ...]] = [(*_HEAD, *spent, "")]
    for number, configuration in enumerate(summary.get("configuration", [])):
        values = {key: column[number] for key, column in summary.items()}
        interval = (
            f"{_four(values['low_95'])} to {_four(values['high_95'])}" if values["sd"] else ""
        )
        lines.append(
            (
                configuration + (" *" if values["best"] else ""),
                str(values["seeds"]),
                _four(values[name]),
                _four(values["sd"]),
                interval if not math.isnan(values["low_95"]) else "",
                _four(values["difference"], "+"),
                "" if math.isnan(values["p_holm"]) else f"{values['p_holm']:.2g}",
                *(column[configuration] for column in spent.values()),
                values["mark"] or _verdict(values),
            )
        )
    return lines


def _spent(comparison: Comparison) -> dict[str, dict[str, str]]:
    """Map the head of each known cost of training to its cells by configuration."""
    known = comparison.tables.get(COSTS, {})
    found = {}
    for name, head in _COSTS.items():
        if name in known:
            none = [math.nan] * len(known[name])
            pairs = zip(known[name], known.get(f"{name}_sd", none), strict=True)
            cells = [costs.spread(mean, sd) for mean, sd in pairs]
            found[head] = dict(zip(known["configuration"], cells, strict=True))
    return found


def _verdict(values: Mapping[str, Any]) -> str:
    """Write the verdict; beside 'no difference shown' stands from where on one would be."""
    shown_from = values["shown_from"]
    if values["verdict"] != differences.OPEN or not shown_from > 0:
        return str(values["verdict"])
    return f"{values['verdict']} (80 % power from {shown_from:.4f})"


def _four(value: float, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{sign}.4f}"


def table(comparison: Comparison, metric: str) -> list[str]:
    """Make the lines of a plain table: mean, deviation, interval and test per configuration."""
    lines = table_rows(comparison, metric)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [_aligned(line, widths) for line in lines]
    made = [f"{metric} (* the best)", text[0], "-" * min(len(text[0]), 100), *text[1:]]
    return [*made, comparison.inference] if comparison.inference else made


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:{width}}" if number in (0, len(cells) - 1) else f"{cell:>{width}}"
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def description(
    plan: ComparisonPlan,
    comparison: Comparison,
    problems: Mapping[tuple[str, str], str],
    address: str,
    command: str,
) -> str:
    """Write verdict, findings, table, marks, failures and the command in Markdown."""
    metric = plan.settings.metric
    head, *body = table_rows(comparison, metric)
    lines = [
        f"**{escape_markdown(comparison.verdict)}**",
        "",
        *([escape_markdown(comparison.inference), ""] if comparison.inference else []),
        *_items(comparison.findings),
        "",
        f"**{metric}** over {plan.settings.number_of_seeds} seeds against {plan.baseline}, by a "
        "paired t-test over seeds with Holm's correction; * the best.",
        "",
        markdown_row(head),
        "|---" * len(head) + "|",
        *map(markdown_row, body),
        "",
        *_items(f"Note: {mark}" for mark in comparison.marks),
        *_items(failure_note(problem) for problem in problems.values()),
        *_items(map(escape_markdown, plan.notes)),
        "",
        f"The runs, side by side: [prepared view]({address}).",
        "",
        f"Repeat: `{command}`",
    ]
    return "\n".join(lines)


def _items(sentences: Iterable[Any]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]
