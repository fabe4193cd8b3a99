"""Is the learning rate that the range test suggests near the best of a grid?

    python benchmarks/lr_grid.py --data_dir DIR

Long-tailed CIFAR-10 at 16 pixels, a few hundred updates, for two models and two optimizers. The
grid rises by a factor of about 3; the best rate is the one with the highest balanced accuracy on
validation, mean over the seeds. Finished runs are kept (--out), and the same command goes on where
it was stopped.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import store
import tables

from imbalance_study.config import resolve
from imbalance_study.experiment import auto_lr

SETTINGS: dict[str, Any] = {
    "dataset": "cifar10",
    "image_size": 16,
    "imbalance_ratio": 10,
    "validation": "balanced:per_class=100",
    "select_by": "last",
    "augment": "crop+flip",
    "epochs": 4,
    "steps_per_epoch": 75,
    "batch_size": 64,
    "schedule": "cosine:warmup=0.5",
}
GRID = {
    "sgd": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    "adamw": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
}
# The second has twenty times the weights, and a quarter of the images to see.
MODELS: dict[str, dict[str, Any]] = {
    "resnet20": {},
    "custom_cnn": {"batch_size": 32, "epochs": 2},
}
HEADER = (
    *("model", "optimizer", "validation balanced accuracy at each lr, %", "best", "suggested"),
    *("factor", "within 3"),
)


def main(words: list[str]) -> int:
    parser = store.parser(__doc__ or "", out="lr_grid.jsonl")
    parser.add_argument("--optimizers", default="sgd|adamw", help="names, apart by |")
    parser.set_defaults(seeds=1)
    options = parser.parse_args(words)
    optimizers = options.optimizers.split("|")
    for name in optimizers:
        if name not in GRID:
            raise ValueError(f"unknown optimizer {name!r}; known: {', '.join(GRID)}")
    values = store.given(options)
    models = [options.model] if options.model else list(MODELS)
    cases = [(model, optimizer) for model in models for optimizer in optimizers]
    jobs = [
        store.Job(
            title(*case), resolve.resolve(settings(values, *case) | {"lr": lr, "seed": seed}).config
        )
        for case in cases
        for lr in GRID[case[1]]
        for seed in range(options.seeds)
    ]
    rows = store.rows_for(jobs, options)
    lines = [line(case, rows, suggestion(settings(values, *case))) for case in cases]
    text = tables.markdown(HEADER, lines) + "\n\n" + tables.provenance(rows, "lr_grid.py", words)
    tables.publish(text, options.out)
    return 0


def title(model: str, optimizer: str) -> str:
    return f"{model}, {optimizer}"


def settings(values: dict[str, Any], model: str, optimizer: str) -> dict[str, Any]:
    return SETTINGS | MODELS.get(model, {}) | values | {"model": model, "optimizer": optimizer}


def suggestion(values: dict[str, Any]) -> float:
    """What the range test says."""
    return auto_lr.find(resolve.resolve(values | {"lr": "auto"}).config).suggestion


def line(case: tuple[str, str], rows: Sequence[store.Row], suggested: float) -> list[str]:
    """A model and an optimizer: the grid, its best, and how far the suggestion is from it."""
    mine = [row for row in rows if row["name"] == title(*case)]
    found = {
        lr: statistics.fmean(
            tables.percents(
                [row for row in mine if row["config"]["lr"] == lr], "selected_val/balanced_accuracy"
            )
        )
        for lr in dict.fromkeys(row["config"]["lr"] for row in mine)
    }
    best = max(found, key=lambda lr: found[lr])
    factor = max(best / suggested, suggested / best)
    return [
        *case,
        ", ".join(f"{lr:g}: {value:.1f}" for lr, value in found.items()),
        f"{best:g}",
        f"{suggested:g}",
        f"{factor:.1f}",
        "yes" if factor <= 3 else "no",
    ]


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
