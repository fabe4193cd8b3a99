import dataclasses
import math

import pytest
import torch

from imbalance_study.experiment.setup.device import CPU
from imbalance_study.experiment.setup.model import build, build_model


def test_the_seed_of_the_run_decides_the_weights(make_inputs):
    torch.manual_seed(99)
    one = build_model(make_inputs(seed=1)).state_dict()
    torch.manual_seed(7)
    same, other = (build_model(make_inputs(seed=seed)).state_dict() for seed in (1, 2))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_sigmoids_start_at_the_prior_of_one_class_in_three(make_inputs):
    bias = build_model(make_inputs(loss="sigmoid")).get_classifier().bias
    torch.testing.assert_close(bias.detach(), torch.full((3,), -math.log(2)))


@pytest.mark.parametrize("way", ["off", "joint"])
def test_the_decoder_stays_only_where_it_is_trained(make_inputs, way):
    model = build_model(make_inputs(model="unet:width=4", image_size=16, autoencoder=way))
    assert (model.decoder is None) is (way == "off")


def test_weights_lie_in_the_memory_format_of_the_device_setup(make_inputs):
    inputs = make_inputs()
    last = dataclasses.replace(inputs, device_setup=CPU._replace(channels_last=True))
    for one, expected in ((inputs, False), (last, True)):
        weight = build_model(one).state_dict()["backbone.layer1.0.conv1.weight"]
        assert weight.is_contiguous(memory_format=torch.channels_last) is expected


def test_without_weights_there_is_no_record_of_them(make_inputs):
    assert build(make_inputs()).weights is None
