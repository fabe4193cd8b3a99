import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import comparing, heads
from imbalance_study.studies.comparison.suites import SUITES

SUITE = SUITES["head_remedies"].configurations


def _subsets(images, number):
    """Subsets without some images, of equal and of unequal counts."""
    generator = np.random.default_rng(0)
    every = np.arange(len(images.labels))
    return [np.sort(generator.choice(every, 50 + 3 * n, replace=False)) for n in range(number)]


@pytest.mark.parametrize("name", SUITE)
def test_heads_side_by_side_are_those_of_the_training_loop(name, monkeypatch):
    monkeypatch.setattr(heads, "EPOCHS", 3)
    images = feature_set([40, 20, 12], spread=2.0)
    rows = _subsets(images, 2)
    remedy = heads.remedy(name, SUITE[name], 50)
    for subsets in (rows, [rows[0], rows[0]]):  # unequal and equal class counts
        made = heads.train(remedy, images, subsets, [3, 4])
        for head, some, seed in zip(made, subsets, (3, 4), strict=True):
            alone = heads.alone(remedy, images, some, seed)
            assert head.logits(images.features) == pytest.approx(
                alone.logits(images.features), abs=1e-4
            )
            assert head.probabilities(images.features).sum(1) == pytest.approx(np.ones(72))


def test_a_head_learns_its_classes():
    images = feature_set([40, 20, 12], spread=0.3)
    every = np.arange(72)
    [head] = heads.train(heads.remedy("plain", {}, 72), images, [every], [0])
    assert (head.logits(images.features).argmax(1) == images.labels).mean() > 0.9


def test_another_seed_gives_another_head_and_the_same_seed_the_same():
    images = feature_set([20, 10])
    every = [np.arange(30)] * 3
    one, two, again = heads.train(heads.remedy("plain", {}, 30), images, every, [0, 1, 0])
    assert (one.logits(images.features) == again.logits(images.features)).all()
    assert (one.logits(images.features) != two.logits(images.features)).any()


def test_a_class_that_lacks_neighbours_refuses_smote():
    images = feature_set([20, 4])
    remedy = heads.remedy("smote", SUITE["smote on features"], 24)
    with pytest.raises(ValueError, match="class 1"):
        heads.train(remedy, images, [np.arange(24)], [0])


@pytest.mark.parametrize(
    ("images", "batch", "steps"), [(80, 64, 10), (3_450, 64, 54), (40_000, 512, 78)]
)
def test_all_remedies_make_the_same_number_of_updates(images, batch, steps):
    for name, options in SUITE.items():
        config = heads.remedy(name, options, images).config
        assert (config.batch_size, config.steps_per_epoch) == (batch, steps)


def test_training_leaves_the_generator_of_torch_alone():
    import torch

    images = feature_set([10, 10])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    heads.train(heads.remedy("plain", {}, 20), images, [np.arange(20)], [0])
    assert torch.rand(1) == expected


def test_rows_of_a_set_keep_labels_and_groups_together():
    images = feature_set([3, 2], groups=[0, 1, 2, 3, 3])
    some = images.rows(np.array([0, 4]))
    assert some.labels.tolist() == [0, 1]
    assert some.groups.tolist() == [0, 3]
    assert images.counts.tolist() == [3, 2]
    assert comparing.remedies(images)[0].name == "cross_entropy"
