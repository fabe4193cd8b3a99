import copy

import pytest
import torch
from torch import nn

from imbalance_study.training.cpu.convolutions import LeanConv2d, lean

CPU = torch.device("cpu")


@pytest.mark.parametrize("side", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, (1, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_maps_and_gradients_are_those_of_torchs_convolution(side, stride, groups, kernel, bias):
    torch.manual_seed(0)
    padding = kernel // 2 if isinstance(kernel, int) else tuple(k // 2 for k in kernel)
    layer = nn.Conv2d(8, 16, kernel, stride, padding, groups=groups, bias=bias).double()
    images = torch.randn(3, 8, side, side, dtype=torch.float64)
    found = []
    for device in (torch.device("meta"), CPU):  # on any other device nothing changes
        layer.zero_grad()
        inputs = images.clone().requires_grad_()
        with lean(layer, device):
            assert (type(layer) is LeanConv2d) == (device is CPU)
            maps = layer(inputs)
        (maps * torch.arange(maps.numel()).reshape(maps.shape)).sum().backward()
        found.append([maps, inputs.grad, *(p.grad.clone() for p in layer.parameters())])
    for wanted, got in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    "options",
    [{"padding": 0}, {"padding": 2, "dilation": 2}, {"padding": 1, "padding_mode": "reflect"}],
)
def test_other_paddings_are_left_as_they_are(options):
    layer = nn.Conv2d(4, 4, 3, **options)
    images = torch.randn(2, 4, 6, 6)
    wanted = layer(images)
    with lean(layer, CPU):
        assert torch.equal(layer(images), wanted)


def test_taps_on_padding_are_left_out_and_get_no_gradient():
    layer = nn.Conv2d(6, 6, 5, padding=2, groups=6)
    with lean(layer, CPU):
        layer(torch.randn(2, 6, 1, 1)).sum().backward()
        with torch.profiler.profile(record_shapes=True) as seen:
            layer(torch.randn(2, 6, 1, 1))
    taps = layer.weight.grad.clone()
    assert (taps[:, :, 2, 2] != 0).all()
    taps[:, :, 2, 2] = 0
    assert not taps.any()
    shapes = [e.input_shapes[1] for e in seen.key_averages(True) if e.key == "aten::conv2d"]
    assert shapes == [[6, 1, 1, 1]]


def test_a_model_is_afterwards_what_it_was_even_after_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(KeyError), lean(model, CPU):
        raise KeyError
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
