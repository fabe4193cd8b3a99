from itertools import pairwise

import pytest
import torch
from torch import nn

from imbalance_study.models.custom_cnn import SqueezeExcitation, custom_cnn

WIDTHS = [3, 64, 128, 256, 512]


def test_the_parameters_are_those_of_the_layers_in_the_description():
    blocks = sum(
        9 * before * after + 9 * after * after + 2 * 2 * after for before, after in pairwise(WIDTHS)
    )
    head = (512 * 256 + 256) + (256 * 10 + 10)
    assert sum(p.numel() for p in custom_cnn(10).parameters()) == blocks + head


def test_se_adds_two_small_layers_to_each_block():
    plain = sum(p.numel() for p in custom_cnn(10).parameters())
    with_se = sum(p.numel() for p in custom_cnn(10, se=True).parameters())
    extra = sum(2 * width * (width // 16) + width // 16 + width for width in WIDTHS[1:])
    assert with_se - plain == extra


def test_three_poolings_leave_4x4_of_32_px_and_1x1_of_8():
    features = custom_cnn(10).features
    assert features(torch.randn(2, 3, 32, 32)).shape == (2, 512, 4, 4)
    assert features(torch.randn(2, 3, 8, 8)).shape == (2, 512, 1, 1)


def test_each_convolution_is_followed_by_batch_norm_and_relu():
    kinds = [type(m) for m in custom_cnn(10).features.modules() if not list(m.children())]
    block = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2
    assert kinds == [*block, nn.MaxPool2d] * 3 + block


def test_squeeze_and_excitation_weighs_channels_as_worked_out_by_hand():
    layer = SqueezeExcitation(2, reduction=2)
    with torch.no_grad():
        layer.squeeze.weight.copy_(torch.tensor([[1.0, -1.0]]))
        layer.squeeze.bias.zero_()
        layer.excite.weight.copy_(torch.tensor([[1.0], [-2.0]]))
        layer.excite.bias.zero_()
    maps = torch.tensor([[[[1.0, 5.0]], [[0.0, 2.0]]]])  # channel means 3 and 1, difference 2
    weights = torch.sigmoid(torch.tensor([2.0, -4.0]))
    torch.testing.assert_close(layer(maps), maps * weights[None, :, None, None])


@pytest.mark.parametrize("block", [0, 2, 4, 6])
def test_a_block_whose_channels_are_all_shut_lets_nothing_of_the_image_through(block):
    model = custom_cnn(10, se=True).eval()
    gate = model.features[block][-1]
    with torch.no_grad():
        gate.excite.weight.zero_()
        gate.excite.bias.fill_(-1e9)
    logits = model(torch.randn(4, 3, 16, 16))
    torch.testing.assert_close(logits, logits[:1].expand(4, -1), rtol=0, atol=1e-6)


def test_dropout_hides_its_share_of_the_512_pooled_features_while_training():
    torch.manual_seed(0)
    model = custom_cnn(10, dropout=0.3)
    seen = []
    model.dropout.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    model(torch.randn(64, 3, 16, 16))
    model.eval()(torch.randn(64, 3, 16, 16))
    (pooled, thinned), (pooled_later, kept) = seen
    assert pooled.shape == (64, 512)
    assert (thinned[pooled != 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(pooled_later, kept)


def test_dropout_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"dropout of model custom_cnn must be in \[0, 1\), got 1"):
        custom_cnn(10, dropout=1.0)
