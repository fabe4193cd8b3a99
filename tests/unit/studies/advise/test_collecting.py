import math

import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import collecting, comparing, metric, splits
from imbalance_study.studies.advise.kept import Key, Rows

METRIC = metric.Metric("balanced_accuracy", "balanced accuracy")


def test_classes_of_few_images_are_not_estimated_and_the_rarest_come_first():
    assert collecting.candidates(np.array([50, 7, 8, 20])) == [2, 3, 0]
    assert len(collecting.candidates(np.full(100, 20))) == collecting.CLASSES


def test_a_smaller_share_is_part_of_a_larger_and_other_classes_keep_all():
    images = feature_set([40, 20])
    train = splits.repeat(images, 0).train
    half = collecting.fewer(images, train, 1, 0.5, 0)
    most = collecting.fewer(images, train, 1, 0.75, 0)
    assert set(half) < set(most) < set(train)
    assert np.bincount(images.labels[half]).tolist() == [32, 8]
    assert np.bincount(images.labels[most]).tolist() == [32, 12]


@pytest.mark.usefixtures("quick")
def test_each_class_is_varied_and_one_of_few_images_is_left_open():
    images, rows = feature_set([40, 20, 5], spread=2.0), Rows(None)
    tried = comparing.remedies(images)
    compared = comparing.compare(images, tried, rows, time_left=lambda: math.inf, most=5)
    done = collecting.vary(images, tried[0], rows, 5, time_left=lambda: 0.0)
    assert done == 5
    worth = collecting.worth(images, tried[0].name, rows, done, compared, METRIC)
    found = worth.set_index("class")
    assert np.isnan(found.loc["class 2", "gain_100"])
    for name in ("class 0", "class 1"):
        row = found.loc[name]
        assert row["low_20"] <= row["gain_20"] <= row["high_20"]
        assert abs(row["gain_20"]) <= abs(row["gain_100"])
    assert worth["gain_100"].dropna().is_monotonic_decreasing


def test_a_class_whose_images_matter_gains_more():
    images, rows = feature_set([40, 20]), Rows(None)
    compared = comparing.Compared([], {}, 5, 0.25, 0.1, "")
    for number in range(5):
        rows.add(Key("plain", number), np.array([[9, 1], [2, 8]]))
        for label, hits in ((0, (9, 9)), (1, (4, 6))):
            for share, hit in zip(collecting.SHARES, hits, strict=True):
                rare = hit if label else 8
                matrix = np.array([[9, 1], [10 - rare, rare]])
                rows.add(Key("plain", number, label, share), matrix)
    worth = collecting.worth(images, "plain", rows, 5, compared, METRIC)
    assert worth["class"].tolist() == ["class 1", "class 0"]
    assert worth["gain_20"][0] > 0.02
    assert worth["gain_20"][1] == pytest.approx(0)


@pytest.mark.usefixtures("quick")
def test_ctrl_c_leaves_the_worth_open():
    class Stop(comparing.Progress):
        def trained(self, heads):
            raise KeyboardInterrupt

    images, rows = feature_set([40, 20]), Rows(None)
    remedy = comparing.remedies(images)[0]
    done = collecting.vary(images, remedy, rows, 5, time_left=lambda: math.inf, progress=Stop())
    assert done == 0
    compared = comparing.Compared([remedy], {}, 5, 0.25, 0.1, "")
    worth = collecting.worth(images, remedy.name, rows, 0, compared, METRIC)
    assert worth["gain_100"].isna().all()
