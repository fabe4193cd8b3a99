import math

import pytest
import torch
from torch import nn

from imbalance_study.config import choices, spec
from imbalance_study.models.heads import NormedLinear, make_head, set_prior_bias

HEADS = spec.functions(choices.HEADS)


def hand_made_cosine_head() -> NormedLinear:
    head = NormedLinear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, 0.0], [-3.0, -3.0]]))
    return head


def test_the_cosine_head_gives_the_cosines_worked_out_by_hand():
    cosines = hand_made_cosine_head()(torch.tensor([[3.0, 4.0], [0.0, -5.0]]))
    root = math.sqrt(0.5)
    torch.testing.assert_close(cosines, torch.tensor([[0.6, -1.4 * root], [0.0, root]]))


def test_the_length_of_features_and_weights_has_no_effect_on_cosines():
    head, features = hand_made_cosine_head(), torch.randn(5, 2)
    cosines = head(features)
    with torch.no_grad():
        head.weight *= torch.tensor([[10.0], [0.1]])
    torch.testing.assert_close(head(1000 * features), cosines)


def test_a_feature_vector_of_zeros_has_cosine_zero_and_a_finite_gradient():
    features = torch.zeros(1, 2, requires_grad=True)
    cosines = hand_made_cosine_head()(features)
    cosines.sum().backward()
    assert cosines.tolist() == [[0, 0]]
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_a_new_cosine_head_has_rows_of_length_one_in_all_directions():
    weight = NormedLinear(64, 500).weight
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(500))
    assert weight.mean(dim=0).abs().max() < 0.03


@pytest.mark.parametrize("name", HEADS)
def test_every_head_maps_features_to_a_column_for_each_class(name):
    head = make_head(name, 8, 3)
    outputs = head(torch.randn(4, 8))
    outputs.square().sum().backward()
    assert outputs.shape == (4, 3)
    assert all(weight.grad.abs().sum() > 0 for weight in head.parameters())


def test_an_unknown_head_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown head 'cos'; known: last, linear, mlp, cosine"):
        make_head("cos", 8, 3)


def test_a_head_needs_two_classes():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        make_head("linear", 8, 1)


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_with_the_prior_bias_each_sigmoid_starts_at_one_over_the_number_of_classes(num_classes):
    head = make_head("linear", 8, num_classes)
    bias = set_prior_bias(head, num_classes)
    torch.testing.assert_close(
        torch.sigmoid(head(torch.zeros(1, 8))), torch.full((1, num_classes), 1 / num_classes)
    )
    assert bias is head.bias


def test_the_prior_bias_goes_to_the_last_linear_of_a_head_of_several():
    head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    assert set_prior_bias(head, 3) is head[2].bias


def test_a_head_without_bias_cannot_take_the_prior():
    with pytest.raises(ValueError, match="need a head with a bias: head=linear, got NormedLinear"):
        set_prior_bias(make_head("cosine", 8, 3), 3)
