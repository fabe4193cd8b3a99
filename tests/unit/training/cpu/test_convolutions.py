import copy

import pytest
import torch
import toy_training
from torch import nn

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.inputs import load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.models import zoo
from imbalance_study.training.cpu.convolutions import (
    CpuConv2d,
    enabled,
    replace_convolutions,
)

# Sides of the maps, stride, groups, kernel, bias: each pair of values is there at least once.
CASES = [
    (1, 1, 1, 1, True),
    (1, 2, 2, 3, False),
    (1, 1, 8, 5, True),
    (1, 2, 1, 7, False),
    (1, 1, 2, (1, 5), True),
    (2, 2, 8, 1, False),
    (2, 1, 1, 3, True),
    (2, 2, 2, 5, False),
    (2, 1, 8, 7, True),
    (2, 2, 1, (1, 5), False),
    (3, 1, 2, 1, False),
    (3, 2, 8, 3, True),
    (3, 1, 1, 5, False),
    (3, 2, 2, 7, True),
    (3, 1, 8, (1, 5), False),
    (5, 2, 1, 1, True),
    (5, 1, 2, 3, False),
    (5, 2, 8, 5, True),
    (5, 1, 1, 7, False),
    (5, 2, 2, (1, 5), True),
]


def maps_and_gradients(layer: nn.Conv2d, images: torch.Tensor) -> list[torch.Tensor]:
    inputs = images.clone().requires_grad_()
    maps = layer(inputs)
    weights = torch.arange(maps.numel()).reshape(maps.shape)
    return [maps, *torch.autograd.grad((maps * weights).sum(), [inputs, *layer.parameters()])]


@pytest.mark.parametrize(("side", "stride", "groups", "kernel", "bias"), CASES)
def test_maps_and_gradients_are_those_of_torchs_convolution(side, stride, groups, kernel, bias):
    torch.manual_seed(0)
    padding = kernel // 2 if isinstance(kernel, int) else tuple(k // 2 for k in kernel)
    plain = nn.Conv2d(8, 16, kernel, stride, padding, groups=groups, bias=bias).double()
    images = torch.randn(3, 8, side, side, dtype=torch.float64)
    expected = maps_and_gradients(plain, images)
    layer = CpuConv2d.of(plain)
    assert all(map(torch.equal, maps_and_gradients(layer, images), expected))
    with enabled(layer):
        for actual, wanted in zip(maps_and_gradients(layer, images), expected, strict=True):
            torch.testing.assert_close(actual, wanted)


@pytest.mark.parametrize(
    "options",
    [{"padding": 0}, {"padding": 2, "dilation": 2}, {"padding": 1, "padding_mode": "reflect"}],
)
def test_other_paddings_are_computed_as_before(options):
    plain = nn.Conv2d(4, 4, 3, **options)
    images = torch.randn(2, 4, 6, 6)
    layer = CpuConv2d.of(plain)
    with enabled(layer):
        assert torch.equal(layer(images), plain(images))


def test_taps_on_padding_are_left_out_and_get_no_gradient():
    layer = CpuConv2d.of(nn.Conv2d(6, 6, 5, padding=2, groups=6))
    with enabled(layer):
        layer(torch.randn(2, 6, 1, 1)).sum().backward()
        with torch.profiler.profile(record_shapes=True) as profile:
            layer(torch.randn(2, 6, 1, 1))
    taps = layer.weight.grad.clone()
    assert (taps[:, :, 2, 2] != 0).all()
    taps[:, :, 2, 2] = 0
    assert not taps.any()
    shapes = [e.input_shapes[1] for e in profile.key_averages(True) if e.key == "aten::conv2d"]
    assert shapes == [[6, 1, 1, 1]]


def test_names_and_weights_of_a_model_stay_and_nothing_is_drawn():
    model = zoo.create("resnet18", 3, image_size=32)
    before = dict(model.state_dict(keep_vars=True))
    torch.manual_seed(0)
    wanted = torch.get_rng_state()
    replace_convolutions(model)
    assert torch.equal(torch.get_rng_state(), wanted)
    after = model.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert {type(layer) for layer in convolutions} == {CpuConv2d}


def test_a_layer_in_two_places_stays_one_layer():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    replace_convolutions(model)
    assert model[0] is model[2]
    assert type(model[0]) is CpuConv2d


def test_a_model_computes_as_before_outside_the_context_even_after_an_error():
    plain = zoo.create("resnet18", 3, image_size=32).eval()
    model = copy.deepcopy(plain)
    replace_convolutions(model)
    images = torch.randn(2, 3, 32, 32)
    with pytest.raises(KeyError), enabled(model):
        raise KeyError
    assert torch.equal(model(images), plain(images))
    assert torch.equal(copy.deepcopy(model)(images), plain(images))


def test_models_are_built_with_these_layers_and_a_training_alone_enables_them(monkeypatch):
    config = make(dataset="digits", model="custom_cnn", image_size=8, device="cpu")
    layers = list(build_model(load_inputs(config)).modules())
    assert CpuConv2d in map(type, layers)
    assert nn.Conv2d not in map(type, layers)

    seen = []
    forward = CpuConv2d.forward

    def recorded(layer, images):
        seen.append(layer.enabled)
        return forward(layer, images)

    monkeypatch.setattr(CpuConv2d, "forward", recorded)
    model = toy_training.model_of()
    replace_convolutions(model)
    toy_training.fit_toy(model, toy_training.procedure_of(model, epochs=1))
    assert set(seen) == {True}
    model(torch.zeros(1, 3, 6, 6))
    assert seen[-1] is False


def test_the_exported_program_is_that_of_the_plain_model():
    plain = zoo.create("custom_cnn", 3, image_size=32).eval()
    model = copy.deepcopy(plain)
    replace_convolutions(model)
    example = (torch.randn(2, 3, 32, 32),)
    programs = [torch.export.export(network, example) for network in (plain, model)]
    codes = [program.graph_module.code for program in programs]
    assert codes[0] == codes[1]
    assert "conv2d" in codes[0]
    assert list(programs[0].state_dict) == list(programs[1].state_dict)
