import pytest
import torch
from torch import nn

from imbalance_study.models.resnet_cifar import resnet20, resnet32, resnet44, resnet56

MODELS = {20: resnet20, 32: resnet32, 44: resnet44, 56: resnet56}


@pytest.mark.parametrize(
    ("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)]
)
def test_depth_and_parameters_are_those_of_the_paper(depth, parameters):
    # Table 6 of He et al. says 0.27, 0.46, 0.66 and 0.85 million.
    model = MODELS[depth](10)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth


def test_the_stages_are_16_32_and_64_wide_and_halve_the_map():
    model, maps = resnet32(10), torch.randn(2, 16, 32, 32)
    shapes = []
    for stage in (model.layer1, model.layer2, model.layer3):
        maps = stage(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_a_block_that_widens_keeps_each_second_pixel_between_channels_of_zeros():
    block = resnet20(10).layer2[0].eval()
    nn.init.zeros_(block.conv2.weight)  # leaves the shortcut alone
    maps = torch.rand(1, 16, 8, 8)
    expected = torch.zeros(1, 32, 4, 4)
    expected[:, 8:24] = maps[:, :, ::2, ::2]
    torch.testing.assert_close(block(maps), expected)


def test_a_block_that_keeps_its_width_adds_its_input():
    block = resnet20(10).layer1[0].eval()
    nn.init.zeros_(block.conv2.weight)
    maps = torch.randn(1, 16, 8, 8)
    torch.testing.assert_close(block(maps), maps.relu())


def test_weights_start_with_the_deviation_of_he_et_al_by_fan_in():
    torch.manual_seed(0)
    model = resnet56(10)
    for stage, width in ((model.layer1, 16), (model.layer2, 32), (model.layer3, 64)):
        deviation = stage[1].conv1.weight.std().item()
        assert deviation == pytest.approx((2 / (9 * width)) ** 0.5, rel=0.05)


def test_it_can_be_exported_and_gives_the_same_logits_for_another_batch_size():
    model = resnet20(10).eval()
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(model, (torch.randn(2, 3, 32, 32),), dynamic_shapes=[{0: batch}])
    images = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(exported.module()(images), model(images))
