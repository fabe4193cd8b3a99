"""Coverage of the 95 % interval of a mean accuracy over seeds, by simulation.

python benchmarks/mean_coverage.py --out mean_coverage.md            about a minute on one core

Accuracies of seeds are drawn from a beta distribution with a known mean, and the interval of the
product is compared with the plain t interval, which it had before, and with two others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imbalance_study.evaluation import significance

SEEDS = (3, 5, 10)
MEANS = (0.05, 0.2, 0.5, 0.8, 0.95, 0.98)
# Deviation over seeds, as a multiple of sqrt(mean (1 - mean)): that of an accuracy is mostly 0.02
# to 0.05, that of the recall of one rare class up to 0.3.
SPREADS = (0.02, 0.1, 0.3)
IMAGES = 1000  # an accuracy is a count of images over this
RESAMPLES = 400

Ends = tuple[np.ndarray, np.ndarray]


def product(values: np.ndarray, *, share: bool = True) -> Ends:
    """Compute the intervals of the product, the t interval on the logit of the mean."""
    found = [significance.summarise(row, share=share) for row in values]
    return np.array([one.low for one in found]), np.array([one.high for one in found])


def plain(values: np.ndarray) -> Ends:
    """Compute mean -+ t sd / sqrt(n)."""
    return product(values, share=False)


def logits(values: np.ndarray) -> Ends:
    """Compute the t interval of the seeds' logits, half an image away from 0 and 1."""
    kept = np.clip(values, 0.5 / IMAGES, 1 - 0.5 / IMAGES)
    low, high = plain(np.log(kept / (1 - kept)))
    return 1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))


def bootstrap(values: np.ndarray) -> Ends:
    """Compute percentiles of the means of resampled seeds."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, values.shape[1], (RESAMPLES, values.shape[1]))
    means = values[:, drawn].mean(2)
    return np.percentile(means, 2.5, axis=1), np.percentile(means, 97.5, axis=1)


METHODS: dict[str, Callable[[np.ndarray], Ends]] = {
    "plain t": plain,
    "bootstrap": bootstrap,
    "t of the logits": logits,
    "product": product,
}


def rows(samples: int) -> list[list[str]]:
    """Make the rows of the table: the lowest and the highest coverage over the means."""
    generator = np.random.default_rng(0)
    lines = []
    for seeds in SEEDS:
        for spread in SPREADS:
            parts: dict[str, list[str]] = {method: [] for method in METHODS}
            outside = 0.0
            for mean in MEANS:
                total = 1 / spread**2 - 1
                drawn = generator.beta(mean * total, (1 - mean) * total, (samples, seeds))
                values = np.round(drawn * IMAGES) / IMAGES
                for method, compute in METHODS.items():
                    low, high = compute(values)
                    parts[method].append(f"{np.mean((low <= mean) & (mean <= high)):.2f}")
                    if method == "plain t":
                        outside = max(outside, float(np.mean((low < 0) | (high > 1))))
            cells = [", ".join(parts[method]) for method in METHODS]
            lines.append([str(seeds), f"{spread:g}", *cells, f"{100 * outside:.0f} %"])
    return lines


def main(words: list[str] | None = None) -> None:
    """Print the table in Markdown; write it to a file where one is given."""
    parser = argparse.ArgumentParser(description="Coverage of the interval of a mean over seeds.")
    parser.add_argument("--samples", type=int, default=4000, help="drawn for each cell")
    parser.add_argument("--out", type=Path, help="a file for the table")
    options = parser.parse_args(words)
    titles = ["seeds", "spread", *METHODS, "plain t beyond 0 or 1, at most"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(options.samples)]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
