"""Frozen ImageNet backbones on all of CIFAR-10: what was reported, and ours.

    python benchmarks/frozen_backbones.py --data_dir DIR --seeds 1

The configurations of the suite frozen_backbones: 224 pixels, convolutions frozen, 20 % of the
training images for validation. A row whose weights cannot be had is 'not measured'.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import store
import tables

from imbalance_study.config import resolve
from imbalance_study.models import pretrained
from imbalance_study.studies.comparison.suites import SUITES


class Reported(NamedTuple):
    """Accuracy in percent, on which images, and seconds of training where they were told."""

    accuracy: str
    seconds: str


REPORTED = {
    "vgg16": Reported("67.60 on validation", "–"),
    "mobilenet_v2": Reported("78.71", "1,064"),
    "mobilenet_v3_large": Reported("84.37", "1,019"),
}
HEADER = (
    *("model", "reported accuracy, %", "reported seconds", "ours, validation %", "ours, test %"),
    "seconds of training",
)


def main(words: list[str]) -> int:
    options = store.parser(__doc__ or "", out="frozen_backbones.jsonl").parse_args(words)
    jobs, missing = [], []
    suite = SUITES["frozen_backbones"]
    for name, settings in suite.configurations.items():
        values = {"dataset": "cifar10"} | suite.shared | settings | store.given(options)
        try:
            pretrained.find(str(values["weights"]), name)
        except ValueError as error:
            missing.append(f"- {name} is not measured: {error}.")
            continue
        jobs += [
            store.Job(name, resolve.resolve(values | {"seed": seed}).config)
            for seed in range(options.seeds)
        ]
    rows = store.rows_for(jobs, options) if jobs else []
    text = [table(rows), "", *missing, tables.provenance(rows, "frozen_backbones.py", words)]
    tables.publish("\n".join(text), options.out)
    return 0


def table(rows: Sequence[store.Row]) -> str:
    """A line for each model, measured or not."""
    lines = []
    for name, reported in REPORTED.items():
        mine = [row for row in rows if row["name"] == name]
        ours = ["not measured"] * 3
        if mine:
            seconds = statistics.fmean(row["metrics"]["time/train_seconds"] for row in mine)
            ours = [
                tables.mean_and_deviation(tables.percents(mine, "selected_val/accuracy")),
                tables.mean_and_deviation(tables.percents(mine, "test/accuracy")),
                f"{seconds:.0f}",
            ]
        lines.append([name, *reported, *ours])
    return tables.markdown(HEADER, lines)


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
