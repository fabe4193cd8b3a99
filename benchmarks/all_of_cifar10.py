"""All of CIFAR-10: the two recipes for it, beside the result that they aim at.

    python benchmarks/all_of_cifar10.py --data_dir DIR --seeds 3

Meant for a GPU. Finished runs are kept (--out), and the same command goes on where it was stopped.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import store
import tables

from imbalance_study.config import resolve
from imbalance_study.config.recipes import RECIPES

NAMES = ("cifar10_resnet18", "cifar10_resnet18_plateau")
REPORTED = 90.71  # a course's ResNet-18 with plateau and early stopping, at epoch 49
HEADER = ("recipe", "reported, %", "ours, accuracy %", "epochs", "seeds", "seconds a run")


def main(words: list[str]) -> int:
    parser = store.parser(__doc__ or "", out="all_of_cifar10.jsonl")
    parser.add_argument("--recipes", default="|".join(NAMES), help="names, apart by |")
    options = parser.parse_args(words)
    names = options.recipes.split("|")
    for name in names:
        if name not in NAMES:
            raise ValueError(f"unknown recipe {name!r}; known: {', '.join(NAMES)}")
    rows = store.rows_for(jobs_of(names, options.seeds, store.given(options)), options)
    text = [table(rows), "", tables.provenance(rows, "all_of_cifar10.py", words)]
    tables.publish("\n".join(text), options.out)
    return 0


def jobs_of(names: Sequence[str], seeds: int, values: dict[str, Any]) -> list[store.Job]:
    """A run for each recipe and seed."""
    jobs = []
    for name in names:
        recipe = {"dataset": "cifar10", "model": RECIPES[name].model, "recipe": name}
        for seed in range(seeds):
            config = resolve.resolve(recipe | values | {"seed": seed}).config
            jobs.append(store.Job(name, config))
    return jobs


def table(rows: Sequence[store.Row]) -> str:
    """A line for each recipe: accuracy on the test set, of the epoch that its rule kept."""
    lines = []
    for name in NAMES:
        mine = [row for row in rows if row["name"] == name]
        if mine:
            epochs = {f"{row['metrics']['train/epochs']:.0f}" for row in mine}
            lines.append(
                [
                    name,
                    f"{REPORTED:.2f}",
                    tables.mean_and_deviation(tables.percents(mine, "test/accuracy")),
                    ", ".join(sorted(epochs)),
                    str(len(mine)),
                    f"{statistics.fmean(row['seconds'] for row in mine):.0f}",
                ]
            )
    return tables.markdown(HEADER, lines)


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
