import pytest
import torch
from toy_training import batches_of, model_of, procedure_of, same_weights

from imbalance_study.data import mixing
from imbalance_study.training.distributed import ALONE
from imbalance_study.training.update import Update, hits_of


def updated(weights, steps=3, **options):
    """The losses of some updates, and the weights after them."""
    model = model_of().train()
    procedure = procedure_of(model, **options)
    update = Update(model, procedure, ALONE, torch.Generator().manual_seed(0))
    train, losses = batches_of(), []
    for step in range(steps):
        loss, hits = update(train.take(torch.arange(8 * step, 8 * step + 8)), weights)
        assert hits.shape == (8,)
        losses.append(float(loss))
    return losses, model.state_dict()


@pytest.mark.parametrize(
    "options",
    [{}, {"mix": mixing.mixup}, {"hard_fraction": 0.5}, {"mix": mixing.cutmix, "grad_clip": 0.1}],
)
def test_without_weights_an_update_is_that_of_equal_weights_to_the_bit(options):
    plain, weights = updated(None, **options)
    ones, weights_of_ones = updated(torch.ones(3), **options)
    assert plain == ones
    assert same_weights(weights, weights_of_ones)
    assert updated(torch.tensor([0.1, 0.9, 2.0]), **options)[0] != plain


def test_a_hit_is_a_highest_logit_at_the_target():
    logits = torch.tensor([[1.0, 2.0, 0.0], [5.0, 1.0, 1.0], [0.0, 1.0, 9.0]])
    assert hits_of(logits, torch.tensor([1, 1, 2])).tolist() == [True, False, True]
