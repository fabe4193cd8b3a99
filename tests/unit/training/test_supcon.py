import math

import pytest
import torch
from torch.nn import functional as F

from imbalance_study.training.supcon import supcon


def test_the_loss_of_four_unit_vectors_worked_out_by_hand():
    # Right, right, up, left; the first two and the last two are of a class.
    features = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]], dtype=torch.float64)
    found = supcon(features, torch.tensor([0, 0, 1, 1]), temperature=1.0)
    e = math.e
    first = math.log(e + 1 + 1 / e) - 1  # similarities 1, 0, -1
    third = math.log(1 + 1 + 1) - 0
    fourth = math.log(2 / e + 1) - 0
    assert found.tolist() == pytest.approx([first, first, third, fourth])


def test_several_positives_count_by_their_mean():
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    found = supcon(features, torch.tensor([0, 0, 0]), temperature=0.5)
    log_sum = math.log(math.exp(2) + 1)
    assert found[0].item() == pytest.approx(((log_sum - 2) + log_sum) / 2)
    assert found[2].item() == pytest.approx(math.log(2))


def test_it_is_the_mean_over_anchors_and_positives_written_as_loops():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    targets = torch.tensor([0, 1, 2, 0, 1, 0, 0, 3, 1])
    units = F.normalize(features, dim=1)
    for i, found in enumerate(supcon(features, targets, temperature=0.2)):
        others = [a for a in range(9) if a != i]
        positives = [p for p in others if targets[p] == targets[i]]
        total = sum(math.exp(units[i] @ units[a] / 0.2) for a in others)
        terms = [math.log(math.exp(units[i] @ units[p] / 0.2) / total) for p in positives]
        expected = -sum(terms) / len(terms) if terms else 0.0
        assert found.item() == pytest.approx(expected)


def test_an_anchor_alone_in_its_class_gives_zero():
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = supcon(features, torch.tensor([0, 0, 1]))
    assert found[2] == 0
    assert (found[:2] > 0).all()


def test_a_batch_of_one_gives_zero_and_a_gradient_of_zero():
    features = torch.ones(1, 4, requires_grad=True)
    found = supcon(features, torch.tensor([0]))
    found.sum().backward()
    assert found.tolist() == [0]
    assert features.grad.tolist() == [[0, 0, 0, 0]]


def test_the_length_of_the_features_does_not_matter():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 0, 1, 0, 1])
    lengths = torch.tensor([[1e-3], [1.0], [1e3], [5.0], [0.1], [2.0]])
    torch.testing.assert_close(supcon(features, targets), supcon(features * lengths, targets))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 1e-4, 1e4])
def test_it_is_finite_at_extremes(dtype, value):
    features = torch.tensor([[value, -value], [-value, value], [value, value]]).to(dtype)
    features.requires_grad_()
    found = supcon(features, torch.tensor([0, 0, 1]), temperature=0.01)
    found.sum().backward()
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert features.grad.isfinite().all()


def test_its_gradient_is_its_derivative():
    features = torch.randn(
        5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    targets = torch.tensor([0, 0, 1, 1, 2])
    torch.autograd.gradcheck(lambda x: supcon(x, targets), (features,))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be larger than 0 and finite, got"):
        supcon(torch.ones(2, 2), torch.tensor([0, 0]), temperature=temperature)
