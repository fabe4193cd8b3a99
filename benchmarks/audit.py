"""Audit of the claims of comparisons: false claims, power, coverage, and the choice by validation.

    OMP_NUM_THREADS=1 python benchmarks/audit.py --out audit.jsonl      about 5 minutes on a core

Trained: --pool runs (seeds 0, 1, ...) of each of two configurations, a small network on long-tailed
digits, which differ in the loss alone. They are kept in --out, and the same command goes on.
Resampled: comparisons. One draws seeds from the pool without replacement, and
`studies.comparison.analyse.compare_outcomes` judges it, which judges every comparison of the
product.

- Equal: all configurations are the first one under other labels, each with seeds of its own. Every
  claim is false.
- Planted: one configuration is the second one, with the baseline's seeds; the truth is the mean
  paired difference of the whole pool. The others are equal to the baseline.

Two other rules are judged beside it: that of many papers (a mean above the baseline's mean plus its
standard deviation, each run at the epoch that is best on the images that it reports on: here the
validation images) and twice the standard error of the paired difference.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import store
import tables
import torch
from torch import nn

from imbalance_study.config import resolve
from imbalance_study.config.schema import Config
from imbalance_study.experiment.run import run
from imbalance_study.studies.comparison import differences
from imbalance_study.studies.comparison.analyse import compare_outcomes
from imbalance_study.studies.comparison.outcome import Comparison, Outcome

METRIC = "test/balanced_accuracy"
VALIDATION = "selected_val/balanced_accuracy"
KEPT = (METRIC, VALIDATION, "test/tail_recall", "test/head_recall", "test/macro_f1")
SETTINGS: dict[str, Any] = {
    "dataset": "digits",
    "image_size": 8,
    "imbalance_ratio": 20,
    "validation": "balanced:per_class=20",
    "model": "audit:small",
    "augment": "none",
    "epochs": 6,
    "steps_per_epoch": 10,
    "batch_size": 64,
    "optimizer": "sgd:momentum=0.9",
    "lr": 0.05,
    "schedule": "constant",
    "select_by": "val/balanced_accuracy",
    "analyses": "none",
    "device": "cpu",
}
BASE, OTHER = "baseline", "planted"
LOSSES = {BASE: "cross_entropy", OTHER: "logit_adjusted:tau=0.5"}
CONFIGURATIONS, SEEDS = (2, 4, 8), (3, 5, 10)


def small(num_classes: int, *, image_size: int) -> nn.Module:
    """Make a network of one hidden layer: a run of it takes a fraction of a second."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * image_size**2, 32), nn.ReLU(), nn.Linear(32, num_classes)
    )


def settled(name: str, seed: int) -> Config:
    """The options of a run of the pool."""
    return resolve.resolve(SETTINGS | {"loss": LOSSES[name], "seed": seed}).config


def trained(name: str, seed: int) -> store.Row:
    """Train a run of the pool: its metrics, and validation after each epoch."""
    config, curve = settled(name, seed), []

    def follow(result: Any) -> None:
        if "val/balanced_accuracy" in result.metrics:
            curve.append(result.metrics["val/balanced_accuracy"])

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = run(config, follow, output_dir=Path(folder), show_progress=False, draw=False)
    return {
        "knobs": store.options_of(config),
        "name": name,
        "seed": seed,
        "metrics": {metric: found.metrics[metric] for metric in KEPT},
        "curve": curve,
        "seconds": time.perf_counter() - begun,
        "threads": torch.get_num_threads(),
    }


def pool_of(size: int, path: Path) -> dict[str, list[store.Row]]:
    """The runs of each configuration by seed, after training those that are missing."""
    known = {row["knobs"]: row for row in store.read(path)}
    pools: dict[str, list[store.Row]] = {name: [] for name in LOSSES}
    for seed in range(size):
        for name, pool in pools.items():
            key = store.options_of(settled(name, seed))
            if key not in known:
                known[key] = trained(name, seed)
                store.append(path, known[key])
            pool.append(known[key])
    return pools


def outcome(row: store.Row, label: str, number: int) -> Outcome:
    """A run of the pool as a run of a comparison, under another label and seed number."""
    return Outcome(
        run_id=f"{label}-{number}",
        configuration=label,
        seed=number,
        metrics=row["metrics"],
        curves={},
        class_names=("0", "1", "2"),
        train_counts=np.array([3, 2, 1]),
        fingerprint="same",
        epochs=SETTINGS["epochs"],
        images_seen=1,
        steps=1,
    )


class Drawn(NamedTuple):
    """A comparison that was drawn: label to its rows of the pool, the baseline first."""

    rows: dict[str, list[store.Row]]
    truth: dict[str, float]  # of the difference to the baseline, of each label but the first


def draw(
    pools: dict[str, list[store.Row]],
    configurations: int,
    seeds: int,
    generator: np.random.Generator,
    *,
    planted: bool,
) -> Drawn:
    """Draw a comparison; its rows of the first pool are all different runs."""
    base, other = pools[BASE], pools[OTHER]
    groups = configurations - planted
    picked = generator.permutation(len(base))[: groups * seeds].reshape(groups, seeds)
    labels = [BASE, *(f"equal {number}" for number in range(1, groups))]
    rows = {label: [base[index] for index in of] for label, of in zip(labels, picked, strict=True)}
    truth = dict.fromkeys(labels[1:], 0.0)
    if planted:
        rows[OTHER] = [other[index] for index in picked[0]]
        truth[OTHER] = statistics.fmean(paired(pools))
    return Drawn(rows, truth)


def paired(pools: dict[str, list[store.Row]]) -> list[float]:
    """The difference of the two configurations at each seed."""
    return [
        ours["metrics"][METRIC] - theirs["metrics"][METRIC]
        for ours, theirs in zip(pools[OTHER], pools[BASE], strict=True)
    ]


def judged(drawn: Drawn) -> Comparison:
    """Let the product judge a comparison."""
    outcomes = [
        outcome(row, label, number)
        for label, rows in drawn.rows.items()
        for number, row in enumerate(rows)
    ]
    return compare_outcomes(outcomes, baseline=BASE, metric=METRIC, draw=False)


class Judged(NamedTuple):
    """Claims that a comparison made."""

    false: bool  # of a configuration that is equal to the baseline, or of its rarest third
    shown: bool  # the planted difference
    covered: list[bool]  # whether each interval of a difference holds the truth
    chosen: bool  # validation chooses the planted configuration
    papers: tuple[bool, bool]  # the papers' rule: a false claim, the planted difference
    twice: tuple[bool, bool]  # twice the standard error: the same


def judge(drawn: Drawn) -> Judged:
    """Judge a comparison by the product and by the other two rules."""
    found = judged(drawn)
    summary = found.tables["comparison/summary"]
    at = {name: index for index, name in enumerate(summary["configuration"])}
    claims = {
        name
        for name in drawn.truth
        if summary["verdict"][at[name]] in (differences.BETTER, differences.WORSE)
    }
    claims |= {
        name
        for name in drawn.truth
        for text in found.findings
        if text.startswith(f"The rarest third of the classes gains most with {name} ")
    }
    low, high = summary["difference_low_95"], summary["difference_high_95"]
    covered = [
        bool(low[at[name]] <= truth <= high[at[name]]) for name, truth in drawn.truth.items()
    ]
    best = found.tables["comparison/best_by_metric"]
    chosen = best["configuration"][best["metric"].index(METRIC)] == OTHER
    papers, twice = papers_claim(drawn), twice_the_error(drawn)
    return Judged(
        bool(claims - {OTHER}),
        summary["verdict"][at[OTHER]] == differences.BETTER if OTHER in at else False,
        covered,
        chosen,
        (bool(papers - {OTHER}), OTHER in papers),
        (bool(twice - {OTHER}), OTHER in twice),
    )


def papers_claim(drawn: Drawn) -> set[str]:
    """Names that beat the baseline's mean by its deviation, all at their best epoch."""
    best = {name: [max(row["curve"]) for row in rows] for name, rows in drawn.rows.items()}
    bar = statistics.fmean(best[BASE]) + statistics.stdev(best[BASE])
    return {name for name in drawn.truth if statistics.fmean(best[name]) > bar}


def twice_the_error(drawn: Drawn) -> set[str]:
    """Names whose mean paired difference exceeds twice its standard error."""
    values = {
        name: np.array([row["metrics"][METRIC] for row in rows])
        for name, rows in drawn.rows.items()
    }
    found = set()
    for name in drawn.truth:
        apart = values[name] - values[BASE]
        if abs(apart.mean()) > 2 * apart.std(ddof=1) / math.sqrt(len(apart)):
            found.add(name)
    return found


HEADER = (
    *("configurations", "seeds", "false claims", "papers' rule", "twice the error"),
    *("interval of the difference holds it", "power", "papers' rule", "twice the error"),
    *("false beside it", "its interval holds it", "validation chooses it"),
)


def lines(pools: dict[str, list[store.Row]], equal: int, planted: int) -> Iterator[list[str]]:
    """Make the rows of the table: number of configurations and seeds, rates in percent."""
    generator = np.random.default_rng(0)
    for configurations in CONFIGURATIONS:
        for seeds in SEEDS:
            none, some = (
                [
                    judge(draw(pools, configurations, seeds, generator, planted=with_one))
                    for _ in range(count)
                ]
                for with_one, count in ((False, equal), (True, planted))
            )
            yield [
                str(configurations),
                str(seeds),
                with_error([one.false for one in none]),
                rate([one.papers[0] for one in none]),
                rate([one.twice[0] for one in none]),
                rate([held for one in none for held in one.covered]),
                rate([one.shown for one in some]),
                rate([one.papers[1] for one in some]),
                rate([one.twice[1] for one in some]),
                rate([one.false for one in some]),
                rate([one.covered[-1] for one in some]),
                rate([one.chosen for one in some]),
            ]


def rate(found: Sequence[bool]) -> str:
    """Write a share in percent."""
    return f"{100 * statistics.fmean(found):.1f}"


def with_error(found: Sequence[bool]) -> str:
    """Write a share in percent with its standard error."""
    share = statistics.fmean(found)
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / len(found)):.1f}"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Audit of the claims of comparisons.")
    parser.add_argument("--out", type=Path, default=Path("audit.jsonl"), help="the pool of runs")
    parser.add_argument("--pool", type=int, default=240, help="runs of each configuration")
    parser.add_argument("--equal", type=int, default=400, help="comparisons of equals, in each row")
    parser.add_argument("--planted", type=int, default=200, help="with a difference, in each row")
    options = parser.parse_args(words)
    if options.pool < max(CONFIGURATIONS) * max(SEEDS):
        least = max(CONFIGURATIONS) * max(SEEDS)
        raise ValueError(f"pool must be at least {least}, got {options.pool}")
    pools = pool_of(options.pool, options.out)
    apart = paired(pools)
    size = statistics.fmean(apart) / statistics.stdev(apart)
    seconds = statistics.fmean(row["seconds"] for pool in pools.values() for row in pool)
    note = (
        f"- The planted difference is {100 * statistics.fmean(apart):.2f} points of balanced "
        f"accuracy, {size:.2f} standard deviations of the paired difference.\n"
        f"- {len(apart)} trained runs of each configuration, {seconds:.2f} s a run; "
        f"{options.equal} comparisons of equals and {options.planted} with the planted difference "
        "in each row.\n"
        f"- Hardware: {store.hardware('cpu')}; {store.versions()}"
    )
    print(note, flush=True)
    found = list(lines(pools, options.equal, options.planted))
    tables.publish("\n".join([tables.markdown(HEADER, found), "", note]), options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(store.guarded(main))
