import pytest
import torch

from imbalance_study.models import freezing, zoo

MODELS = {
    "resnet18": 9,
    "resnet20": 10,
    "mobilenet_v2": 19,
    "custom_cnn": 9,
    "efficientnet_b0": 18,
    "vit_b_16": 13,
    "unet:width=4": 10,
}


def _model(name, size=32):
    """A network without values, which are most of the work."""
    with torch.device("meta"):
        return zoo.create(name, 3, image_size=size)


@pytest.mark.parametrize("name", MODELS)
def test_blocks_cover_the_backbone_once_and_the_last_one_is_next_to_the_head(name):
    model = _model(name, 32)
    blocks = freezing.blocks_of(model)
    weights = [id(w) for block in blocks for module in block for w in module.parameters()]
    assert len(weights) == len(set(weights))
    outside = {id(w) for w in model.backbone.parameters()} - set(weights)
    assert len(outside) == (2 if name == "vit_b_16" else 0)  # class token and position embedding
    assert len(blocks) == MODELS[name]
    assert all(any(w.ndim > 1 for m in block for w in m.parameters()) for block in blocks)


def _trainable(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_the_last_block_of_a_residual_network_is_its_last_residual_block():
    model = _model("resnet18")
    freezing.set_trainable(model, 1)
    trained = _trainable(model)
    assert {"classifier.weight", "classifier.bias"} < trained
    assert {name.rsplit(".", 2)[0] for name in trained if "layer" in name} == {"backbone.layer4.1"}


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_with_all_blocks_everything_trains_and_with_none_the_head_alone(name):
    model = _model(name)
    total = len(freezing.blocks_of(model))
    freezing.set_trainable(model, 0)
    assert _trainable(model) == {"classifier.weight", "classifier.bias"}
    freezing.set_trainable(model, total - 1)
    assert len(_trainable(model)) < len(list(model.parameters()))
    freezing.set_trainable(model, total)
    assert len(_trainable(model)) == len(list(model.parameters()))


def test_frozen_blocks_are_in_evaluation_mode_and_the_others_train():
    model = _model("mobilenet_v2").eval()
    freezing.train_mode(model, 2)
    for name, module in model.backbone.named_modules():
        weights = list(module.parameters())
        if weights:
            assert module.training is any(w.requires_grad for w in weights), name
    assert model.classifier.training
    assert model.backbone.features[18].training
    assert not model.backbone.features[16].training
    freezing.train_mode(model, 0)
    assert not any(module.training for module in model.backbone.modules())


def test_a_trial_leaves_no_trace():
    model = _model("resnet20")
    model.backbone.conv1.requires_grad_(False)
    before = _trainable(model)
    with freezing.trial(model, 1):
        assert _trainable(model) != before
    assert _trainable(model) == before


def test_gradual_unfreezing_goes_from_the_head_downwards_and_ends_with_everything():
    found = [freezing.gradual(epoch / 20, 5, start=0.1, end=0.6) for epoch in range(20)]
    assert found[:3] == [0, 0, 1]
    assert found == sorted(found)
    assert found[12:] == [5] * 8
    assert set(found) == {0, 1, 2, 3, 4, 5}
    assert freezing.gradual(1.0, 1) == 1


def test_the_number_of_blocks_is_at_most_all():
    assert freezing.partial(0.0, 3, blocks=5) == 3
    assert freezing.partial(0.9, 3, blocks=2) == 2
    assert freezing.head_only(0.9, 3) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: freezing.partial(0, 3, blocks=0), "blocks of freeze partial must be at least 1"),
        (lambda: freezing.gradual(0, 3, start=0.7), "0 <= start < end <= 1, got start=0.7 and"),
        (lambda: freezing.gradual(0, 3, end=1.5), "got start=0.1 and end=1.5"),
    ],
)
def test_a_wrong_option_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        pytest.param("vgg16", 64, 512, marks=pytest.mark.slow),
        ("mobilenet_v3_large", 64, 960),
        ("resnet18", 32, 512),
    ],
)
@pytest.mark.parametrize("head", ["linear", "mlp:hidden=16,dropout=0.1"])
def test_a_custom_head_stands_on_the_pooled_maps(name, size, features, head):
    model = zoo.create(name, 3, image_size=size, stem="imagenet", head=head)
    assert model.num_features == features
    assert not any(isinstance(module, torch.nn.Linear) for module in model.backbone.modules())
    with torch.no_grad():
        assert model.eval()(torch.zeros(2, 3, size, size)).shape == (2, 3)
