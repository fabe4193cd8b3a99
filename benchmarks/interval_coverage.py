"""Coverage of the 95 % intervals of a run: how often they hold the truth, by simulation.

For each kind of test set and each pattern of recalls the truth is known; test sets are drawn from
it, and the intervals of the product are compared with a plain stratified bootstrap, which it had
before.

python benchmarks/interval_coverage.py --out coverage.md            about 25 minutes on one core
python benchmarks/interval_coverage.py --test_sets 50               a quick look
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from imbalance_study.evaluation import bootstrap, intervals, metrics
from imbalance_study.evaluation.bootstrap import Interval

TEST_SETS = {
    "10 x 1000": (1000,) * 10,
    "10 x 36": (36,) * 10,
    "100/60/30/15/8/4": (100, 60, 30, 15, 8, 4),
    "100/30/10/2": (100, 30, 10, 2),
    "long-tailed 500..5": (500, 300, 180, 108, 65, 39, 23, 14, 8, 5),
    "binary 50/5": (50, 5),
}
RECALLS = ("easy", "hard", "equal", "nearly all right")
METRICS = (
    *("accuracy", "balanced_accuracy", "macro_f1", "head_recall", "medium_recall"),
    *("tail_recall", "worst_recall", "macro_precision", "g_mean"),
)
LOWEST, HIGHEST = 0.92, 0.98  # coverage that is asked for
RESAMPLES = 300

Found = dict[str, dict[str, tuple[float, float]]]


def recalls(pattern: str, classes: int) -> np.ndarray:
    """Return the true recalls (C,) of a pattern, from the most frequent class to the rarest."""
    rarity = np.linspace(0, 1, classes)
    return {
        "easy": 0.97 - 0.07 * rarity,
        "hard": 0.95 - 0.65 * rarity,
        "equal": np.full(classes, 0.7),
        "nearly all right": np.full(classes, 0.99),
    }[pattern]


def confusion_rates(pattern: str, sizes: tuple[int, ...]) -> np.ndarray:
    """Return the true shares (C, C) of predicted classes; hard: errors go to frequent classes."""
    own = recalls(pattern, len(sizes))
    favoured = sizes if pattern == "hard" else np.ones(len(sizes))
    rates = np.tile(np.array(favoured, float), (len(sizes), 1))
    np.fill_diagonal(rates, 0)
    rates *= ((1 - own) / rates.sum(1))[:, None]
    np.fill_diagonal(rates, own)
    return rates


def plain_bootstrap(
    confusion: np.ndarray, counts: np.ndarray, generator: np.random.Generator
) -> dict[str, Interval]:
    """Lay the percentiles of stratified resamples around each metric, cut at 0 and 1."""
    shares = confusion / confusion.sum(1, keepdims=True)
    drawn = np.concatenate(
        list(bootstrap.resampled_confusions(confusion, RESAMPLES, generator, shares=shares))
    )
    values, found = metrics.count_metrics(confusion, counts), metrics.count_metrics(drawn, counts)
    ends = {
        name: np.clip(values[name] + np.percentile(each, [2.5, 97.5]) - each.mean(), 0, 1)
        for name, each in found.items()
    }
    return {name: Interval(float(low), float(high)) for name, (low, high) in ends.items()}


def product(
    confusion: np.ndarray, counts: np.ndarray, generator: np.random.Generator
) -> dict[str, Interval]:
    """Compute the intervals of the product."""
    return intervals.count_intervals(confusion, counts, generator, RESAMPLES)


METHODS: dict[str, Callable[..., dict[str, Interval]]] = {
    "plain bootstrap": plain_bootstrap,
    "product": product,
}


def coverage(
    pattern: str, sizes: tuple[int, ...], test_sets: int, generator: np.random.Generator
) -> Found:
    """Return each method's and metric's share of intervals that hold the truth, and their width."""
    counts = np.arange(len(sizes))[::-1] + 1
    rates = confusion_rates(pattern, sizes)
    truth = metrics.count_metrics(rates * np.array(sizes)[:, None] * 1e6, counts)
    drawn = [generator.multinomial(sizes, rates) for _ in range(test_sets)]
    found: Found = {}
    for method, compute in METHODS.items():
        each = [compute(confusion, counts, generator) for confusion in drawn]
        found[method] = {
            name: (
                float(np.mean([one[name].low <= truth[name] <= one[name].high for one in each])),
                float(np.mean([one[name].high - one[name].low for one in each])),
            )
            for name in METRICS
            if np.isfinite(truth[name])
        }
    return found


def rows(test_sets: int) -> Iterator[list[str]]:
    """Make the rows of the table: test set, recalls, coverage of each metric before and now."""
    generator = np.random.default_rng(0)
    for name, sizes in TEST_SETS.items():
        for pattern in RECALLS:
            found = coverage(pattern, sizes, test_sets, generator)
            yield [name, pattern, *(_cell(found, metric) for metric in METRICS)]


def _cell(found: Found, metric: str) -> str:
    before, now = (found[method].get(metric) for method in METHODS)
    if before is None or now is None:
        return "-"
    mark = "" if LOWEST <= now[0] <= HIGHEST else " *"
    return f"{before[0]:.2f} -> {now[0]:.3f}{mark}"


def main(words: list[str] | None = None) -> None:
    """Print the table in Markdown, row by row; write it to a file where one is given."""
    parser = argparse.ArgumentParser(description="Coverage of the 95 % intervals, by simulation.")
    parser.add_argument("--test_sets", type=int, default=1000, help="drawn for each row")
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args(words)
    titles = ["test set", "recalls", *(name.replace("_", " ") for name in METRICS)]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    print("\n".join(lines), flush=True)
    for cells in rows(options.test_sets):
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
