"""Report on one run: configuration, curves, tables, figures, failures, and how to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from imbalance_study.config.schema import AXES
from imbalance_study.evaluation.text import number
from imbalance_study.studies.report import document, repeat
from imbalance_study.studies.report.document import (
    Block,
    Code,
    Figure,
    Paragraph,
    Report,
    Section,
)
from imbalance_study.studies.report.frames import history
from imbalance_study.studies.report.stored import StoredRun
from imbalance_study.tracking import artifacts, description

# Section -> its figures with captions. The section "More pictures" has all other figures.
_FIGURES = {
    "Data": {
        "class_distribution": "Training images of each class.",
        "augmented_samples": "Training images as the model sees them.",
        "sampled_classes": "How often each class was really drawn in the first epoch.",
    },
    "Training": {
        "training_curves": "Losses, scores and learning rate over the epochs.",
        "recall_over_epochs": "Recall of the frequent, middle and rare classes over the epochs.",
    },
    "Where it fails": {
        "recall_by_frequency": "Recall of each class on the test set, by its training images.",
        "confusion_matrix": "Confusion matrix of the test set.",
        "confused_pairs": "The classes that are most often taken for another.",
        "misclassified": "Wrong predictions, spread over the classes.",
        "most_confident_errors": "The wrong predictions that the model was surest of.",
        "least_certain": "The predictions that the model was least sure of.",
        "gradcam_errors": "Where the model looked in images that it got wrong.",
    },
    "Calibration": {"calibration": "Confidence against accuracy on the test set."},
    "Corrections free of charge": {
        "posthoc_tau": "Balanced accuracy over the strength of the correction."
    },
}


def run_report(client: MlflowClient, run: Run) -> Report:
    """Make the report of a run.

    Raises:
        ValueError: The run is no training run.
    """
    stored = StoredRun(client, run.info.run_id)
    content = stored.json("config.json")
    if not content:
        raise ValueError(
            f"run {run.info.run_id} has no config.json, so there is no training to report; "
            f"its status is {run.info.status}"
        )
    metrics = run.data.metrics
    parts: dict[str, list[Block]] = {
        "Result": _result(run, stored, content),
        "Configuration": _configuration(content),
        "Data": [],
        "Training": [],
        "Where it fails": _tables_of_errors(stored),
        "Calibration": _metrics(
            run.data.metrics, "test_calibration/", "Calibration on the test set."
        ),
        "Corrections free of charge": _corrections(stored),
        "Costs": _costs(run, stored) + _metrics(metrics, "time/", "Time."),
        "More pictures": [],
        "How to repeat it": repeat.blocks([content], [content["command"]]),
    }
    _add_figures(parts, stored)
    if not any(isinstance(one, Figure) for one in parts["Training"]):
        parts["Training"] += _curves(run)
    sections = [Section(title, blocks) for title, blocks in parts.items() if blocks]
    return Report(f"Run {run.info.run_name}", sections)


def _result(run: Run, stored: StoredRun, content: Mapping[str, Any]) -> list[Block]:
    """Describe data and model, and show the headline metrics."""
    config, facts = content["config"], content["resolved"]
    counts = facts["train_counts"]
    made: list[Block] = [
        Paragraph(
            f"{config['model']} on {config['dataset']}: {facts['images']['test']:,} test images, "
            f"{sum(counts):,} training images in {len(counts)} classes, from {max(counts):,} down "
            f"to {min(counts):,} a class; loss {config['loss']}, seed {config['seed']}. Run "
            f"{run.info.run_id}, status {run.info.status}."
        )
    ]
    if run.info.status != "FINISHED":
        made.append(
            Paragraph(f"The run is {run.info.status}: this is what it left so far.", remark=True)
        )
    metrics = {**run.data.metrics, **stored.json("metrics.json")}
    names = [name for name in description.HEADLINES if name in metrics]
    ends = [
        [metrics.get(f"test_ci/{name.removeprefix('test/')}_{end}", math.nan) for name in names]
        for end in ("low", "high")
    ]
    columns: dict[str, list[Any]] = {
        "metric": [description.HEADLINES[name] for name in names],
        "test": [metrics[name] for name in names],
        "low_95": ends[0],
        "high_95": ends[1],
    }
    caption = "The kept epoch on the test set, with 95 % bootstrap intervals over its images."
    made += document.table("result", caption, columns)
    return [*made, Paragraph(_selection(metrics))]


def _selection(metrics: Mapping[str, float]) -> str:
    """Describe how the kept epoch was chosen."""
    if "selected_val/epoch" not in metrics:
        return "Nothing was chosen: there was no validation part, and the last epoch counts."
    last = metrics.get("test_last/balanced_accuracy", math.nan)
    error = metrics.get("selected_val/balanced_accuracy_standard_error", math.nan)
    return (
        f"Choosing was done on validation, reporting on the test set, which was predicted after "
        f"training only: epoch {metrics['selected_val/epoch']:.0f} was kept, with balanced "
        f"accuracy {number(metrics['selected_val/balanced_accuracy'], '.4f')} +- "
        f"{number(error, '.4f')} there; the last epoch has {number(last, '.4f')} on the test set."
    )


def _configuration(content: Mapping[str, Any]) -> list[Block]:
    """Show the axes and all given options as a table, the others in a few lines."""
    config, origins = content["config"], content["origins"]
    chosen = [name for name in origins if name in (*AXES, "seed") or origins[name] != "default"]
    columns = {
        "option": chosen,
        "value": [_typed(config[name]) for name in chosen],
        "decided by": [origins[name] for name in chosen],
    }
    rest = [f"{name}={_typed(config[name])}" for name in origins if name not in chosen]
    return [
        *document.table("configuration", "The options, and who decided each.", columns),
        Paragraph("All others are at their defaults:"),
        Code(" ".join(rest)),
    ]


def _typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tables_of_errors(stored: StoredRun) -> list[Block]:
    """Show the scores of each class, and the most confused pairs."""
    classes = stored.table("per_class")
    if classes:
        order = sorted(range(len(classes["class"])), key=lambda row: classes["recall"][row] or 0.0)
        classes = {name: [values[row] for row in order] for name, values in classes.items()}
    made = document.table("per_class", "Test scores of each class, the worst first.", classes)
    pairs = stored.table("confused_pairs")
    caption = "Most confused pairs: how many images, and their share of the true class."
    return made + document.table("confused_pairs", caption, pairs)


def _corrections(stored: StoredRun) -> list[Block]:
    """Show the post-hoc corrections."""
    caption = (
        "Corrections of the predictions without further training: what was chosen on validation, "
        "and the scores on the test set."
    )
    return document.table("posthoc", caption, stored.table("posthoc"))


def _metrics(metrics: Mapping[str, float], section: str, caption: str) -> list[Block]:
    """Show the metrics of a section."""
    values = {
        name.removeprefix(section): value
        for name, value in sorted(metrics.items())
        if name.startswith(section)
    }
    columns: dict[str, list[Any]] = {
        "metric": list(map(document.words, values)),
        "value": list(values.values()),
    }
    return document.table(section.rstrip("/"), caption, columns)


def _costs(run: Run, stored: StoredRun) -> list[Block]:
    """Show the costs; those that no training changes are in metrics.json alone."""
    kept = stored.json("metrics.json")
    costs = {name: value for name, value in kept.items() if name.startswith("cost/")}
    costs |= {name: value for name, value in run.data.metrics.items() if name.startswith("cost/")}
    return _metrics(costs, "cost/", "What the model costs.")


def _add_figures(parts: dict[str, list[Block]], stored: StoredRun) -> None:
    """Add the run's figures to their sections."""
    known = {name for figures in _FIGURES.values() for name in figures}
    there = {
        path.removeprefix("figures/").removesuffix(".png"): path
        for path in sorted(stored.names("figures"))
        if path.endswith(".png")
    }
    for title, figures in _FIGURES.items():
        parts[title] += [
            Figure(name, caption, stored.content(there[name]))
            for name, caption in figures.items()
            if name in there
        ]
    parts["More pictures"] += [
        Figure(name, f"{document.words(name).capitalize()}.", stored.content(path))
        for name, path in there.items()
        if name not in known
    ]


def _curves(run: Run) -> list[Block]:
    """Draw the curves from the metrics, for a run without its own figure."""
    from imbalance_study.evaluation.figures import run as run_figures

    frame = history(run.info.run_id)
    shown = ("train/loss", "val/loss", "train/accuracy", "val/balanced_accuracy", "train/lr")
    names = [name for name in shown if name in frame]
    if not names:
        return [Paragraph("No epoch was recorded.")]
    best = run.data.metrics.get("selected_val/epoch")
    drawn = run_figures.training_curves(
        {name: frame[name].tolist() for name in names}, None if best is None else int(best)
    )
    caption = _FIGURES["Training"]["training_curves"]
    return [Figure("training_curves", caption, artifacts.png(drawn))]
