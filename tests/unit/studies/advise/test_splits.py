import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import splits

NONE = np.empty(0, np.int64)


def test_a_repeat_tests_a_fifth_of_each_class_and_at_least_one_image():
    images = feature_set([50, 10, 2])
    cut = splits.repeat(images, 3)
    assert np.bincount(images.labels[cut.test]).tolist() == [10, 2, 1]
    assert sorted([*cut.train, *cut.test]) == list(range(62))
    assert (splits.repeat(images, 3).test == cut.test).all()
    assert set(splits.repeat(images, 4).test) != set(cut.test)


def test_a_group_is_on_one_side():
    groups = np.arange(60) // 3
    images = feature_set([45, 15], groups=groups)
    for number in range(5):
        cut = splits.repeat(images, number)
        assert not set(groups[cut.train]) & set(groups[cut.test])
        assert len(cut.test)


@pytest.mark.parametrize("groups", [None, np.arange(62) // 2])
def test_folds_test_each_image_once(groups):
    images = feature_set([50, 10, 2], groups=groups)
    cuts = splits.folds(images)
    assert sorted(np.concatenate([cut.test for cut in cuts])) == list(range(62))
    for cut in cuts:
        assert not set(cut.test) & set(cut.train)
        if groups is not None:
            assert not set(groups[cut.train]) & set(groups[cut.test])


@pytest.mark.parametrize(
    ("labels", "groups", "names", "message"),
    [
        ([0, 0, 0], NONE, ["cat"], "two classes or more, got one: 'cat'"),
        ([0, 0, 1], NONE, ["cat", "dog"], "and dog has fewer"),
        ([0, 0, 1, 1], np.zeros(4, int), ["cat", "dog"], "all images are of one group"),
    ],
)
def test_images_that_cannot_be_split_are_refused_in_one_line(labels, groups, names, message):
    with pytest.raises(ValueError, match=message) as error:
        splits.check(np.array(labels), groups, names)
    assert "\n" not in str(error.value)


def test_classes_of_one_group_each_cannot_be_tested():
    with pytest.raises(ValueError, match="all images of each class are of one group"):
        splits.repeat(feature_set([5, 5], groups=[0] * 5 + [1] * 5), 0)
