import math

import pytest
import torch
from torch import nn

from imbalance_study.models.classifier import Classifier
from imbalance_study.training.best_epoch import Best, cpu_state, higher_is_better


def _model(value):
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), image_size=1)
    nn.init.constant_(model.classifier.weight, value)
    return model


def _offer(metric, values):
    best = Best(metric)
    for epoch, value in enumerate(values, start=1):
        best.offer(epoch, best.score({metric: value}), _model(float(epoch)))
    return best


@pytest.mark.parametrize(
    ("metric", "values", "epoch"),
    [
        ("val/accuracy", [0.5, 0.7, 0.7, 0.6], 2),
        ("val/loss", [0.5, 0.3, 0.3, 0.6], 2),
        ("val/loss", [0.9, 0.8, 0.7], 3),
        ("val/accuracy", [math.nan, 0.1, math.nan], 2),
    ],
)
def test_the_earliest_of_the_best_epochs_is_kept_with_its_weights(metric, values, epoch):
    best = _offer(metric, values)
    assert best.epoch == epoch
    assert (best.state["classifier.weight"] == epoch).all()


def test_nothing_is_kept_when_nothing_is_selected_or_comparable():
    for best in (_offer("last", [0.1, 0.2]), _offer("val/loss", [math.nan])):
        assert (best.epoch, best.state) == (0, None)


def test_a_loss_is_better_the_lower_it_is():
    metrics = {"val/loss": 0.3, "val/macro_f1": 0.2}
    assert higher_is_better(metrics, "val/loss") == -0.3
    assert higher_is_better(metrics, "val/macro_f1") == 0.2


def test_a_copy_of_the_weights_does_not_follow_the_model():
    model = _model(1.0)
    state = cpu_state(model)
    nn.init.constant_(model.classifier.weight, 2.0)
    assert (state["classifier.weight"] == 1).all()
    assert not state["classifier.weight"].requires_grad
    assert torch.equal(state["classifier.bias"], model.classifier.bias.detach())
