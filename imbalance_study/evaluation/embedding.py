"""Feature space: projections to two dimensions, and metrics of the separation of classes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from imbalance_study.evaluation.metrics import Floats, Ints

COMPONENTS = 50  # input of t-SNE and UMAP
METHODS = ("pca", "tsne", "umap")


class Projection(NamedTuple):
    """Principal components."""

    coordinates: Floats  # (N, K)
    explained: Floats  # (K,) share of the variance of each component


def balanced_sample(targets: Ints, generator: np.random.Generator, count: int = 1_000) -> Ints:
    """Choose images at random, as equally many of each class as there are.

    Returns:
        Sorted indices, min(count, N) of them; larger classes fill up for small ones.
    """
    targets = np.asarray(targets)
    order = generator.permutation(len(targets))
    turn = np.empty(len(targets), dtype=np.int64)
    for label in np.unique(targets):
        members = order[targets[order] == label]
        turn[members] = np.arange(len(members))
    chosen = order[np.argsort(turn[order], kind="stable")[:count]]
    return np.sort(chosen)


def principal_components(features: Floats, components: int = 2) -> Projection:
    """Project features (N, F) on their directions of largest variance.

    The sign of each component makes its largest entry positive. Where there are fewer directions
    than components (few samples, constant features), the rest is 0.
    """
    centred = np.asarray(features, dtype=np.float64)
    centred = centred - centred.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    count = min(components, len(values))
    coordinates, explained = np.zeros((len(centred), components)), np.zeros(components)
    scores = left[:, :count] * values[:count]
    largest = scores[np.abs(scores).argmax(0), np.arange(count)]
    coordinates[:, :count] = scores * np.where(largest < 0, -1, 1)
    if _have_spread(features):
        explained[:count] = (values**2 / (values**2).sum())[:count]
    return Projection(coordinates, explained)


def tsne(components: Floats, seed: int) -> Floats:
    """Project principal components (N, K) to (N, 2) by t-SNE (van der Maaten and Hinton 2008).

    Perplexity 30, less for fewer than 91 samples: (N - 1) / 3. Without spread the first two
    components are returned.
    """
    if not _have_spread(components):
        return components[:, :2]
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(components) - 1) / 3)
    start = components[:, :2] / max(float(components[:, 0].std()), 1e-30) * 1e-4
    model = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed)
    return np.asarray(model.fit_transform(components.astype(np.float32)), dtype=np.float64)


def umap(components: Floats, seed: int) -> Floats:
    """Project principal components (N, K) to (N, 2) by UMAP (McInnes et al. 2018).

    15 neighbours, fewer when there are fewer samples. Without spread, or with fewer than 4 samples,
    the first two components are returned.
    """
    if len(components) < 4 or not _have_spread(components):
        return components[:, :2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        scale = max(float(np.abs(components[:, :2]).max()), 1e-30)
        model = UMAP(
            n_neighbors=min(15, len(components) - 1),
            init=(10 * components[:, :2] / scale).astype(np.float32),
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(model.fit_transform(components.astype(np.float32)), dtype=np.float64)


def warm_up_umap() -> threading.Thread:
    """Compile UMAP in the background (11 s in each process), so that its first fit takes 2 s.

    Returns:
        The running thread; join it before the first use. It does not keep the process alive.
    """
    noise = np.random.default_rng(0).normal(size=(64, COMPONENTS))
    thread = threading.Thread(target=umap, args=(noise, 0), name="warm-up-umap", daemon=True)
    thread.start()
    return thread


def project(
    features: Floats, seed: int, methods: Sequence[str] = METHODS
) -> tuple[dict[str, Floats], Floats]:
    """Project features by each method; return the variance that the components explain too.

    t-SNE and UMAP take the first 50 principal components. All run on one thread: sums then have
    one order, the same seed gives the same picture, and a busy machine does not slow them down.

    Args:
        features: Features (N, F), N at least 1; values that are not finite count as 0.
        seed: Seed of t-SNE and UMAP.
        methods: Some of pca, tsne, umap.

    Returns:
        Method to coordinates (N, 2), and the shares of variance (50,).
    """
    if unknown := set(methods) - set(METHODS):
        known = ", ".join(METHODS)
        raise ValueError(f"methods must be some of {known}, got {', '.join(sorted(unknown))}")
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    features = np.nan_to_num(np.asarray(features, dtype=np.float64), posinf=0, neginf=0)
    draw = {"pca": lambda points, _: points[:, :2], "tsne": tsne, "umap": umap}
    with threadpool_limits(1):
        components, explained = principal_components(features, COMPONENTS)
        return {method: draw[method](components, seed) for method in methods}, explained


def separation_metrics(features: Floats, targets: Ints) -> dict[str, float]:
    """Measure the separation of the classes in feature space.

    Args:
        features: Features (N, F).
        targets: True classes (N,).

    Returns:
        silhouette (-1 to 1), davies_bouldin (small is good), calinski_harabasz (large is good), as
        scikit-learn's, NaN where undefined: one class only, as many classes as samples, features
        without spread; nearest_class_mean_accuracy as below.
    """
    from sklearn import metrics

    features = np.nan_to_num(np.asarray(features, dtype=np.float64), posinf=0, neginf=0)
    defined = 2 <= len(np.unique(targets)) < len(targets) and _have_spread(features)
    scores = {
        "silhouette": metrics.silhouette_score,
        "davies_bouldin": metrics.davies_bouldin_score,
        "calinski_harabasz": metrics.calinski_harabasz_score,
    }
    measured = {
        name: float(score(features, targets)) if defined else float("nan")
        for name, score in scores.items()
    }
    measured["nearest_class_mean_accuracy"] = nearest_class_mean_accuracy(features, targets)
    return measured


def nearest_class_mean_accuracy(features: Floats, targets: Ints) -> float:
    """Return the share of samples closest to their own class mean, left out themselves.

    Leaving sample i out of the mean m of its n makes its distance n / (n - 1) |x_i - m|. The only
    sample of a class has no mean to be close to and counts as wrong, as does a tie. NaN for fewer
    than two classes, and for features without spread.
    """
    labels, inverse, counts = np.unique(targets, return_inverse=True, return_counts=True)
    if len(labels) < 2 or not _have_spread(features):
        return float("nan")
    features = features - features.mean(0)
    means = _class_means(features, inverse, counts)
    squares = (features**2).sum(1)[:, None] - 2 * features @ means.T + (means**2).sum(1)
    distances = np.sqrt(np.maximum(squares, 0))
    rows = np.arange(len(targets))
    n = counts[inverse]
    own = np.where(n > 1, distances[rows, inverse] * n / np.maximum(n - 1, 1), np.inf)
    distances[rows, inverse] = np.inf
    return float((own < distances.min(1)).mean())


def class_spread(
    features: Floats, targets: Ints, class_names: Sequence[str]
) -> dict[str, list[Any]]:
    """Measure length and scatter of the features of each class, as columns.

    Returns:
        Columns class, images, mean_norm (mean of |x|), spread (root mean square of |x - class
        mean|); NaN for a class without samples.
    """
    features = np.asarray(features, dtype=np.float64)
    counts = np.bincount(targets, minlength=len(class_names))
    filled = np.where(counts > 0, counts, np.nan)
    means = _class_means(features, np.asarray(targets), np.maximum(counts, 1))
    norms = np.linalg.norm(features, axis=1)
    scatter = ((features - means[targets]) ** 2).sum(1)
    size = len(class_names)
    return {
        "class": [str(name) for name in class_names],
        "images": counts.tolist(),
        "mean_norm": (np.bincount(targets, norms, minlength=size) / filled).tolist(),
        "spread": np.sqrt(np.bincount(targets, scatter, minlength=size) / filled).tolist(),
    }


def _class_means(features: Floats, labels: Ints, counts: Ints) -> Floats:
    """Compute means (C, F) of features (N, F) by label."""
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, labels, features)
    return sums / counts[:, None]


def _have_spread(features: Floats) -> bool:
    """Return whether the features differ by more than rounding."""
    scale = float(np.abs(features).max(initial=0))
    return bool(np.ptp(features, axis=0).max(initial=0) > 1e-9 * scale)
