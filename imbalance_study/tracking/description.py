"""Texts about a run: its name, its description in MLflow, its last lines on the terminal."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

import numpy as np
import torch

from imbalance_study.config.recipes import recipe_note
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import RECORDING
from imbalance_study.data.report import listed
from imbalance_study.evaluation.intervals import few_images
from imbalance_study.evaluation.text import number
from imbalance_study.experiment.result import RunResult
from imbalance_study.models import pretrained
from imbalance_study.tracking import experiment_page, run_names, ui_view
from imbalance_study.tracking.markup import escape_markdown, markdown_row

if TYPE_CHECKING:
    from imbalance_study.tracking.active import Session

_LOCAL = "http://127.0.0.1:5000"
HEADLINES = {
    "test/balanced_accuracy": "balanced accuracy",
    "test/accuracy": "accuracy",
    "test/macro_f1": "macro F1",
    "test/head_recall": "recall, frequent third of the classes",
    "test/medium_recall": "recall, middle third",
    "test/tail_recall": "recall, rare third",
    "test/worst_recall": "recall, worst class",
}


def failure_note(text: str) -> str:
    """Make the description of a failed run."""
    return f"**Failed**: {escape_markdown(text)}"


def repeat_command(resolved: Resolved) -> str:
    """Make the command that repeats a run, with the options that were given."""
    config, origins = resolved
    words = ["imbalance-study", "train"]
    for name, origin in origins.items():
        always = name in ("dataset", "model", "seed")
        if (origin == "given" and name not in RECORDING) or always:
            value = getattr(config, name)
            words += [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
    return shlex.join(words)


def run_note(result: RunResult, resolved: Resolved) -> str:
    """Describe the result and the command that repeats it, in Markdown."""
    config, metrics = result.config, result.metrics
    counts = result.facts.train_counts
    lines = [
        f"**{metrics['test/balanced_accuracy']:.1%} balanced accuracy**{_interval_text(result)}, "
        f"{metrics['test/accuracy']:.1%} accuracy, {metrics['test/macro_f1']:.3f} macro F1 on "
        f"{result.facts.images['test']:,} test images.",
        "",
        *(f"{_sentence(caution)}\n" for caution in cautions(result)),
        f"{escape_markdown(config.model)} on {config.dataset} ({config.imbalance}: "
        f"{max(counts):,} to {min(counts):,} training images a class), "
        f"{escape_markdown(config.loss)}, class weights {config.class_weights}, sampler "
        f"{escape_markdown(config.sampler)}, {len(result.history)} epochs, seed {config.seed}; "
        f"{_selection(result)}.",
        "",
        markdown_row(["metric", "test", "95 % interval"]),
        "|---|---|---|",
        *(
            markdown_row([text, number(metrics[name], ".4f"), _interval(result, name)])
            for name, text in HEADLINES.items()
        ),
        "",
        *(f"{_sentence(note)}\n" for note in result.analysis.notes),
        *_findings(result),
        f"Repeat: {_code(repeat_command(resolved))}",
    ]
    note = recipe_note(config.recipe, config.model)
    return "\n".join([*lines, "", note] if note else lines)


def _findings(result: RunResult) -> list[str]:
    """List what was found out about the images, but for classes with few: see `cautions`."""
    found = [one for one in result.data.report.findings if one.kind != "parts"]
    lines = [f"- {one.kind}: {escape_markdown(one.text)}" for one in found]
    return ["The images:", "", *lines, ""] if lines else []


def _sentence(text: str) -> str:
    return f"{escape_markdown(text[:1].upper() + text[1:])}."


def _code(text: str) -> str:
    """Mark a text as code in Markdown."""
    text = " ".join(text.split())
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def cautions(result: RunResult) -> list[str]:
    """Say what makes the headline figures doubtful.

    One class for all images, few test images, weights that may expect another scale of the pixels.
    """
    names, test = result.facts.class_names, result.test
    logits = torch.from_numpy(test.logits)
    predicted = result.procedure.probabilities(logits).argmax(1).unique().tolist()
    counts = np.bincount(test.targets, minlength=len(names))
    found = []
    if len(predicted) == 1:
        count = f"{len(test.targets):,}"
        found.append(f"the model gives all {count} test images the class {names[predicted[0]]}")
    lacking = [name for name, count in zip(names, counts, strict=True) if not count]
    if lacking:
        found.append(
            f"there is no test image of {listed(lacking)}: balanced accuracy is over "
            f"{len(names) - len(lacking)} of {len(names)} classes"
        )
    few = few_images(counts, names)
    found += [few] if few else []
    return found + pretrained.doubts(result.facts.weights or {})


def _interval_text(result: RunResult) -> str:
    interval = result.analysis.intervals.get("balanced_accuracy")
    return (
        ""
        if interval is None
        else f" (95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f})"
    )


def _interval(result: RunResult, name: str) -> str:
    interval = result.analysis.intervals.get(name.removeprefix("test/"))
    if interval is None or not math.isfinite(interval.low):
        return ""
    return f"{interval.low:.4f} to {interval.high:.4f}"


def _selection(result: RunResult) -> str:
    epochs = len(result.history)
    if "selected_val/epoch" not in result.metrics or result.procedure.select_by == "last":
        return "the last epoch counts"
    value = result.metrics["selected_val/balanced_accuracy"]
    error = result.metrics["selected_val/balanced_accuracy_standard_error"]
    return (
        f"epoch {result.fit.best_epoch} of {epochs} was chosen on validation "
        f"({number(value, '.1%')} +- {number(error, '.1%')} balanced accuracy there)"
    )


def terminal_summary(result: RunResult, uri: str, run: Session) -> str:
    """Make the last lines on the terminal: headline figures, and links."""
    width = max(map(len, HEADLINES.values()))
    lines = ["", f"Result on {result.facts.images['test']:,} test images"]
    lines += [
        f"  {text:{width}}  {number(result.metrics[name], '7.2%'):>7}"
        for name, text in HEADLINES.items()
    ]
    lines += [f"  Note: {caution}" for caution in cautions(result)]
    lines.append(f"  {_selection(result)}; {result.fit.seconds:.0f} s of training")
    for one in result.data.report.findings:
        if one.kind == "left out":
            lines.append(f"  Left out: {one.text}; config.json names them")
    if run.uploader is None:
        return "\n".join(lines)
    lines += how_to_open(uri)
    ids = run.journal.state["experiment_id"], run.journal.state["run_id"]
    if all(ids):
        data, parents = run_names.data_name(result.config), experiment_page.PARENTS_KEY
        key = experiment_page.data_key(data)
        lines += [
            f"This run: {ui_view.run_url(server(uri), *ids)}",
            f"All runs of {data}: {ui_view.view_url(server(uri), ids[0], key)}",
            f"Comparisons and studies: {ui_view.view_url(server(uri), ids[0], parents)}",
        ]
    return "\n".join(lines)


def watch(uri: str, run: Session) -> list[str]:
    """Say where a run can be watched, when it starts; nothing offline."""
    ids = run.journal.state["experiment_id"], run.journal.state["run_id"]
    if run.uploader is None or not all(ids):
        return []
    return [*how_to_open(uri), f"Watch: {ui_view.run_url(server(uri), *ids)}"]


def upload_summary(run: Session, uploaded: bool) -> list[str]:
    """Describe records that were not uploaded; empty if MLflow has all of them."""
    journal, uploader = run.journal, run.uploader
    lines = []
    if journal.lost_files:
        lines.append(f"{journal.lost_files} files were left out, as the disk was full")
    if uploader is None:
        lines.append(f"Recorded offline in {journal.folder}")
    elif not uploaded:
        lines.append(
            f"MLflow has not taken the whole run ({str(uploader.problem)[:150]}); the rest is in "
            f"{journal.folder}"
        )
    if uploader is None or not uploaded:
        lines.append(f"Upload it with: imbalance-study sync {journal.id}")
    elif uploader.refused:
        reasons = "; ".join(dict.fromkeys(uploader.refused))
        lines.append(f"MLflow refused {len(uploader.refused)} records: {reasons}")
    return [" ".join(line.split())[:500] for line in lines]


def server(uri: str) -> str:
    """Return the address of the UI: the server's own, or that of a local one."""
    return uri.rstrip("/") if uri.startswith("http") else _LOCAL


def how_to_open(uri: str) -> list[str]:
    """Return the command that starts the UI of a local store; nothing for a server."""
    if uri.startswith("http"):
        return []
    return ["Open the UI:", f"  mlflow ui --backend-store-uri {shlex.quote(uri)}"]
