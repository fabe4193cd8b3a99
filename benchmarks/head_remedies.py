"""Thirteen remedies for the head on features that are computed once, and the cost without that.

    python benchmarks/head_remedies.py --data_dir DIR --set dataset=flowers \\
        --set imbalance=exponential:ratio=50 --seeds 10

Trains one head, so that the features are there; then `compare --suite head_remedies` by the clock;
then some updates on images, from which follows what the same comparison takes when the frozen
network runs for every image of every epoch. A comparison that was stopped goes on, and its seconds
are then those of the rest.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import store
import tables

from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config
from imbalance_study.experiment import estimates
from imbalance_study.experiment.result import RunResult
from imbalance_study.experiment.run import run
from imbalance_study.studies.comparison import text
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.comparison.run import compare
from imbalance_study.studies.comparison.suites import SUITES

SUITE = "head_remedies"
METRIC = "test/balanced_accuracy"
# Updates on images that are timed.
UPDATES = 4


class OnImages(NamedTuple):
    """The cost of the comparison when the frozen network runs in every epoch."""

    update: float  # seconds
    prediction: float  # seconds of an image
    all: float  # seconds of the comparison


def main(words: list[str]) -> int:
    parser = store.parser(__doc__ or "", out="head_remedies.jsonl")
    parser.set_defaults(seeds=10)
    options = parser.parse_args(words)
    given = {"dataset": "cifar10", "image_size": 224, "validation": "balanced:per_class=50"}
    given |= SUITES[SUITE].shared | store.given(options)
    first = _run(make(**given))
    given["analyses"] = "predictions"
    begun = time.perf_counter()
    settings = ComparisonSettings(suite=SUITE, seeds=options.seeds, parallel=options.parallel)
    comparison = compare(settings, {key: str(value) for key, value in given.items()})
    seconds = time.perf_counter() - begun
    if comparison is None:
        raise ValueError("the comparison has no result")
    runs = len(SUITES[SUITE].configurations) * options.seeds
    on_images = cost_on_images(make(**given), runs)
    page = [table(comparison), "", *costs(first, seconds, runs, on_images), ""]
    row = {"hardware": store.hardware(first.facts.device), "versions": store.versions()}
    row |= {"data": first.facts.digest, "parallel": options.parallel}
    row["finished"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    page.append(tables.provenance([row], "head_remedies.py", words))
    tables.publish("\n".join(page), options.out)
    return 0


def _run(config: Config, **changes: Any) -> RunResult:
    with tempfile.TemporaryDirectory() as folder:
        return run(
            dataclasses.replace(config, **changes),
            output_dir=Path(folder),
            show_progress=False,
            draw=False,
        )


def cost_on_images(config: Config, runs: int) -> OnImages:
    """Time updates and predictions on images, and multiply."""
    short = {"space": "pixels", "epochs": 1, "steps_per_epoch": UPDATES, "auto_precision": False}
    found = _run(config, **short | {"analyses": "none"})
    parts = found.facts.images
    update = found.history[0].metrics["time/epoch_seconds"] / UPDATES
    prediction = estimates.of_pass(
        found.setup, found.model, found.procedure, found.setup.parts.train
    )
    updates = math.ceil(parts["train"] / int(config.batch_size)) * config.epochs
    predicted = (config.epochs + 1) * parts["val"] + parts["test"]
    of_run = updates * update + predicted * prediction
    return OnImages(update, prediction, runs * of_run)


def table(comparison: Comparison) -> str:
    """The table that the comparison records, by its own rule."""
    head, *body = text.table_rows(comparison, METRIC)
    return tables.markdown(head, body)


def costs(first: RunResult, seconds: float, runs: int, on_images: OnImages) -> list[str]:
    """Sentences about the seconds."""
    record, images = first.facts.features or {}, sum(first.facts.images.values())
    passed = f"{images:,} images passed the network once, in {record['seconds']:.0f} s."
    if record["read"]:
        passed = f"The features of {images:,} images were in the cache."
    return [
        f"{passed} The {runs} runs of the comparison took {seconds:.0f} s in all, "
        f"{seconds / runs:.2f} s each. On images an update takes {on_images.update:.2f} s and a "
        f"prediction {1000 * on_images.prediction:.0f} ms, so that the comparison would take about "
        f"{on_images.all / 3600:.1f} h: {on_images.all / seconds:.0f} times as long."
    ]


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
