import torch
from torch import nn

from imbalance_study.training.second_stage import ScaledClassifier


def _head():
    head = nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        head.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
    return head


def test_the_scaled_classifier_starts_as_the_classifier():
    features = torch.tensor([[2.0, 3.0], [-1.0, 4.0]])
    head = _head()
    assert torch.equal(ScaledClassifier(head, 3)(features), head(features))


def test_each_logit_is_multiplied_by_the_factor_of_its_class():
    scaled = ScaledClassifier(_head(), 3)
    with torch.no_grad():
        scaled.scale.copy_(torch.tensor([2.0, 0.5, -1.0]))
    found = scaled(torch.tensor([[2.0, 3.0]]))
    assert found.tolist() == [[5.0, 1.5, -4.0]]


def test_only_the_factors_learn():
    head = _head()
    scaled = ScaledClassifier(head, 3)
    assert [name for name, p in scaled.named_parameters() if p.requires_grad] == ["scale"]
    before = head.weight.clone()
    optimizer = torch.optim.SGD([p for p in scaled.parameters() if p.requires_grad], lr=0.1)
    scaled(torch.tensor([[2.0, 3.0]]))[0, 0].backward()
    optimizer.step()
    # the derivative of scale * 2.5 is 2.5
    torch.testing.assert_close(scaled.scale, torch.tensor([0.75, 1.0, 1.0]))
    assert torch.equal(head.weight, before)


def test_with_frozen_false_the_classifier_learns_as_well():
    scaled = ScaledClassifier(_head(), 3, frozen=False)
    assert all(parameter.requires_grad for parameter in scaled.parameters())
    assert scaled.train().classifier.training


def test_a_frozen_classifier_has_no_dropout_while_the_factors_train():
    scaled = ScaledClassifier(nn.Sequential(nn.Dropout(0.9), _head()), 3)
    outer = nn.Sequential(scaled).train()
    features = torch.tensor([[2.0, 3.0]])
    assert scaled.training
    assert torch.equal(outer(features), scaled.eval()(features))


def test_its_state_can_be_saved_and_loaded():
    scaled = ScaledClassifier(_head(), 3)
    with torch.no_grad():
        scaled.scale.fill_(3.0)
    other = ScaledClassifier(nn.Linear(2, 3), 3)
    other.load_state_dict(scaled.state_dict())
    features = torch.tensor([[2.0, 3.0]])
    assert torch.equal(other(features), scaled(features))
