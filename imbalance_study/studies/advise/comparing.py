"""The remedies over repeated splits, and the judgement on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from imbalance_study.evaluation import corrected_differences, metrics, significance
from imbalance_study.studies.advise import heads, splits
from imbalance_study.studies.advise.heads import FeatureSet, Ints, Remedy
from imbalance_study.studies.advise.kept import Key, Rows
from imbalance_study.studies.advise.metric import Metric
from imbalance_study.studies.comparison.suites import SUITES

# Repeats that are trained side by side; that an early answer needs; that probabilities need; and
# after which more of them narrow an interval by less than a sixteenth.
BLOCK, EARLY, ENOUGH, MOST = 5, 5, 15, 30
# Probability of beating the baseline from which on a remedy is advised. To choose and to claim are
# two things: a test that guards against false claims gives away most of what a choice can win.
SURE = 0.9


class Progress:
    """Follows the heads as they are trained; does nothing until a subclass overrides it."""

    def begin(self, what: str, heads: int) -> None:
        """Before a stage of so many heads."""

    def trained(self, heads: int) -> None:
        """After some heads."""

    def end(self) -> None:
        """After a stage."""


class Compared(NamedTuple):
    """Trained repeats of all remedies."""

    remedies: list[Remedy]  # the first one is the baseline
    left_out: dict[str, str]  # remedy -> reason
    repeats: int  # that all of them have
    ratio: float  # n_test / n_train, see `corrected_differences.test_to_train`
    seconds: float  # of a head
    stopped: str  # why there are no more


class Judgement(NamedTuple):
    """What the repeats say about the remedies."""

    table: pd.DataFrame  # a row for each remedy, the best first
    baseline: str
    best: str  # of the largest mean
    better: float  # probability that it beats the baseline; 0 for the baseline itself
    proven: bool  # it beats the baseline, Holm-corrected
    probabilities: bool  # there are enough repeats for them

    @property
    def choice(self) -> str:
        """The remedy to use: the best one where it probably beats the baseline."""
        return self.best if self.better >= SURE else self.baseline

    def row(self, name: str) -> pd.Series:
        """Return the row of a remedy."""
        return self.table.set_index("remedy").loc[name]


def remedies(images: FeatureSet) -> list[Remedy]:
    """Return the remedies for the head, the baseline first."""
    count = len(images.labels) - round(splits.TEST_SHARE * len(images.labels))
    suite = SUITES["head_remedies"].configurations
    return [heads.remedy(name, options, count) for name, options in suite.items()]


def compare(
    images: FeatureSet,
    tried: Sequence[Remedy],
    rows: Rows,
    *,
    time_left: Callable[[], float],
    most: int = MOST,
    progress: Progress | None = None,
) -> Compared:
    """Train all remedies on repeated splits, as many as the time allows and five at least.

    Ctrl-C after five repeats ends the comparison; before, it is passed on.

    Args:
        images: All images.
        tried: The remedies, the baseline first.
        rows: Those of an earlier call are not trained again.
        time_left: Seconds that are left for this stage.
        most: Repeats after which nothing is left to win.
        progress: Follows the heads.
    """
    follow = Progress() if progress is None else progress
    works, left_out = list(tried), {}
    repeats, trained, stopped, seconds = 0, 0, "", 0.0
    cuts = [splits.repeat(images, number) for number in range(most)]
    follow.begin("comparing", len(works) * most)
    try:
        while repeats < most:
            wanted = list(range(repeats, min(repeats + BLOCK, most)))
            for one in list(works):
                begun = time.perf_counter()
                try:
                    trained += _block(images, one, wanted, cuts, rows)
                except ValueError as error:
                    if one is works[0]:
                        raise
                    works.remove(one)
                    left_out[one.name] = str(error)
                seconds += time.perf_counter() - begun
                follow.trained(len(wanted))
            repeats = wanted[-1] + 1
            each = seconds / repeats
            if repeats < most and repeats >= EARLY and time_left() < each * BLOCK:
                stopped = "time"
                break
    except KeyboardInterrupt:
        if repeats < EARLY:
            raise
        stopped = "keyboard"
    follow.end()
    tested, trained_on = (
        sum((_counts(images, getattr(cut, part)) for cut in cuts[:repeats]), _counts(images, []))
        for part in ("test", "train")
    )
    ratio = corrected_differences.test_to_train(tested, trained_on)
    return Compared(works, left_out, repeats, ratio, seconds / max(trained, 1), stopped)


def _counts(images: FeatureSet, rows: Ints | Sequence[int]) -> Ints:
    labels = images.labels[np.asarray(rows, np.int64)]
    return np.bincount(labels, minlength=len(images.class_names))


def _block(
    images: FeatureSet,
    remedy: Remedy,
    numbers: Sequence[int],
    cuts: Sequence[splits.Cut],
    rows: Rows,
) -> int:
    """Train a remedy on some repeats, unless they are there; return the number trained."""
    missing = [number for number in numbers if Key(remedy.name, number) not in rows]
    if not missing:
        return 0
    trained = heads.train(remedy, images, [cuts[number].train for number in missing], missing)
    for number, head in zip(missing, trained, strict=True):
        test = cuts[number].test
        predicted = head.logits(images.features[test]).argmax(1)
        confusion = metrics.confusion_matrix(
            images.labels[test], predicted, len(images.class_names)
        )
        rows.add(Key(remedy.name, number), confusion)
    return len(missing)


def judge(compared: Compared, rows: Rows, metric: Metric, counts: Ints) -> Judgement:
    """Judge the remedies: means, corrected intervals and tests, probabilities, recalls.

    Args:
        compared: The trained repeats.
        rows: Their confusion matrices.
        metric: That decides.
        counts: Images of each class (C,).
    """
    names = [one.name for one in compared.remedies]
    baseline, ratio = names[0], compared.ratio
    confusions = np.stack([rows.stacked(name, compared.repeats) for name in names], 1)
    scores = np.asarray(metric.score(confusions))  # (J, K)
    head, _, tail = metrics.frequency_thirds(counts)
    recall = metrics.class_scores(confusions.sum(0)).recall  # (K, C) over all repeats
    found = [
        corrected_differences.corrected(scores[:, place] - scores[:, 0], ratio)
        for place in range(len(names))
    ]
    holm = [float("nan"), *significance.holm([one.p for one in found[1:]])]
    table = pd.DataFrame(
        {
            "remedy": names,
            "score": scores.mean(0),
            "difference": [one.mean for one in found],
            "low_95": [float("nan"), *(one.low for one in found[1:])],
            "high_95": [float("nan"), *(one.high for one in found[1:])],
            "p_holm": holm,
        }
    )
    better = [corrected_differences.above_zero(one) for one in found]
    table["better"] = [float("nan"), *better[1:]]
    enough = compared.repeats >= ENOUGH
    if enough:
        generator = np.random.default_rng(0)
        place = corrected_differences.standing(scores, ratio, generator, point=metric.point)
        table["best"], table["near_best"] = place.best, place.near
    table["rare_recall"] = np.nanmean(recall[:, tail], 1)
    table["frequent_recall"] = np.nanmean(recall[:, head], 1)
    table["rare_change"] = table["rare_recall"] - table["rare_recall"][0]
    table["frequent_change"] = table["frequent_recall"] - table["frequent_recall"][0]
    table = table.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    best = str(table["remedy"][0])
    row = table.iloc[0]
    if best == baseline:
        return Judgement(table, baseline, best, 0.0, False, enough)
    proven = row["difference"] > 0 and row["p_holm"] < significance.ALPHA
    return Judgement(table, baseline, best, float(row["better"]), bool(proven), enough)
