"""The model card of a promoted model: its data, its quality, its limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.evaluation import figures
from imbalance_study.evaluation.text import number
from imbalance_study.models import serving
from imbalance_study.tracking.description import HEADLINES
from imbalance_study.tracking.markup import markdown_row

FEW_TRAINING, FEW_TEST = 100, 30  # images of a class
_LOW_RECALL = 0.5  # a class whose recall may be below this is named


class Evidence(NamedTuple):
    """The records of a run that a card is written from."""

    run_id: str
    config: dict[str, Any]  # every option
    resolved: dict[str, Any]  # RunResult.facts
    metrics: dict[str, float]  # metrics.json
    per_class: dict[str, list[Any]]  # columns of per_class.json; empty where there is none
    environment: dict[str, str]
    command: str


def write(evidence: Evidence, longest: int = 0) -> str:
    """Write the card in Markdown.

    Args:
        evidence: Of the run.
        longest: Largest number of letters, 0 for no limit. To keep it, classes are left out of the
            tables, those of low recall last.
    """
    classes = len(evidence.resolved["class_names"])
    for shown in (classes, 30, 20, 10, 5, 0):
        text = _card(evidence, min(shown, classes))
        if not longest or len(text) <= longest:
            return text
    return text[: longest - 1] + "…"


def _card(evidence: Evidence, shown: int) -> str:
    config, facts = evidence.config, evidence.resolved
    names = facts["class_names"]
    side = facts["image_size"]
    images = facts["images"]
    counts = facts["train_counts"]
    lines = [
        f"# {config['model']} on {config['dataset']}",
        "",
        f"Gives one of {len(names)} classes to an image: {_listed(names, max(shown, 5))}.",
        "",
        f"- Takes: {serving.preprocessing(side, facts.get('decoding', {}))}.",
        "- Gives: a probability for each class, in the order above; they sum to 1.",
        "",
        "## How good",
        "",
        *_headlines(evidence),
        "",
        _calibration(evidence),
        "",
        "## Data",
        "",
        f"{config['dataset']}, {config['imbalance']}: {images['train']:,} training images "
        f"({max(counts):,} to {min(counts):,} a class), {images['val']:,} for choosing, "
        f"{images['test']:,} test images. Fingerprint `{facts['fingerprint']['fingerprint']}`. "
        f"{len(facts['skipped_images'])} unreadable files were left out.",
        "",
        *_classes(evidence, shown),
        "## Limits",
        "",
        *_limits(evidence, shown),
        "",
        "## Made by",
        "",
        f"Run `{evidence.run_id}`, imbalance_study {evidence.environment.get('imbalance_study')}, "
        f"torch {evidence.environment.get('torch')}:",
        "",
        f"`{evidence.command}`",
    ]
    return "\n".join(lines) + "\n"


def _headlines(evidence: Evidence) -> list[str]:
    lines = [markdown_row(["on the test set", "value", "95 % interval"]), "|---|---|---|"]
    for name, text in HEADLINES.items():
        if name in evidence.metrics:
            short = name.removeprefix("test/")
            low, high = (
                evidence.metrics.get(f"test_ci/{short}_{end}", math.nan) for end in ("low", "high")
            )
            interval = f"{low:.3f} to {high:.3f}" if math.isfinite(low) else ""
            value = number(evidence.metrics[name], ".3f")
            lines.append(markdown_row([text, value, interval]))
    return lines


def _calibration(evidence: Evidence) -> str:
    metrics = evidence.metrics
    if "test_calibration/ece" not in metrics:
        return "Calibration was not measured."
    right, wrong = (
        metrics[f"test_calibration/confidence_{kind}_mean"] for kind in ("right", "wrong")
    )
    return (
        f"Calibration: the confidence is off by {metrics['test_calibration/ece']:.1%} in the mean "
        f"(ECE); it is {number(right, '.1%')} in the mean where the model is right, "
        f"{number(wrong, '.1%')} where it is wrong."
    )


def _classes(evidence: Evidence, shown: int) -> list[str]:
    table = evidence.per_class
    if not table:
        return ["The run did not record the recall of each class (analyses=none).", ""]
    if not shown:
        return ["Each class: see model_card.md of the run.", ""]
    recall, low, high = _recall(table)
    order = np.argsort(np.nan_to_num(recall, nan=-1), kind="stable")[:shown]
    rows = range(len(recall)) if shown == len(recall) else sorted(order.tolist())
    head = ("class", "training images", "test images", "recall", "95 %")
    lines = [markdown_row(head), "|---|---|---|---|---|"]
    for row in rows:
        share = "-" if np.isnan(recall[row]) else f"{recall[row]:.2f}"
        ends = "-" if np.isnan(recall[row]) else f"{low[row]:.2f} to {high[row]:.2f}"
        counts = [f"{table[name][row]:,}" for name in ("train_count", "test_count")]
        name = " ".join(str(table["class"][row]).split())
        lines.append(markdown_row([name, *counts, share, ends]))
    left_out = len(recall) - len(lines) + 2
    if left_out:
        lines += ["", f"{left_out} classes of higher recall: see model_card.md of the run."]
    return [*lines, ""]


def only_class(evidence: Evidence) -> str:
    """Return the class that all test images were given; empty where there were several."""
    recalls = evidence.per_class.get("recall", [])
    tested = {
        name: recall
        for name, recall in zip(evidence.per_class.get("class", []), recalls, strict=True)
        if recall is not None and np.isfinite(recall)
    }
    found = [name for name, recall in tested.items() if recall > 0]
    constant = len(tested) > 1 and len(found) == 1 and tested[found[0]] == 1
    return str(found[0]) if constant else ""


def _recall(table: dict[str, list[Any]]) -> tuple[Any, Any, Any]:
    recall = np.array([np.nan if value is None else value for value in table["recall"]], float)
    low, high = figures.run.wilson_interval(recall, np.array(table["test_count"]))
    return recall, low, high


def _limits(evidence: Evidence, shown: int) -> list[str]:
    facts, table = evidence.resolved, evidence.per_class
    names, counts = facts["class_names"], facts["train_counts"]
    most = max(shown, 5)
    few = [f"{n} ({c})" for n, c in zip(names, counts, strict=True) if c < FEW_TRAINING]
    lines = []
    if few:
        lines.append(f"- Fewer than {FEW_TRAINING} training images: {_listed(few, most)}.")
    constant = only_class(evidence)
    if constant:
        lines.append(f"- It gave all test images the class {_cell(constant)}.")
    if table:
        _, low, _ = _recall(table)
        weak = [n for n, edge in zip(table["class"], low, strict=True) if edge < _LOW_RECALL]
        if weak:
            lines.append(f"- May miss half of the images or more of: {_listed(weak, most)}.")
        rare = [
            n
            for n, count in zip(table["class"], table["test_count"], strict=True)
            if count < FEW_TEST
        ]
        if rare:
            lines.append(
                f"- Hardly tested, with fewer than {FEW_TEST} test images: {_listed(rare, most)}."
            )
    return [
        *lines,
        f"- Tested on images of {evidence.config['dataset']} alone. Not tested: other cameras, "
        "places or times, damaged or altered images, other frequencies of the classes (to which "
        "calibration and accuracy are bound), other groups of people.",
        "- An image of none of the classes gets one of them nevertheless; whether a low "
        "probability (`--reject_below`) gives it away was not tested.",
    ]


def _listed(names: Sequence[str], most: int) -> str:
    names = [_cell(name) for name in names]
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def _cell(name: object) -> str:
    """Escape a name for a table in Markdown."""
    return " ".join(str(name).split()).replace("|", "\\|")
