"""Significance of differences, over seeds and over the images of a test set.

A remedy is repeated with other seeds, so the paired t-test over seeds is the test of the remedy.
McNemar's test and the paired bootstrap test whether two trained models differ on other images of
the same kind; they are no evidence for the next training.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.bootstrap import CELLS_AT_ONCE, Interval
from imbalance_study.evaluation.metrics import Floats, Ints

MIN_SEEDS = 3
ALPHA = 0.05
CONFIDENCE = 0.95
POWER = 0.8
EXACT_BELOW = 100  # discordant pairs; beyond, the exact and the approximate p agree
NAN = float("nan")


class Summary(NamedTuple):
    """Mean, spread and interval of a metric over seeds."""

    seeds: int  # number of finite values
    mean: float  # NaN without any
    sd: float  # of the sample, NaN with fewer than two
    low: float  # 95 % interval of the mean, NaN with fewer than two
    high: float


class PairedTest(NamedTuple):
    """Paired t-test of two configurations over their common seeds."""

    pairs: int
    difference: float  # mean of (configuration - baseline); NaN without pairs
    low: float  # 95 % interval of it; NaN without a test
    high: float
    t: float
    p: float  # two-sided; NaN without a test
    reason: str  # why there is no test, empty where there is one
    sd: float = NAN  # of the differences; NaN without a test


class McNemar(NamedTuple):
    """McNemar's test of two models on the same images."""

    only_first: int
    only_second: int
    p: float  # two-sided
    exact: bool  # by the binomial distribution, else by chi squared


def summarise(values: Sequence[float] | Floats, *, share: bool = False) -> Summary:
    """Compute mean, standard deviation and 95 % interval of the mean over seeds, without NaN.

    The interval is mean -+ t(n - 1) sd / sqrt(n). That of a share is made on the logit of the mean,
    with the error sd / sqrt(n) / (mean (1 - mean)) of the delta method: it stays within 0 and 1,
    and covers the mean where the plain one does not (docs/statistics.md).

    Args:
        values: One for each seed; NaN are left out.
        share: The values lie between 0 and 1, as accuracies do.
    """
    known = _finite(values)
    count = len(known)
    if count == 0:
        return Summary(0, NAN, NAN, NAN, NAN)
    mean = float(known.mean())
    if count == 1:
        return Summary(1, mean, NAN, NAN, NAN)
    sd = float(known.std(ddof=1))
    half = _t_quantile(count - 1) * sd / math.sqrt(count)
    low, high = mean - half, mean + half
    if share and 0 < mean < 1 and sd > 0:
        logit, reach = math.log(mean / (1 - mean)), half / (mean * (1 - mean))
        low, high = _expit(logit - reach), _expit(logit + reach)
    return Summary(count, mean, sd, low, high)


def paired_t_test(values: Mapping[int, float], baseline: Mapping[int, float]) -> PairedTest:
    """Run Student's paired t-test of seed to value, over the seeds that are finite in both.

    t = mean(d) / (sd(d) / sqrt(n)) with n - 1 degrees of freedom, two-sided. There is none with
    fewer than three pairs, nor where the differences are all equal and not 0: t would be infinite,
    which on a small test set happens by rounding alone. Differences that are all 0 have p = 1.
    """
    seeds = sorted(set(values) & set(baseline))
    differences = _finite([values[seed] - baseline[seed] for seed in seeds])
    count = len(differences)
    if count == 0:
        return PairedTest(0, NAN, NAN, NAN, NAN, NAN, "no seed in common with the baseline")
    mean = float(differences.mean())
    if count < MIN_SEEDS:
        reason = f"{MIN_SEEDS} seeds are needed, there {_are(count)}"
        return PairedTest(count, mean, NAN, NAN, NAN, NAN, reason)
    sd = float(differences.std(ddof=1))
    if not differences.any():
        return PairedTest(count, 0.0, 0.0, 0.0, 0.0, 1.0, "", 0.0)
    if sd <= 1e-12 * float(np.abs(differences).max()):
        reason = "the difference is the same for every seed"
        return PairedTest(count, mean, NAN, NAN, NAN, NAN, reason)
    error = sd / math.sqrt(count)
    half = _t_quantile(count - 1) * error
    from scipy import stats

    p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    return PairedTest(count, mean, mean - half, mean + half, mean / error, p, "", sd)


@functools.cache
def detectable(pairs: int, tests: int = 1) -> float:
    """Compute the smallest true difference that a paired t-test shows with 80 % power.

    It is in standard deviations of the paired difference, two-sided at 5 % divided by the number
    of tests: what Holm's correction asks of the first of them. The power is that of the noncentral
    t distribution.

    Args:
        pairs: Seeds that both configurations have.
        tests: Configurations that are tested against the baseline.

    Returns:
        The difference; NaN with fewer than three pairs or without a test.
    """
    if pairs < MIN_SEEDS or tests < 1:
        return NAN
    from scipy import optimize

    def lacking(difference: float) -> float:
        return power(difference, pairs, tests) - POWER

    return float(optimize.brentq(lacking, 0, 1000))


def power(difference: float, pairs: int, tests: int = 1) -> float:
    """Compute the chance that a paired t-test shows a difference, as in `detectable`."""
    from scipy import stats

    degrees = pairs - 1
    needed = float(stats.t.isf(ALPHA / tests / 2, degrees))
    # The t statistic, its deviation given, is normal: the noncentral t fails far from its centre.
    scale = math.sqrt(pairs) * difference
    shares = (np.arange(2_000) + 0.5) / 2_000
    spread = needed * np.sqrt(stats.chi2.ppf(shares, degrees) / degrees)
    beyond = stats.norm.sf(spread - scale) + stats.norm.cdf(-spread - scale)
    return float(beyond.mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values by Holm (1979): max over the smaller ones of (m - rank) p, at most 1.

    NaN stands for a hypothesis that was not tested: it stays NaN and does not count into m.
    Rejecting where the result is below 5 % keeps the probability of any false rejection in the
    family below 5 %.
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(given), np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * given[order]), 1)
    return adjusted.tolist()


def mcnemar(first_right: Sequence[bool] | Ints, second_right: Sequence[bool] | Ints) -> McNemar:
    """Run McNemar's test (1947) of two models on the same images (N,).

    Exact (binomial, p = 1/2) with fewer than 100 discordant images, else chi squared with Edwards'
    correction, (|b - c| - 1)^2 / (b + c). Without discordant images p = 1.

    Raises:
        ValueError: The two differ in length.
    """
    first, second = np.asarray(first_right, bool), np.asarray(second_right, bool)
    if first.shape != second.shape:
        raise ValueError(
            f"both models must have seen the same images, got {first.size} and {second.size}"
        )
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    if b + c == 0:
        return McNemar(0, 0, 1.0, True)
    from scipy import stats

    if b + c < EXACT_BELOW:
        return McNemar(b, c, float(stats.binomtest(b, b + c).pvalue), True)
    statistic = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    return McNemar(b, c, float(stats.chi2.sf(statistic, 1)), False)


def paired_bootstrap(
    targets: Ints,
    first: Ints,
    second: Ints,
    train_counts: Ints,
    generator: np.random.Generator,
    *,
    resamples: int = 1_000,
) -> dict[str, Interval]:
    """Compute 95 % percentile intervals of the differences of two models' metrics.

    Every resample draws as many images of each class as there are, the same ones for both models.
    The metrics see counts alone, so the draw is one multinomial per class over the distinct pairs
    of predictions, which follows exactly the same distribution.

    Args:
        targets: True classes (N,).
        first: Predicted classes (N,) of one model.
        second: Predicted classes (N,) of the other.
        train_counts: Training images of each class (C,).
        generator: Source of the draws.
        resamples: Number of resamples.

    Returns:
        Name (as in `metrics.count_metrics`) to interval; NaN ends where the metric is NaN.
    """
    num_classes = len(train_counts)
    triples = np.stack([targets, first, second], axis=1)
    cells, counts = np.unique(triples, axis=0, return_counts=True)
    drawn = _resampled_cells(cells[:, 0], counts, resamples, generator)
    chunk = max(1, CELLS_AT_ONCE // num_classes**2)
    differences: dict[str, list[Floats]] = {}
    for start in range(0, resamples, chunk):
        part = drawn[start : start + chunk]
        ours, theirs = (
            metrics.count_metrics(_confusions(cells[:, 0], column, part, num_classes), train_counts)
            for column in (cells[:, 1], cells[:, 2])
        )
        for name in ours:
            differences.setdefault(name, []).append(ours[name] - theirs[name])
    edge = 50 * (1 - CONFIDENCE)
    ends = {
        name: np.percentile(np.concatenate(values), [edge, 100 - edge])
        for name, values in differences.items()
    }
    return {name: Interval(float(low), float(high)) for name, (low, high) in ends.items()}


def _resampled_cells(
    classes: Ints, counts: Ints, resamples: int, generator: np.random.Generator
) -> Ints:
    """Draw images in each cell of each resample (B, K); the count of a class is kept."""
    drawn = np.zeros((resamples, len(counts)), dtype=np.int64)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        total = counts[members].sum()
        drawn[:, members] = generator.multinomial(total, counts[members] / total, size=resamples)
    return drawn


def _confusions(classes: Ints, predictions: Ints, drawn: Ints, num_classes: int) -> Ints:
    """Sum confusion matrices (B, C, C) of one model from the images in each cell (B, K)."""
    places = classes * num_classes + predictions
    order = np.argsort(places, kind="stable")
    known, starts = np.unique(places[order], return_index=True)
    flat = np.zeros((len(drawn), num_classes**2), dtype=np.int64)
    flat[:, known] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return flat.reshape(len(drawn), num_classes, num_classes)


@functools.cache
def _t_quantile(degrees: int) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))


def _expit(value: float) -> float:
    return float(1 / (1 + math.exp(-value))) if value > -700 else 0.0


def _finite(values: Sequence[float] | Floats) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    return given[np.isfinite(given)]


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
