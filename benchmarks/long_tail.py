"""Long-tailed CIFAR-10 at ratio 100 on a processor: eight methods at 30 epochs, three seeds.

    OMP_NUM_THREADS=1 python benchmarks/long_tail.py --data_dir DIR

ResNet-20 on images of 32 pixels, with the schedule of Cao et al. 2019 cut from 200 epochs to 30:
the rate falls after 80 and 90 % of them, deferred weights start after 80 %. The last epoch counts.
All methods have their first seed before any has its second. A finished run is a line in --out,
which lies beside the code: the same command goes on on any machine that has the same images, and
--summary prints the table of the finished runs.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import paper_table
import store
import tables

from imbalance_study.config import resolve

BASELINE = "cross_entropy"
METRIC = "test_last/balanced_accuracy"
# Data and model; what a paper's recipe says of another length; and what recipes may come to say.
SHORT: dict[str, Any] = {
    "dataset": "cifar10",
    "imbalance_ratio": 100,
    "image_size": 32,
    "model": "resnet20",
    "normalisation": "auto",
    "epochs": 30,
    "schedule": "step:milestones=0.8/0.9,gamma=0.01,warmup=1",
}

# Method: its recipe, and what is not the recipe's.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    BASELINE: ("paper_ce", {}),
    "balanced_softmax": ("paper_balanced_softmax", {}),
    "deferred_weights": ("paper_drw", {}),
    "ldam_drw": ("paper_ldam_drw", {}),
    "logit_adjusted": ("paper_balanced_softmax", {"loss": "logit_adjusted:tau=1.5"}),
    "mixup_drw": ("paper_mixup_drw", {}),
    "crt": ("paper_crt", {"stage2": "crt:epochs=2"}),
    "strong": ("strong", {"schedule": "cosine:warmup=1"}),
}
HEADER = (
    *("method", "accuracy of each seed, %", "mean", *tables.COMPARED, "rarest third, recall %"),
    *("reported at 200 epochs, ResNet-32, %", "minutes a run"),
)


def main(words: list[str]) -> int:
    parser = store.parser(__doc__ or "", out="results/long_tail_cifar10.jsonl")
    parser.add_argument("--methods", default="|".join(METHODS), help="names, apart by |")
    options = parser.parse_args(words)
    jobs = jobs_of(options.methods.split("|"), options)
    rows = store.rows_for(jobs, options)
    text = [
        table(rows),
        "",
        f"- {len(rows)} of {len(jobs)} runs are finished.",
        tables.provenance(rows, "long_tail.py", words),
    ]
    tables.publish("\n".join(text), options.out)
    return 0


def jobs_of(names: Sequence[str], options: argparse.Namespace) -> list[store.Job]:
    """A run for each seed and method, seed by seed.

    Raises:
        ValueError: A method that is none of the table's.
    """
    for name in names:
        if name not in METHODS:
            raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    jobs = []
    for seed in range(options.seeds):
        for name in names:
            recipe, other = METHODS[name]
            values = SHORT | {"recipe": recipe} | other | store.given(options) | {"seed": seed}
            jobs.append(store.Job(name, resolve.resolve(values).config))
    return jobs


def table(rows: Sequence[store.Row]) -> str:
    """A line for each method: its seeds, the paired test against cross-entropy, the reported.

    The test set is balanced, so that accuracy is balanced accuracy.
    """
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        values.setdefault(row["name"], {})[row["seed"]] = tables.percents([row], METRIC)[0]
    verdicts = tables.compared(values, BASELINE)
    lines = []
    for name in (name for name in METHODS if name in values):
        of = values[name]
        mine = [row for row in rows if row["name"] == name]
        lines.append(
            [
                name,
                ", ".join(f"{of[seed]:.2f}" for seed in sorted(of)),
                f"{statistics.fmean(of.values()):.2f}",
                *verdicts.get(name, ("",) * len(tables.COMPARED)),
                tables.mean_and_deviation(tables.percents(mine, "test/tail_recall")),
                reported(name),
                f"{statistics.fmean(row['seconds'] for row in mine) / 60:.0f}",
            ]
        )
    return tables.markdown(HEADER, lines)


def reported(name: str) -> str:
    """The published range of a method as `paper_table.py` has it; of other images and lengths."""
    recipe, other = METHODS[name]
    if name == "strong" or "loss" in other:
        return "–"
    return paper_table.reported_range(recipe)


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
