import numpy as np
import pandas as pd
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import metric, verdict
from imbalance_study.studies.advise.next_step import NextStep

METRIC = metric.Metric("balanced_accuracy", "balanced accuracy")
STEP = NextStep(["command"], ["cross_entropy", "balanced_softmax"], 6, 30, 2.5, 0.2)


def _worth(low=0.02, gain=0.08):
    return pd.DataFrame(
        {"class": ["class 2"], "gain_100": [gain], "low_100": [low], "high_100": [0.2]}
    )


def _say(judged, compared, worth=None, suspects=3):
    found = pd.DataFrame({"row": range(suspects)})
    worth = _worth() if worth is None else worth
    images = feature_set([20, 10, 9])
    return verdict.sentences(images, compared, judged, worth, found, METRIC, STEP)


def test_five_sentences_say_data_remedy_certainty_images_and_next(judged, compared):
    data, remedy, sure, images, after = _say(judged(), compared)
    assert data == (
        "Data: 39 images of 3 classes, from 20 (class 0) to 9 (class 2), a ratio of 2.22; "
        "3 labels look wrong (7.7 %)."
    )
    assert "use balanced_softmax, whose balanced accuracy is 70.0 % against 60.0 %" in remedy
    assert "+10.0 points, 95 % interval +2.0 to +18.0" in remedy
    assert "best of 2 with a probability of 90 %" in sure
    assert "rarest third of the classes changes by +20.0 points" in sure
    assert "most frequent third by -10.0" in sure
    assert "collect class 2 first; 100 more are worth +8.0 points" in images
    assert "less than the remedy" in images
    assert "look at the 3 most suspicious labels" in after
    assert "cross_entropy and balanced_softmax, 6 trainings of 30 epochs" in after
    assert "2.5 hours on this machine, 12 minutes on a GPU" in after


def test_where_nothing_beats_the_baseline_it_says_so(judged, compared):
    remedy = _say(judged(best="cross_entropy", proven=False), compared)[1]
    assert "none of those tried beats plain cross-entropy" in remedy
    remedy = _say(judged(proven=False, better=0.8), compared)[1]
    assert "keep plain cross-entropy (balanced accuracy 60.0 %), as none is shown" in remedy
    assert "most promising is balanced_softmax" in remedy


def test_a_remedy_that_is_probably_better_is_advised_with_its_doubt(judged, compared):
    _, remedy, sure, *_ = _say(judged(proven=False, better=0.93), compared)
    assert "use balanced_softmax" in remedy
    assert "probably: the test of all remedies leaves it open" in remedy
    assert "beats plain cross-entropy with 93 %" in sure


def test_an_early_answer_says_no_probability(judged, compared):
    sure = _say(judged(probabilities=False), compared._replace(repeats=5))[2]
    assert "early answer from 5 repeats" in sure
    assert "probability of" not in sure


def test_images_that_are_not_shown_to_help_are_not_promised(judged, compared):
    assert "of no class are shown to help" in _say(judged(), compared, _worth(low=-0.01))[3]
    nothing = _worth(gain=np.nan)
    assert "was not estimated" in _say(judged(), compared, nothing)[3]
    assert "more than the remedy" in _say(judged(), compared, _worth(gain=0.15))[3]


def test_without_suspects_there_is_nothing_to_look_at(judged, compared):
    assert "look at" not in _say(judged(), compared, suspects=0)[4]
    assert "look at the suspicious label," in _say(judged(), compared, suspects=1)[4]


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.001, "a minute"), (0.5, "30 minutes"), (2.345, "2.3 hours"), (31.7, "32 hours")],
)
def test_durations_are_short(hours, text):
    assert verdict.duration(hours) == text
