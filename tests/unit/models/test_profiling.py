import psutil
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imbalance_study.config import choices
from imbalance_study.models import zoo
from imbalance_study.models.profiling import (
    count_parameters,
    estimate_training_memory,
    free_cached_memory,
    latency,
    macs,
    model_bytes,
    peak_memory_bytes,
)

NAMED = [name for name in choices.MODELS if name not in ("resnet20", "resnet44", "resnet56")]

QUICK = {"resnet18", "mobilenet_v2", "custom_cnn"}


def tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


class HoldsAPlainTensor(nn.Module):
    """Cannot run on the meta device, for one of its tensors is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.net = torch.ones(3, 1, 1), tiny()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images * self.scale)
        return logits


def test_parameters_are_counted_by_hand_and_frozen_ones_apart():
    model = tiny()
    model[0].requires_grad_(False)
    assert count_parameters(model) == (216 + 16 + 90, 16 + 90)


def test_a_shared_weight_counts_once():
    layer = nn.Linear(4, 4)
    assert count_parameters(nn.Sequential(layer, layer)).total == 20


def test_bytes_are_those_of_weights_and_buffers():
    # Four bytes a number, and eight for the count of batches that batch norm has seen.
    assert model_bytes(tiny()) == 4 * (216 + 16 + 90 + 16) + 8


@pytest.mark.parametrize("model", [tiny(), HoldsAPlainTensor()], ids=["meta", "cpu"])
def test_macs_of_a_convolution_and_a_linear_as_worked_out_by_hand(model):
    assert macs(model, 16) == 216 * 16 * 16 + 8 * 10 + 10


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in NAMED]
)
def test_macs_are_within_3_percent_of_half_of_torchs_flops(name, capfd):
    with torch.device("meta"):  # without values, which are most of the work
        model, image = zoo.create(name, 10, image_size=32), torch.zeros(1, 3, 32, 32)
    counted = macs(model, 32)
    assert capfd.readouterr() == ("", "")
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model.eval()(image)
    assert counted == pytest.approx(flops.get_total_flops() / 2, rel=0.03)


def test_macs_of_a_size_that_is_too_small_give_one_line_of_reason():
    with pytest.raises(ValueError, match=r"MACs at image_size=3 cannot be counted: .*\S$"):
        macs(nn.Sequential(nn.Conv2d(3, 4, 5)), 3)


def test_counting_and_timing_leave_the_model_and_the_generator_as_they_were():
    model = tiny()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    macs(model, 8)
    estimate_training_memory(model, 8, 4)
    latency(model, 8, "cpu", batch_sizes=(2,), seconds=0.02)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert [module.training for module in model.modules()] == [True] * 3 + [False] + [True] * 3
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_latency_gives_a_median_for_each_batch_size_in_bounded_time():
    class Slow(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            torch.ops.aten.mm(torch.ones(300, 300), torch.ones(300, 300))
            return images.repeat(200, 1, 1, 1)

    found = latency(Slow(), 16, "cpu", batch_sizes=(1, 32), seconds=0.3, most_runs=20)
    assert list(found) == [1, 32]
    assert all(0 < timed.median_ms <= timed.p95_ms for timed in found.values())
    assert all(1 <= timed.runs <= 20 for timed in found.values())
    assert found[1].median_ms < found[32].median_ms


def test_the_kept_memory_is_the_weights_four_times_and_what_backward_needs():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    weights = 48 * 5 + 5 + 5 * 2 + 2
    kept = 8 * (48 + 5)  # the input of the first Linear; what ReLU gives, kept once for two
    expected = 4 * (4 * weights + kept + 2 * 8 * 48)
    assert estimate_training_memory(model, 4, 8) == expected
    assert estimate_training_memory(model, 4, 8, copies=5) == expected + 4 * weights


def test_frozen_weights_are_held_once_and_backward_keeps_nothing_before_them():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    model[1].requires_grad_(False)
    frozen, trained, kept = 48 * 5 + 5, 5 * 2 + 2, 8 * 5
    assert estimate_training_memory(model, 4, 8) == 4 * (frozen + 4 * trained + 3 * kept)


def test_the_memory_of_a_model_that_cannot_run_without_values_grows_with_the_batch():
    small, large = (estimate_training_memory(HoldsAPlainTensor(), 16, n) for n in (64, 128))
    assert large > 1.9 * small


def test_the_peak_of_memory_lies_between_what_is_in_use_and_what_the_machine_has():
    block = torch.ones(16 * 2**20)
    in_use = psutil.Process().memory_info().rss
    # The kernel counts the peak now and then, what is in use always.
    assert 0.99 * in_use <= peak_memory_bytes("cpu") <= psutil.virtual_memory().total
    assert in_use > block.numel() * 4


def test_memory_that_torch_keeps_for_later_goes_back_to_the_gpu_where_one_is_in_use(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))
    free_cached_memory()
    assert done == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    free_cached_memory()
    assert done == ["emptied"]
