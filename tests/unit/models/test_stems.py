import pytest
import torch
from torch import nn

from imbalance_study.models import stems, zoo
from imbalance_study.models.classifier import Classifier


def unweighted(text: str, image_size: int = 32, stem: str = "auto") -> Classifier:
    """A network without values: shapes are all that counts here."""
    with torch.device("cpu" if text.startswith("regnet") else "meta"):  # it computes its widths
        return zoo.create(text, 5, image_size=image_size, stem=stem)


def images_for(model: Classifier) -> torch.Tensor:
    device = next(model.parameters()).device
    return torch.zeros(1, 3, model.image_size, model.image_size, device=device)


@pytest.mark.parametrize(
    ("name", "stem", "image_size", "first_map"),
    [
        ("resnet18", "auto", 64, 64),
        ("resnet18", "auto", 65, 17),
        ("resnet18", "imagenet", 32, 8),
        ("resnet18", "small", 224, 224),
        ("wide_resnet50_2", "auto", 32, 32),
        ("resnext50_32x4d", "small", 32, 32),
    ],
)
def test_a_resnets_small_stem_keeps_the_resolution(name, stem, image_size, first_map):
    model = unweighted(name, image_size=image_size, stem=stem)
    sides = []
    model.get_submodule("backbone.layer1").register_forward_pre_hook(
        lambda _module, inputs: sides.append(inputs[0].shape[-1])
    )
    model.eval()(images_for(model))
    assert sides == [first_map]
    assert model.stem == ("small" if first_map == image_size else "imagenet")


@pytest.mark.parametrize(
    ("name", "halvings"),
    [
        pytest.param("densenet121", 3, marks=pytest.mark.slow),
        ("efficientnet_b0", 4),
        pytest.param("mnasnet0_5", 4, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 4, marks=pytest.mark.slow),
        pytest.param("mobilenet_v3_large", 4, marks=pytest.mark.slow),
        ("regnet_y_400mf", 4),
        pytest.param("shufflenet_v2_x0_5", 3, marks=pytest.mark.slow),
    ],
)
def test_every_other_small_stem_leaves_out_the_first_halvings(name, halvings):
    small, own = (unweighted(name, image_size=64, stem=s) for s in ("small", "auto"))
    assert own.stem == "imagenet"
    assert small.cam_layers != own.cam_layers
    assert last_side(small) == 64 // 2**halvings
    assert last_side(own) == 2


def last_side(model: Classifier) -> int:
    sides = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _module, _inputs, output: sides.append(output.shape[-1])
            )
    model.eval()(images_for(model))
    return next(side for side in reversed(sides) if side > 1)


def test_a_small_vgg_has_one_hidden_layer_behind_a_1x1_average():
    small, own = unweighted("vgg11:dropout=0.1"), unweighted("vgg11", image_size=65)
    assert [type(m) for m in small.backbone.classifier] == [
        nn.Linear,
        nn.ReLU,
        nn.Dropout,
        nn.Identity,
    ]
    assert small.backbone.classifier[2].p == 0.1
    assert (small.num_features, own.num_features) == (512, 4096)
    assert (small.stem, own.stem) == ("small", "imagenet")


def test_every_torchvision_classifier_has_a_stem_that_can_be_resolved():
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    small = [name for name in names if stems.resolve(name, "auto", 32) == "small"]
    assert {name.split("_")[0].rstrip("0123456789") for name in small} == {
        "resnet",
        "resnext",
        "vgg",
        "wide",
    }
    assert all(stems.resolve(name, "auto", 224) == "imagenet" for name in names)
