"""Images of which class would help: the head trained again with fewer images of each class."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from imbalance_study.evaluation import learning_curve, metrics
from imbalance_study.studies.advise import heads, splits
from imbalance_study.studies.advise.comparing import BLOCK, Compared, Progress
from imbalance_study.studies.advise.heads import FeatureSet, Ints, Remedy
from imbalance_study.studies.advise.kept import Key, Rows
from imbalance_study.studies.advise.metric import Metric

SHARES, MORE = (0.5, 0.75), (20, 100)
# Images below which a class has no curve; classes, the rarest first, and repeats that are tried.
LEAST, CLASSES, REPEATS = 8, 12, 10


def candidates(counts: Ints) -> list[int]:
    """Return the classes whose images are varied: the rarest of those with enough images."""
    order = np.argsort(counts, kind="stable")
    return [int(label) for label in order if counts[label] >= LEAST][:CLASSES]


def vary(
    images: FeatureSet,
    remedy: Remedy,
    rows: Rows,
    repeats: int,
    *,
    time_left: Callable[[], float],
    progress: Progress | None = None,
) -> int:
    """Train the head with half and three quarters of the images of each class in turn.

    Args:
        images: All images.
        remedy: Of the head.
        rows: Those of an earlier call are not trained again.
        repeats: Repeats of the comparison, of which the first ten are used.
        time_left: Seconds that are left; the first five repeats are trained in any case.
        progress: Follows the heads.

    Returns:
        The repeats that all classes have; 0 where Ctrl-C came before the first five were done.
    """
    follow = Progress() if progress is None else progress
    tried = candidates(images.counts)
    most, done = min(REPEATS, repeats), 0
    follow.begin("fewer images of each class", len(tried) * len(SHARES) * most)
    try:
        while tried and done < most and (done == 0 or time_left() > 0):
            numbers = list(range(done, min(done + BLOCK, most)))
            for label in tried:
                for share in SHARES:
                    _block(images, remedy, numbers, label, share, rows)
                    follow.trained(len(numbers))
            done = numbers[-1] + 1
    except KeyboardInterrupt:
        pass
    follow.end()
    return done


def fewer(images: FeatureSet, train: Ints, label: int, share: float, number: int) -> Ints:
    """Leave a share of the training images of one class; a smaller share is part of a larger."""
    own = train[images.labels[train] == label]
    order = np.random.default_rng([number, label, 7]).permutation(own)
    dropped = order[max(1, math.floor(share * len(own) + 0.5)) :]
    return np.setdiff1d(train, dropped)


def _block(
    images: FeatureSet, remedy: Remedy, numbers: list[int], label: int, share: float, rows: Rows
) -> None:
    missing = [n for n in numbers if Key(remedy.name, n, label, share) not in rows]
    if not missing:
        return
    cuts = [splits.repeat(images, number) for number in missing]
    chosen = [
        fewer(images, cut.train, label, share, number)
        for cut, number in zip(cuts, missing, strict=True)
    ]
    for number, cut, head in zip(
        missing, cuts, heads.train(remedy, images, chosen, missing), strict=True
    ):
        predicted = head.logits(images.features[cut.test]).argmax(1)
        confusion = metrics.confusion_matrix(
            images.labels[cut.test], predicted, len(images.class_names)
        )
        rows.add(Key(remedy.name, number, label, share), confusion)


def worth(
    images: FeatureSet, remedy: str, rows: Rows, repeats: int, compared: Compared, metric: Metric
) -> pd.DataFrame:
    """Estimate the gain of the metric from 20 and from 100 more images of each class.

    Returns:
        A row for each class, those to collect first in front; NaN where a class is not estimated.
    """
    counts, tried = images.counts, candidates(images.counts)
    whole = metric.score(rows.stacked(remedy, repeats)) if repeats else None
    found = []
    for label, name in enumerate(images.class_names):
        row: dict[str, object] = {"class": name, "images": int(counts[label])}
        for more in MORE:
            cells = (float("nan"),) * 3
            if label in tried and whole is not None:
                scores = _scores(remedy, label, rows, repeats, metric)
                train = (1 - splits.TEST_SHARE) * counts[label]
                sizes = np.array([*(share * train for share in SHARES), train])
                values = np.stack([*scores, whole], 1)
                gain = learning_curve.gain(values, sizes, int(counts[label]), more, compared.ratio)
                cells = (gain.mean, gain.low, gain.high)
            names = (f"gain_{more}", f"low_{more}", f"high_{more}")
            row |= dict(zip(names, cells, strict=True))
        found.append(row)
    table = pd.DataFrame(found)
    return table.sort_values(f"gain_{MORE[-1]}", ascending=False, kind="stable", ignore_index=True)


def _scores(remedy: str, label: int, rows: Rows, repeats: int, metric: Metric) -> list[np.ndarray]:
    return [
        np.asarray(
            metric.score(np.stack([rows[Key(remedy, n, label, share)] for n in range(repeats)]))
        )
        for share in SHARES
    ]
