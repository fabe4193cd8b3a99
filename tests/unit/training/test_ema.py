import copy

import pytest
import torch
from torch import nn

from imbalance_study.training.ema import WeightAverage, decay_at


def _model(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def _train_a_bit(model, seed):
    generator = torch.Generator().manual_seed(seed)
    model.train()
    model(torch.randn(8, 3, 3, 3, generator=generator))  # moves the batch-norm statistics
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def test_the_decay_warms_up_to_its_final_value():
    assert decay_at(0, 0.999) == pytest.approx(0.1)
    assert decay_at(80, 0.999) == pytest.approx(0.9)
    assert decay_at(10**6, 0.999) == 0.999
    assert decay_at(0, 0.05) == 0.05


def test_the_average_of_a_weight_worked_out_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = WeightAverage(model, decay=0.15)
    nn.init.constant_(model.weight, 2.0)
    average.update(model)  # decay 1/10
    assert average.model.weight.item() == pytest.approx(0.1 * 1 + 0.9 * 2)
    nn.init.constant_(model.weight, 4.0)
    average.update(model)  # decay 0.15, below 2/11
    assert average.model.weight.item() == pytest.approx(0.15 * 1.9 + 0.85 * 4)
    assert average.updates == 2


def test_batch_norm_buffers_are_copied_and_the_model_is_left_alone():
    model = _model()
    average = WeightAverage(model, decay=0.9)
    _train_a_bit(model, 1)
    before = copy.deepcopy(model.state_dict())
    average.update(model)
    for name, buffer in average.model.named_buffers():
        assert torch.equal(buffer, model.get_buffer(name))
    assert average.model.get_buffer("1.num_batches_tracked") == 1
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_average_is_a_model_in_eval_mode_without_gradients():
    model = _model().train()
    average = WeightAverage(model, decay=0.9)
    assert not any(module.training for module in average.model.modules())
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert average.model(torch.zeros(1, 3, 3, 3)).shape == (1, 2)


def test_an_average_restored_from_its_state_goes_on_bit_by_bit():
    model = _model()
    whole = WeightAverage(model, decay=0.9)
    for seed in range(4):
        _train_a_bit(model, seed)
        whole.update(model)
        if seed == 1:
            state = copy.deepcopy(whole.state_dict())
    model = _model()
    for seed in range(2):
        _train_a_bit(model, seed)
    resumed = WeightAverage(_model(7), decay=0.9)
    resumed.load_state_dict(state)
    for seed in range(2, 4):
        _train_a_bit(model, seed)
        resumed.update(model)
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name])


def test_a_model_without_buffers_can_be_averaged():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, decay=0.5)
    average.update(model)
    torch.testing.assert_close(average.model.weight, model.weight)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="ema_decay must be larger than 0 and smaller than 1"):
        WeightAverage(nn.Linear(1, 1), decay)


def test_tensors_are_updated_in_lists_of_one_type(monkeypatch):
    """A list of several types is a launch for each tensor on a GPU."""
    model = nn.Sequential(_model(), _model())
    average = WeightAverage(model, decay=0.9)
    lists = []
    copy_all = torch._foreach_copy_

    def recorded(ours, theirs):
        lists.append({tensor.dtype for tensor in ours})
        copy_all(ours, theirs)

    monkeypatch.setattr(torch, "_foreach_copy_", recorded)
    average.update(model)
    assert lists == [{torch.float32}, {torch.int64}]
