"""That stacked heads are those of the training loop, test_heads.py holds for every remedy."""

import numpy as np
import pytest
from made_features import feature_set

from imbalance_study.studies.advise import heads


def test_a_head_does_not_depend_on_the_heads_beside_it():
    images = feature_set([30, 12], spread=2.0)
    remedy = heads.remedy("mixup", {"mix": "mixup:alpha=1"}, 40)
    rows = [np.arange(1, 42), np.arange(0, 40), np.arange(42)]
    many = heads.train(remedy, images, rows, [0, 1, 2])
    [one] = heads.train(remedy, images, rows[1:2], [1])
    assert one.logits(images.features) == pytest.approx(many[1].logits(images.features), abs=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training():
    images = feature_set([10, 10])
    images.features[3] = np.nan
    with pytest.raises(ValueError, match="the loss is not finite in epoch 1"):
        heads.train(heads.remedy("plain", {}, 20), images, [np.arange(20)], [0])
