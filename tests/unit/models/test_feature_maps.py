import pytest
import torch
from torch import Tensor, nn

from imbalance_study.models.feature_maps import (
    dry_forward,
    layer_maps,
    on_meta_or_cpu,
    stand_in_state,
)


class LooksAtValues(nn.Module):
    """Cannot run on the meta device, for it decides by a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return maps if bool(images.sum() == 0) else maps[:, :, ::2, ::2]


class Block(nn.Module):
    """Halves the map, with a shortcut that its convolution does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.twice = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        return (self.twice(self.conv(maps)) + self.twice(maps))[:, :, ::2, ::2]


def network() -> nn.Module:
    shared = nn.ReLU()
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        shared,
        nn.Sequential(Block(), nn.Dropout(0.5)),
        shared,
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
    )


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_dry_forward_changes_neither_the_model_nor_any_generator(device):
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    output = dry_forward(model, 16, batch_size=3, device=device)
    assert output.shape == (3, 4 * 49)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())


def test_the_stand_in_has_other_memory_and_trains_what_the_model_trains():
    model = network().requires_grad_(False)
    model[0].weight.requires_grad_(True)
    copies = stand_in_state(model, "cpu")
    assert copies.keys() == model.state_dict().keys()
    assert copies["0.weight"].data_ptr() != model[0].weight.data_ptr()
    assert copies["0.weight"].requires_grad
    assert not copies["0.bias"].requires_grad
    assert not copies["1.running_mean"].requires_grad


def test_a_model_that_looks_at_values_runs_on_the_cpu():
    model = LooksAtValues()
    assert on_meta_or_cpu(lambda device: dry_forward(model, 8, device=device).device.type) == "cpu"
    assert layer_maps(model, 8) == [("conv", 8)]


def test_small_images_are_tried_on_the_cpu_and_its_error_is_the_one_that_is_shown():
    model = nn.Conv2d(3, 4, 5)
    tried = []

    def work(device):
        tried.append(device)
        return dry_forward(model, 4, device=device)

    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        on_meta_or_cpu(work, 64)
    assert tried == ["cpu", "meta"]
    assert on_meta_or_cpu(lambda device: device, 64) == "cpu"
    assert on_meta_or_cpu(lambda device: device, 65) == "meta"


def test_layer_maps_are_those_that_all_information_passes_through():
    # Neither the block's convolution, nor what is called twice, nor the pooling that blows 4x4 up.
    assert layer_maps(network(), 16) == [("0", 8), ("1", 8), ("3.0", 4), ("3.1", 4)]


def test_a_convolution_that_cuts_patches_is_no_map_of_features():
    patches = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 4, 3, padding=1))
    assert layer_maps(patches, 16) == [("1", 4)]


def test_no_hook_stays_behind_even_when_the_size_is_wrong():
    model = network()
    layer_maps(model, 16)
    with pytest.raises(RuntimeError):
        layer_maps(nn.Sequential(model, nn.Linear(5, 5)), 16)
    assert not any(module._forward_hooks for module in model.modules())
