import math

import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import comparing, metric
from imbalance_study.studies.advise.comparing import Progress
from imbalance_study.studies.advise.kept import Rows

METRIC = metric.Metric("balanced_accuracy", "balanced accuracy")


class Stop(Progress):
    """Presses Ctrl-C after so many heads, and counts them."""

    def __init__(self, after=math.inf):
        self.after, self.heads = after, 0

    def trained(self, heads):
        self.heads += heads
        if self.heads >= self.after:
            raise KeyboardInterrupt


def _compare(images, rows, left=math.inf, most=15, progress=None):
    return comparing.compare(
        images, comparing.remedies(images), rows, time_left=lambda: left, most=most,
        progress=progress,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_remedy_that_helps_is_found(monkeypatch):
    monkeypatch.setattr(comparing.heads, "EPOCHS", 20)
    images = feature_set([150, 60, 12], spread=1.6)
    rows = Rows(None)
    compared = _compare(images, rows)
    judged = comparing.judge(compared, rows, METRIC, images.counts)
    assert compared.repeats == 15
    assert judged.best != "cross_entropy"
    assert judged.probabilities
    assert judged.table["best"].sum() == pytest.approx(1)
    row = judged.row(judged.best)
    assert row["low_95"] < row["difference"] < row["high_95"]
    assert row["rare_change"] > 0
    assert judged.row("cross_entropy")["difference"] == 0


@pytest.mark.usefixtures("quick")
def test_without_time_five_repeats_are_made_and_no_probability_is_said():
    images = feature_set([30, 10])
    rows = Rows(None)
    compared = _compare(images, rows, left=0.0)
    assert (compared.repeats, compared.stopped) == (5, "time")
    judged = comparing.judge(compared, rows, METRIC, images.counts)
    assert not judged.probabilities
    assert "best" not in judged.table


@pytest.mark.usefixtures("quick")
def test_ctrl_c_after_five_repeats_gives_what_is_there_and_a_repeated_call_goes_on():
    images = feature_set([30, 10])
    rows, stop = Rows(None), Stop(after=20)  # three remedies: in the second block
    compared = _compare(images, rows, progress=stop)
    assert (compared.repeats, compared.stopped) == (5, "keyboard")
    counted = Stop()
    assert _compare(images, rows, progress=counted).repeats == 15
    again = comparing.judge(_compare(images, rows), rows, METRIC, images.counts)
    whole = Rows(None)
    once = comparing.judge(_compare(images, whole), whole, METRIC, images.counts)
    assert again.table.equals(once.table)


@pytest.mark.usefixtures("quick")
def test_ctrl_c_before_five_repeats_stops():
    with pytest.raises(KeyboardInterrupt):
        _compare(feature_set([30, 10]), Rows(None), progress=Stop(after=5))


@pytest.mark.usefixtures("quick")
def test_heads_that_are_there_are_not_trained_again(monkeypatch):
    images, rows = feature_set([30, 10]), Rows(None)
    _compare(images, rows, most=5)

    def refuse(*_):
        raise AssertionError("a head was trained again")

    monkeypatch.setattr(comparing.heads, "train", refuse)
    assert _compare(images, rows, most=5).repeats == 5


def test_a_remedy_that_cannot_be_used_is_left_out_with_its_reason(monkeypatch):
    monkeypatch.setattr(comparing.heads, "EPOCHS", 1)
    images = feature_set([30, 4])
    compared = _compare(images, Rows(None), most=5)
    assert list(compared.left_out) == ["smote on features"]
    assert "class 1" in compared.left_out["smote on features"]
    assert len(compared.remedies) == 12


def _judge(scores):
    """Judge remedies by their hits among 100 test images of each of two classes, a repeat a row."""
    rows = Rows(None)
    images = feature_set([20, 20])
    tried = comparing.remedies(images)[: len(scores[0])]
    for number, hits in enumerate(scores):
        for one, hit in zip(tried, hits, strict=True):
            matrix = np.array([[hit, 100 - hit], [100 - hit, hit]])
            rows.add(comparing.Key(one.name, number), matrix)
    compared = comparing.Compared(tried, {}, len(scores), 0.25, 0.1, "")
    return comparing.judge(compared, rows, METRIC, images.counts)


def test_a_small_difference_is_not_proven_and_the_baseline_stays_the_choice():
    generator = np.random.default_rng(0)
    scores = (70 + 5 * generator.normal(size=(15, 4))).round().astype(int)
    judged = _judge(scores)
    assert not judged.proven
    assert judged.choice == "cross_entropy"
    assert judged.better < comparing.SURE


def test_to_choose_and_to_claim_are_two_things():
    generator = np.random.default_rng(4)
    scores = np.array([60, 60, 60, 64]) + 3 * generator.normal(size=(15, 4))
    judged = _judge(scores.round().astype(int))
    assert comparing.SURE <= judged.better < 1
    assert not judged.proven
    assert judged.choice == judged.best != "cross_entropy"


def test_a_large_difference_is_proven():
    generator = np.random.default_rng(0)
    scores = (np.array([50, 50, 80]) + generator.normal(size=(15, 3))).round().astype(int)
    judged = _judge(scores)
    assert judged.proven
    assert judged.choice == judged.best == judged.table["remedy"][0]


def test_a_remedy_that_harms_is_not_proven_however_sure():
    scores = np.array([[80, 50]] * 15) + np.arange(15)[:, None] % 3
    judged = _judge(scores + np.array([0, 1]) * (np.arange(15)[:, None] % 2))
    assert not judged.proven
    assert judged.best == "cross_entropy"
