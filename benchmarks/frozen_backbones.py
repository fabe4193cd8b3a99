"""Frozen ImageNet backbones on all of CIFAR-10: what was reported, and ours.

    python benchmarks/frozen_backbones.py --data_dir DIR --seeds 1 --weights mobilenet_v2=FILE

The configurations of the suite frozen_backbones, and efficientnet_lite0, whose weights come with
this package: 224 pixels, convolutions frozen, 20 % of the training images for validation. A row
whose weights cannot be had is 'not measured'. Killed, the same command goes on: finished runs are
in the file, and the features of the images are computed once, into the cache.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    "efficientnet_lite0": Reported("–", "–"),
}
HEADER = (
    *("model", "reported accuracy, %", "reported seconds", "ours, validation %", "ours, test %"),
    "seconds of training",
)


def main(words: list[str]) -> int:
    options = _options(words)
    jobs, missing = [], []
    for name, settings in _configurations(options).items():
        try:
            pretrained.find(str(settings["weights"]), name)
        except ValueError as error:
            missing.append(f"- {name} is not measured: {error}.")
            continue
        jobs += [
            store.Job(name, resolve.resolve(settings | {"seed": seed}).config)
            for seed in range(options.seeds)
        ]
    rows = store.rows_for(jobs, options) if jobs else []
    text = [table(rows), "", *missing, tables.provenance(rows, "frozen_backbones.py", words)]
    tables.publish("\n".join(text), options.out)
    return 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = store.parser(__doc__ or "", out="frozen_backbones.jsonl")
    parser.add_argument("--weights", action="append", default=[], metavar="MODEL=FILE",
                        help="a file of weights of one model; may be repeated")  # fmt: skip
    return parser.parse_args(words)


def _configurations(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the options of each row, by its name."""
    suite = SUITES["frozen_backbones"]
    packaged = {"model": "efficientnet_lite0", "head": suite.configurations["mobilenet_v2"]["head"]}
    files = dict(one.split("=", 1) for one in options.weights)
    unknown = files.keys() - REPORTED.keys()
    if unknown:
        raise ValueError(f"--weights names {min(unknown)}, which is none of {', '.join(REPORTED)}")
    rows = suite.configurations | {"efficientnet_lite0": packaged}
    return {
        name: {"dataset": "cifar10"}
        | suite.shared
        | settings
        | ({"weights": files[name]} if name in files else {})
        | store.given(options)
        for name, settings in rows.items()
    }


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
