"""The table 'reported and ours': the recipes of the papers at ratio 100, `strong` at 100, 50, 10.

    python benchmarks/paper_table.py --data_dir DIR --parallel 4 --jpeg_copy

Meant for a GPU. Cross-entropy comes first. Finished runs are kept (--out), and the same command
goes on where it was stopped; --summary prints the table of what there is.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import store
import tables

from imbalance_study.config import resolve, spec
from imbalance_study.config.recipes import RECIPES


class Reported(NamedTuple):
    """Published test accuracy on CIFAR-10 at ratio 100, in percent."""

    low: float
    high: float
    source: str


POSTHOC = "paper_ce, post-hoc logit adjustment"
_TRICKS = "Bag of Tricks-LT code"
REPORTED = {
    "paper_ce": Reported(70.36, 71.95, f"Cao et al. 2019 quote 70.36, {_TRICKS} measures 71.95"),
    POSTHOC: Reported(77.3, 77.3, "Menon et al. 2021, tau 1"),
    "paper_sigmoid_focal": Reported(71.6, 71.6, _TRICKS),
    "paper_cb_softmax": Reported(70.5, 70.5, _TRICKS),
    "paper_cb_focal": Reported(75.2, 75.2, _TRICKS),
    "paper_drw": Reported(74.6, 75.1, f"{_TRICKS} 74.64; imbalanced-DL 75.08"),
    "paper_ldam_drw": Reported(
        77.0, 77.8, f"Cao et al. 2019 77.03; {_TRICKS} 77.73; imbalanced-DL 77.75"
    ),
    "paper_sam_drw": Reported(80.6, 80.6, "Rangwani et al. 2022"),
    "paper_sam_ldam_drw": Reported(81.9, 81.9, "Rangwani et al. 2022"),
    "paper_balanced_softmax": Reported(77.5, 77.5, _TRICKS),
    "paper_logit_adjusted": Reported(77.9, 77.9, "Menon et al. 2021"),
    "paper_mixup_drw": Reported(82.1, 82.1, "imbalanced-DL"),
    "paper_crt": Reported(75.0, 75.0, _TRICKS),
    "paper_mislas": Reported(82.5, 82.5, "Zhong et al. 2021"),
    "strong": Reported(
        89.58,
        89.58,
        "the best we know: GLMC + MaxNorm, README of Du et al. 2023 (87.75 in the paper), on a "
        "network of 7,438,164 parameters, 16 times those of ResNet-32",
    ),
}

HEADER = (
    *("recipe", "reported, %", "source", "ours, accuracy %", "balanced accuracy %"),
    *("ours − reported", "beyond the gap of cross-entropy", "seeds", "seconds a run"),
)

PAPERS = tuple(name for name in RECIPES if name.startswith("paper_"))
RATIOS = {"strong": (100, 50, 10)}


def main(words: list[str]) -> int:
    parser = store.parser(__doc__ or "", out="paper_table.jsonl")
    parser.add_argument(
        "--recipes", default="|".join([*PAPERS, "strong"]), help="names, apart by |"
    )
    parser.add_argument("--ratios", default="100|50|10", help="of strong, apart by |")
    parser.add_argument("--jpeg_copy", action="store_true",
                        help="say in the table that the images are a JPEG copy")  # fmt: skip
    options = parser.parse_args(words)
    jobs = jobs_of(options.recipes.split("|"), options.seeds, store.given(options), options.epochs)
    wanted = {f"strong, ratio {ratio}" for ratio in options.ratios.split("|")}
    if not wanted <= {f"strong, ratio {ratio}" for ratio in RATIOS["strong"]}:
        raise ValueError(f"ratios must be some of 100|50|10, got {options.ratios}")
    jobs = [job for job in jobs if job.name in wanted or not job.name.startswith("strong")]
    rows = store.rows_for(jobs, options)
    text = [table(rows, [job.name for job in jobs]), "", *notes(rows, options)]
    text.append(tables.provenance(rows, "paper_table.py", words))
    tables.publish("\n".join(text), options.out)
    return 0


def jobs_of(
    names: Sequence[str], seeds: int, values: dict[str, Any], budget: int
) -> list[store.Job]:
    """A run for each recipe, ratio and seed; cross-entropy first.

    Raises:
        ValueError: A recipe that is none of the table's.
    """
    known = (*PAPERS, "strong")
    for name in names:
        if name not in known:
            raise ValueError(f"unknown recipe {name!r}; known: {', '.join(known)}")
    jobs = []
    for name in sorted(names, key=lambda name: name != "paper_ce"):
        recipe = {"dataset": "cifar10", "model": RECIPES[name].model, "recipe": name}
        recipe |= shortened(RECIPES[name].options, budget)
        for ratio in RATIOS.get(name, (100,)):
            title = f"{name}, ratio {ratio}" if name in RATIOS else name
            settings = recipe | {"imbalance_ratio": ratio} | values
            jobs += [
                store.Job(title, resolve.resolve(settings | {"seed": seed}).config)
                for seed in range(seeds)
            ]
    return jobs


def shortened(settings: dict[str, Any], budget: int) -> dict[str, str]:
    """The second stage of a recipe with no more epochs than the budget allows (0: any)."""
    stage = spec.parse(settings.get("stage2", "none"))
    if not budget or stage.name == "none":
        return {}
    epochs = min(budget, int(stage.options["epochs"]))
    return {"stage2": str(stage._replace(options={**stage.options, "epochs": str(epochs)}))}


def table(rows: Sequence[store.Row], names: Sequence[str]) -> str:
    """A line for each recipe, in the order of the runs."""
    gap = difference("paper_ce", rows)
    lines = []
    for name in titles(names):
        mine, metric = measured(name, rows)
        reported = _reported(name)
        apart = difference(name, rows)
        beyond = None
        if gap is not None and apart is not None and name != "paper_ce":
            beyond = None if name.startswith("strong") else apart - gap
        lines.append(
            [
                name,
                reported_range(name),
                "–" if reported is None else reported.source,
                tables.mean_and_deviation(tables.percents(mine, f"{metric}accuracy")),
                tables.mean_and_deviation(tables.percents(mine, f"{metric}balanced_accuracy")),
                _signed(apart),
                _signed(beyond),
                str(len(mine)),
                f"{statistics.fmean(row['seconds'] for row in mine):.0f}" if mine else "–",
            ]
        )
    return tables.markdown(HEADER, lines)


def titles(names: Sequence[str]) -> list[str]:
    """Each name once, and behind cross-entropy what can be had of its runs without training."""
    found = list(dict.fromkeys(names))
    if "paper_ce" in found:
        found.insert(found.index("paper_ce") + 1, POSTHOC)
    return found


def measured(name: str, rows: Sequence[store.Row]) -> tuple[list[store.Row], str]:
    """The rows that a line is made of, and how their metrics begin."""
    source, prefix = ("paper_ce", "posthoc/tau1_") if name == POSTHOC else (name, "test_last/")
    mine = [row for row in rows if row["name"] == source]
    return [row for row in mine if f"{prefix}accuracy" in row["metrics"]], prefix


def difference(name: str, rows: Sequence[store.Row]) -> float | None:
    """Our mean accuracy minus the nearer end of the reported range, 0 inside it; in points."""
    reported = _reported(name)
    mine, metric = measured(name, rows)
    if reported is None or not mine:
        return None
    mean = statistics.fmean(tables.percents(mine, f"{metric}accuracy"))
    return mean - min(max(mean, reported.low), reported.high)


def notes(rows: Sequence[store.Row], options: Any) -> list[str]:
    """What a reader of the table must know."""
    lines = [
        "- Last epoch on the test set, mean ± standard deviation over the seeds; 'ours − reported' "
        "is 0 inside the reported range."
    ]
    if options.jpeg_copy:
        gap = difference("paper_ce", rows)
        size = "not measured" if gap is None else f"{gap:+.2f} points"
        lines.append(
            "- The images are a JPEG copy of CIFAR-10. Plain cross-entropy shows what that and all "
            f"else in this code costs: its gap to the reported range is {size}."
        )
    if options.epochs:
        lines.append(f"- Not the recipes' training but epochs={options.epochs}: a trial.")
    if options.model:
        lines.append(f"- Not the papers' model but {options.model}.")
    if options.set:
        lines.append(f"- With {' '.join(options.set)}.")
    return lines


def _reported(name: str) -> Reported | None:
    return REPORTED.get(name.removesuffix(", ratio 100"))


def reported_range(name: str) -> str:
    """The published accuracy of a recipe, in percent."""
    reported = _reported(name)
    return "–" if reported is None else _range(reported)


def _range(reported: Reported) -> str:
    low, high = f"{reported.low:.1f}", f"{reported.high:.1f}"
    return low if low == high else f"{low} to {high}"


def _signed(points: float | None) -> str:
    return "" if points is None else f"{points:+.2f}"


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
