import copy

import pytest
import torch

from imbalance_study.models import profiling, zoo
from imbalance_study.models.autoencoder import encode_decode

AUTOENCODERS = ("unet:width=8", "mobilenet_v2_autoencoder")


@pytest.mark.parametrize("name", AUTOENCODERS)
@pytest.mark.parametrize("size", [32, 50])
def test_the_reconstruction_has_the_shape_of_the_images_and_the_features_are_those_of_the_model(
    name, size
):
    model = zoo.create(name, 3, image_size=size).eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        features, drawn = encode_decode(model, images)
        assert drawn.shape == images.shape
        torch.testing.assert_close(features, model.forward_features(images))
    assert features.shape == (2, model.num_features)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_the_error_of_the_reconstruction_reaches_every_weight_but_those_of_the_classifier(name):
    model = zoo.create(name, 3, image_size=32)
    images = torch.randn(4, 3, 32, 32)
    encode_decode(model, images)[1].sub(images).square().mean().backward()
    for part, weight in model.named_parameters():
        assert (weight.grad is None) is part.startswith("classifier."), part


def test_the_features_are_the_averaged_bottleneck():
    model = zoo.create("unet:width=4", 3, image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = model.backbone.encode(images)
        torch.testing.assert_close(model.forward_features(images), maps[-1].mean(dim=(2, 3)))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * ("mobilenet" in name)) for name in AUTOENCODERS],
)
def test_without_its_decoder_the_model_costs_encoder_and_classifier_alone(name):
    model = zoo.create(name, 3, image_size=32)
    bare = copy.deepcopy(model)
    bare.decoder = None
    counted = profiling.count_parameters(model, without="decoder")
    assert counted == profiling.count_parameters(bare)
    assert counted.total < profiling.count_parameters(model).total
    assert profiling.macs(model, 32) == profiling.macs(bare, 32)
    assert not any(key.startswith("decoder") for key in bare.state_dict())
    batch = torch.export.Dim("batch", min=1)
    torch.export.export(bare.eval(), (torch.randn(2, 3, 32, 32),), dynamic_shapes=[{0: batch}])


def test_the_u_net_has_the_size_that_its_help_says():
    model = zoo.create("unet", 10, image_size=32)
    assert profiling.count_parameters(model, without="decoder").total == pytest.approx(4.7e6, 0.02)
    assert profiling.count_parameters(model).total == pytest.approx(7.8e6, 0.02)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unet:width=2", "width of model unet must be at least 4, got 2"),
        ("mobilenet_v2_autoencoder:dropout=1", r"dropout of model mobilenet_v2_autoencoder must"),
    ],
)
def test_a_wrong_option_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        zoo.create(name, 3, image_size=32)
