import pytest
import torch

from imbalance_study.training.reduction import (
    active_class_weights,
    batch_loss,
    mixed_batch_loss,
)

LOSSES = torch.tensor([4.0, 1.0, 3.0, 2.0], requires_grad=True)
WEIGHTS = torch.tensor([1.0, 2.0, 3.0, 4.0])


def test_the_batch_loss_is_the_weighted_mean():
    assert batch_loss(LOSSES, WEIGHTS).item() == pytest.approx((4 + 2 + 9 + 8) / 10)


def test_the_scale_of_the_weights_does_not_move_the_batch_loss_or_its_gradient():
    plain, scaled = batch_loss(LOSSES, WEIGHTS), batch_loss(LOSSES, 1000 * WEIGHTS)
    torch.testing.assert_close(plain, scaled)
    (first,) = torch.autograd.grad(plain, LOSSES)
    (second,) = torch.autograd.grad(scaled, LOSSES)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.25, 4.0), (0.3, 13 / 4), (0.5, 13 / 4), (0.75, 21 / 8), (1.0, 2.3)],
)
def test_hard_examples_are_the_largest_losses_rounded_up_with_their_own_weights(fraction, expected):
    loss = batch_loss(LOSSES, WEIGHTS, hard_fraction=fraction)
    assert loss.item() == pytest.approx(expected)


def test_easy_examples_get_no_gradient():
    (gradient,) = torch.autograd.grad(batch_loss(LOSSES, WEIGHTS, 0.5), LOSSES)
    torch.testing.assert_close(gradient, torch.tensor([0.25, 0, 0.75, 0]))


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, float("nan")])
def test_a_hard_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(ValueError, match=r"hard_fraction must be in \(0, 1\], got"):
        batch_loss(LOSSES, WEIGHTS, fraction)


def test_mixed_examples_give_both_terms_over_the_sum_of_the_same_weights():
    found = mixed_batch_loss(
        torch.tensor([2.0, 5.0]),
        torch.tensor([3.0, 7.0]),
        torch.tensor([0.25, 1.0]),
        torch.tensor([4.0, 2.0]),
        torch.tensor([8.0, 100.0]),
    )
    # 0.25 * 4 * 2 + 0.75 * 8 * 3 + 2 * 5 over 0.25 * 4 + 0.75 * 8 + 2
    assert found.item() == pytest.approx((2 + 18 + 10) / (1 + 6 + 2))


def test_examples_that_are_not_mixed_give_the_plain_batch_loss():
    other = torch.tensor([9.0, 9.0, 9.0, 9.0])
    for fraction in (0.5, 1.0):
        all_a = mixed_batch_loss(LOSSES, other, torch.ones(4), WEIGHTS, other, fraction)
        all_b = mixed_batch_loss(other, LOSSES, torch.zeros(4), other, WEIGHTS, fraction)
        torch.testing.assert_close(all_a, batch_loss(LOSSES, WEIGHTS, fraction))
        torch.testing.assert_close(all_b, batch_loss(LOSSES, WEIGHTS, fraction))


def test_the_hardest_mixed_examples_are_found_by_their_own_mean_loss():
    ones = torch.ones(2)
    half = torch.full((2,), 0.5)
    found = mixed_batch_loss(
        torch.tensor([9.0, 4.0]), torch.tensor([0.0, 6.0]), half, ones, ones, 0.5
    )
    assert found.item() == pytest.approx(5.0)


def test_class_weights_are_ones_until_the_deferral_is_over():
    weights = torch.tensor([0.5, 1.5])
    before = [active_class_weights(weights, epoch / 200, 0.8) for epoch in (0, 159)]
    after = [active_class_weights(weights, epoch / 200, 0.8) for epoch in (160, 199)]
    assert [w.tolist() for w in before] == [[1, 1], [1, 1]]
    assert [w.tolist() for w in after] == [[0.5, 1.5], [0.5, 1.5]]
    assert active_class_weights(weights, 0.0, 0.0).tolist() == [0.5, 1.5]
