"""The halved CIFAR-10: three classes with half the images, and what balancing and a decoder change.

    python benchmarks/halved.py --data_dir DIR --seeds 1 --jpeg_copy

Truck, bird and deer have 2,450 training images, the others 4,900; 100 validation images a class are
cut before, the test set has 1,000 a class. The first five rows are a U-Net with its decoder (the
last of them is also the sixth), the last four a decoder against none. Meant for a GPU; --budget
runs all rows for so many updates. Finished runs are kept (--out), and the same
command goes on where it was stopped.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import store
import tables

from imbalance_study.config import resolve

_EFFECTIVE = "effective:beta=0.9999"
_MOBILENET = {"model": "mobilenet_v2_autoencoder", "stem": "small", "autoencoder": "joint"}
_UNET = {"model": "unet", "autoencoder": "joint"}


class Line(NamedTuple):
    """A row of the table."""

    reported: float  # macro F1, percent
    settings: dict[str, Any]


_CB_SIGMOID = {"loss": "sigmoid", "class_weights": _EFFECTIVE}
UNBALANCED = "without balancing"
LINES = {
    UNBALANCED: Line(86.53, {**_UNET, "loss": "cross_entropy"}),
    "oversampling": Line(83.92, {**_UNET, "sampler": "class_balanced"}),
    "class-balanced focal": Line(
        84.19, {**_UNET, "loss": "sigmoid_focal:gamma=2", "class_weights": _EFFECTIVE}
    ),
    "class-balanced softmax": Line(86.71, {**_UNET, "class_weights": _EFFECTIVE}),
    "class-balanced sigmoid": Line(87.48, {**_UNET, **_CB_SIGMOID}),
    "U-Net, joint": Line(87.48, {**_UNET, **_CB_SIGMOID}),
    "U-Net, classifier only": Line(87.03, {**_UNET, **_CB_SIGMOID, "autoencoder": "off"}),
    "MobileNetV2, joint": Line(87.43, {**_MOBILENET, **_CB_SIGMOID}),
    "MobileNetV2, classifier only": Line(
        86.93, {**_MOBILENET, **_CB_SIGMOID, "autoencoder": "off"}
    ),
}
HEADER = (
    *("row", "reported macro F1, %", "ours, macro F1 %", "ours − reported"),
    *("beyond the gap of the unbalanced row", "accuracy %", "seeds", "seconds a run"),
)


def main(words: list[str]) -> int:
    parser = store.parser(__doc__ or "", out="halved.jsonl")
    parser.add_argument("--budget", type=int, default=0,
                        help="updates of each run, on images of 16 px; 0: all")  # fmt: skip
    parser.add_argument("--rows", default="|".join(LINES), help="names of rows, apart by |")
    parser.add_argument("--jpeg_copy", action="store_true",
                        help="say in the table that the images are a JPEG copy")  # fmt: skip
    options = parser.parse_args(words)
    jobs = jobs_of(options.seeds, store.given(options), options.budget)
    wanted = options.rows.split("|")
    for name in wanted:
        if name not in LINES:
            raise ValueError(f"unknown row {name!r}; known: {', '.join(LINES)}")
    jobs = [job for job in jobs if job.name in wanted]
    rows = store.rows_for(jobs, options)
    text = [table(rows), "", *notes(rows, options), tables.provenance(rows, "halved.py", words)]
    tables.publish("\n".join(text), options.out)
    return 0


def jobs_of(seeds: int, values: dict[str, Any], budget: int) -> list[store.Job]:
    """A run for each row and seed; two rows may be the same run, which is then run once."""
    if budget < 0:
        raise ValueError(f"budget must be at least 0, got {budget}")
    common: dict[str, Any] = {"dataset": "cifar10", "recipe": "halved_cifar10"}
    if budget:
        common |= {"steps_per_epoch": budget, "epochs": 1, "image_size": 16, "batch_size": 32}
    return [
        store.Job(name, resolve.resolve(common | line.settings | values | {"seed": seed}).config)
        for name, line in LINES.items()
        for seed in range(seeds)
    ]


def table(rows: Sequence[store.Row]) -> str:
    """A line for each row that has been run."""
    gap = difference(UNBALANCED, rows)
    lines = []
    for name, line in LINES.items():
        mine = [row for row in rows if row["name"] == name]
        apart = difference(name, rows)
        beyond = None if gap is None or apart is None or name == UNBALANCED else apart - gap
        lines.append(
            [
                name,
                f"{line.reported:.2f}",
                tables.mean_and_deviation(tables.percents(mine, "test/macro_f1")),
                "" if apart is None else f"{apart:+.2f}",
                "" if beyond is None else f"{beyond:+.2f}",
                tables.mean_and_deviation(tables.percents(mine, "test/accuracy")),
                str(len(mine)),
                f"{statistics.fmean(row['seconds'] for row in mine):.0f}" if mine else "–",
            ]
        )
    return tables.markdown(HEADER, lines)


def difference(name: str, rows: Sequence[store.Row]) -> float | None:
    """Our mean macro F1 minus the reported one, in points."""
    mine = [row for row in rows if row["name"] == name]
    if not mine:
        return None
    return statistics.fmean(tables.percents(mine, "test/macro_f1")) - LINES[name].reported


def notes(rows: Sequence[store.Row], options: Any) -> list[str]:
    """What a reader of the table must know."""
    lines = ["- The epoch that validation chose, on the test set; mean ± standard deviation."]
    if options.jpeg_copy:
        gap = difference(UNBALANCED, rows)
        size = "not measured" if gap is None else f"{gap:+.2f} points"
        lines.append(
            "- The images are a JPEG copy of CIFAR-10. The unbalanced row shows what that and all "
            f"else in this code costs: its gap to the reported one is {size}."
        )
    if options.budget:
        lines.append(
            f"- Not the recipe's training but {options.budget} updates of 32 images of 16 pixels: "
            "a trial."
        )
    if options.set:
        lines.append(f"- With {' '.join(options.set)}.")
    return lines


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
