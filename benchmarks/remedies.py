"""What remedies change on the real long-tailed CIFAR-10, on a processor: paired with plain
cross-entropy, at equal updates.

    python benchmarks/remedies.py --data_dir DIR --parallel 2

A small network on images of 24 pixels, ratio 100, no validation, so that nothing is chosen and the
last epoch counts. The runs of a seed share initial weights, images and order. Finished runs are
kept (--out), and the same command goes on where it was stopped.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import store
import tables

from imbalance_study.config import resolve

BASELINE = "cross_entropy"

# Logit adjustment with tau 1 is balanced softmax; it is run with a tau of its own.
REMEDIES: dict[str, dict[str, Any]] = {
    BASELINE: {"loss": "cross_entropy"},
    "balanced_softmax": {"loss": "balanced_softmax"},
    "logit_adjusted": {"loss": "logit_adjusted:tau=1.5"},
    "ldam_drw": {
        "loss": "ldam:max_m=0.5,s=30",
        "class_weights": "effective:beta=0.9999",
        "defer": 0.8,
    },
}

HEADER = (
    *("remedy", "balanced accuracy of each seed, %", *tables.COMPARED, "updates"),
    "seconds a run",
)

SETTINGS: dict[str, Any] = {
    "dataset": "cifar10",
    "imbalance_ratio": 100,
    "image_size": 24,
    "validation": "none",
    "select_by": "last",
    "model": "resnet20",
    "augment": "crop+flip",
    "epochs": 10,
    "steps_per_epoch": 150,
    "batch_size": 64,
    "optimizer": "sgd:momentum=0.9,nesterov=true",
    "lr": 0.1,
    "weight_decay": 5e-4,
    "schedule": "cosine:warmup=1",
}


def main(words: list[str]) -> int:
    options = store.parser(__doc__ or "", out="remedies.jsonl").parse_args(words)
    values = SETTINGS | store.given(options)
    jobs = [
        store.Job(name, resolve.resolve(values | remedy | {"seed": seed}).config)
        for seed in range(options.seeds)
        for name, remedy in REMEDIES.items()
    ]
    rows = store.rows_for(jobs, options)
    tables.publish(
        table(rows) + "\n\n" + tables.provenance(rows, "remedies.py", words), options.out
    )
    return 0


def table(rows: Sequence[store.Row]) -> str:
    """Balanced accuracy of each remedy, and its paired difference to cross-entropy."""
    values = {
        name: {row["seed"]: balanced(row) for row in rows if row["name"] == name}
        for name in REMEDIES
    }
    values = {name: of for name, of in values.items() if of}
    verdicts = tables.compared(values, BASELINE)
    lines = []
    for name, of in values.items():
        mine = [row for row in rows if row["name"] == name]
        lines.append(
            [
                name,
                ", ".join(f"{value:.2f}" for value in of.values()),
                *verdicts.get(name, ("",) * len(tables.COMPARED)),
                f"{statistics.fmean(row['metrics']['train/steps'] for row in mine):.0f}",
                f"{statistics.fmean(row['seconds'] for row in mine):.0f}",
            ]
        )
    return tables.markdown(HEADER, lines)


def balanced(row: store.Row) -> float:
    """Test balanced accuracy of the last epoch, in percent."""
    return tables.percents([row], "test_last/balanced_accuracy")[0]


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
