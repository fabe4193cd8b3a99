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


def _offer(metric, values, losses=()):
    best = Best(metric)
    for epoch, value in enumerate(values, start=1):
        loss = {"val/loss": losses[epoch - 1]} if losses else {}
        best.offer(epoch, loss | {metric: value}, _model(float(epoch)))
    return best


@pytest.mark.parametrize(
    ("metric", "values", "epoch"),
    [
        ("val/accuracy", [0.5, 0.7, 0.7, 0.6], 3),
        ("val/loss", [0.5, 0.3, 0.3, 0.6], 3),
        ("val/loss", [0.9, 0.8, 0.7], 3),
        ("val/accuracy", [math.nan, 0.1, math.nan], 2),
    ],
)
def test_the_latest_of_the_best_epochs_is_kept_with_its_weights(metric, values, epoch):
    best = _offer(metric, values)
    assert best.epoch == epoch
    assert (best.state["classifier.weight"] == epoch).all()


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([2.25, 1.73, 1.07, 1.21, 0.71, 0.95], 5),
        ([1.0, 0.5, 0.5, 0.9, 0.6, 0.5], 6),
        ([1.0, math.nan, 0.8, math.nan, math.inf, 0.9], 3),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.0], 6),
    ],
)
def test_of_epochs_with_an_equal_score_the_one_of_the_smallest_loss_is_kept(losses, epoch):
    assert _offer("val/balanced_accuracy", [0.5] * 6, losses).epoch == epoch


def test_a_higher_score_wins_over_a_smaller_loss():
    assert _offer("val/balanced_accuracy", [0.5, 0.6, 0.5], [0.3, 0.9, 0.1]).epoch == 2


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
