import inspect

import pytest
import torch
from torch import nn

from imbalance_study.config import choices
from imbalance_study.evaluation.token_maps import as_maps
from imbalance_study.models import zoo
from imbalance_study.models.classifier import Classifier

# One small member of each torchvision family at a size that it takes.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "regnet_y_400mf": 32,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_0": 32,
    "swin_t": 32,
    "vgg11": 32,
    "vit_b_16": 32,
    "wide_resnet50_2": 32,
}
SIZES = dict.fromkeys(choices.MODELS, 32) | FAMILIES
# The others are there by one property in the plain run, and by all in .ci/run.
LONG = {"resnet44", "resnet56", "vgg16"}  # of the named ones
QUICK = [*(name for name in choices.MODELS if name not in LONG), "mnasnet0_5", "squeezenet1_0"]
FEATURES = ["densenet121", "googlenet", "regnet_y_400mf", "shufflenet_v2_x0_5", "swin_t"]
PARAMETERS = {
    "resnet18": 11_173_962,
    "resnet32": 464_154,
    "efficientnet_b0": 4_020_358,
    "mobilenet_v2": 2_236_682,
    "mobilenet_v3_large": 4_214_842,
    "vgg16": 14_982_474,
    "custom_cnn": 4_821_194,
}


def in_ci(names, quick):
    """The names, of which .ci/run alone tests those that are not quick."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in quick)) for name in names]


def seeded(text: str, num_classes: int = 5, image_size: int = 32, **how: str) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return zoo.create(text, num_classes, image_size=image_size, **how)


def unweighted(text: str, num_classes: int = 5, image_size: int = 32, **how: str) -> Classifier:
    """The same network without values, which are most of the work."""
    with torch.device("meta"):
        return zoo.create(text, num_classes, image_size=image_size, **how)


def images_for(model: Classifier, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, model.image_size, model.image_size, generator=generator)


@pytest.fixture(
    scope="module",
    params=in_ci(SIZES, QUICK),
)
def model(request):
    return seeded(request.param, image_size=SIZES[request.param])


def test_a_gradient_reaches_the_first_and_the_last_parameter(model):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if model.head_name == "heads.head":  # a vision transformer's head starts at zero
            model.reset_classifier(5)
        logits = model.train()(images_for(model))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    parameters = [next(model.parameters()), model.get_classifier().weight]
    for gradient in torch.autograd.grad(logits[:, 0].sum(), parameters):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_the_head_of_the_features_is_the_forward_pass(model):
    assert_the_head_of_the_features_is_the_forward_pass(model)


@pytest.mark.parametrize("name", FEATURES)
def test_a_member_of_each_family_has_features_and_a_head(name):
    assert_the_head_of_the_features_is_the_forward_pass(seeded(name, image_size=SIZES[name]))


def assert_the_head_of_the_features_is_the_forward_pass(model):
    images, head = images_for(model), model.eval().get_classifier()
    with torch.no_grad():
        features = model.forward_features(images)
        assert features.shape == (2, model.num_features)
        expected = features @ head.weight.T + head.bias
        torch.testing.assert_close(model(images), expected)
        assert torch.equal(model.forward_head(features), model(images))


def test_the_last_layer_to_explain_has_a_map_of_4x4_or_more(model):
    if type(model.backbone).__name__ == "VisionTransformer":
        assert model.cam_layers == ()  # at 32 px it has 2x2 patches
        return
    maps = []
    for name in model.cam_layers:
        layer = model.get_submodule(name)
        layer.register_forward_hook(
            lambda _module, _inputs, output: maps.append(as_maps(output.detach()))
        )
    with torch.no_grad():
        model.eval()(images_for(model))
    sides = [one.shape[-1] for one in maps]
    assert sides == sorted(sides, reverse=True)
    assert 4 <= sides[-1] <= 8
    assert maps[-1].dim() == 4
    assert (maps[-1].amax(dim=(2, 3)) > maps[-1].amin(dim=(2, 3))).any()


@pytest.mark.parametrize("model", in_ci(choices.MODELS, QUICK), indirect=True)
def test_memory_format_changes_no_prediction(model):
    with torch.no_grad():
        logits = model.eval()(images_for(model))
        model.to(memory_format=torch.channels_last)
        again = model(images_for(model).contiguous(memory_format=torch.channels_last))
        model.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(again, logits, rtol=1e-3, atol=1e-4)


# Last of those that share a model: it takes the head away.
def test_a_new_head_takes_new_classes_and_a_cosine_head_gives_cosines(model):
    keys = set(model.state_dict())
    model.eval().reset_classifier(3)
    assert set(model.state_dict()) == keys
    with torch.no_grad():
        assert model(images_for(model)).shape == (2, 3)
        model.reset_classifier(4, head="cosine")
        cosines = model(images_for(model))
    assert cosines.shape == (2, 4)
    assert cosines.abs().max() <= 1 + 1e-6
    assert cosines.abs().max() > 0


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_the_named_models_with_ten_classes_at_32_px(name):
    model = unweighted(name, 10)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(
    "name",
    in_ci(["resnet18", "efficientnet_b0", "custom_cnn", "resnet32"], {"custom_cnn", "resnet32"}),
)
def test_weights_follow_from_the_seed_of_torchs_default_generator(name):
    one, same = seeded(name).state_dict(), seeded(name).state_dict()
    torch.manual_seed(1)
    other = zoo.create(name, 5, image_size=32).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_a_squeezenet_is_torchvisions_but_for_the_relu_on_the_logits():
    from torchvision.models import get_model

    model = seeded("squeezenet1_0", image_size=64).eval()
    theirs = get_model("squeezenet1_0", num_classes=5)
    body = {k.removeprefix("backbone."): v for k, v in model.state_dict().items()}
    head = {"classifier.1.weight": body.pop("classifier.weight")[:, :, None, None]}
    head["classifier.1.bias"] = body.pop("classifier.bias")
    theirs.load_state_dict(body | head)
    images = images_for(model)
    theirs.classifier[2] = nn.Identity()
    torch.testing.assert_close(model(images), theirs.eval()(images))


@pytest.mark.parametrize(
    ("text", "module", "attribute", "value"),
    [
        ("efficientnet_b0:dropout=0.35", "backbone.classifier.0", "p", 0.35),
        ("efficientnet_b0:stochastic_depth_prob=0", "backbone.features.7.0", "training", True),
        ("mobilenet_v2:dropout=0.4", "backbone.classifier.0", "p", 0.4),
        ("mobilenet_v3_large:dropout=0.4", "backbone.classifier.2", "p", 0.4),
        ("vgg16:dropout=0.1", "backbone.classifier.2", "p", 0.1),
        ("custom_cnn:dropout=0.3,se=true", "backbone.dropout", "p", 0.3),
        (
            "densenet121:drop_rate=0.2",
            "backbone.features.denseblock1.denselayer1",
            "drop_rate",
            0.2,
        ),
    ],
)
def test_options_in_the_spec_reach_the_model(text, module, attribute, value):
    assert getattr(unweighted(text).get_submodule(module), attribute) == value


def test_stochastic_depth_reaches_the_blocks():
    blocks = [
        module
        for module in unweighted("efficientnet_b0:stochastic_depth_prob=0.4").modules()
        if type(module).__name__ == "StochasticDepth"
    ]
    assert max(block.p for block in blocks) == pytest.approx(0.4 * 15 / 16)


OWN_MODELS = """
from torch import nn


def sized(num_classes, *, image_size: int, stem: str, width: int = 4) -> nn.Module:
    assert stem in ("auto", "small")
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * image_size**2, width), nn.Linear(width, num_classes)
    )


def fixed(num_classes) -> nn.Module:
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, 6, 3), pool, nn.Flatten(), nn.Linear(6, 10))


def crooked(num_classes) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, num_classes), nn.Unflatten(1, (1, -1)))
"""


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    (tmp_path / "ownpackage").mkdir()
    (tmp_path / "ownpackage" / "nets.py").write_text(OWN_MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own_models")
def test_a_users_function_is_told_the_image_size_and_its_options_and_wrapped():
    model = seeded("ownpackage.nets:sized:width=6", 5, 8, stem="small", head="cosine")
    assert isinstance(model, Classifier)
    assert (model.num_features, model.num_classes) == (6, 5)
    assert model(images_for(model)).abs().max() <= 1 + 1e-6
    assert seeded("ownpackage.nets:fixed", 10).num_features == 6


@pytest.mark.usefixtures("own_models")
@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("ownpackage.nets:fixed", {}, "must have num_classes=5 outputs, got 10"),
        ("ownpackage.nets:fixed", {"stem": "small"}, "has no small stem; use stem=auto"),
        ("ownpackage.nets:crooked", {}, r"must return \(2, 192\) for 2 images, got \(2, 1, 192\)"),
        ("ownpackage.nets:none", {}, "cannot be imported"),
    ],
)
def test_a_users_function_that_breaks_the_contract_is_refused_with_the_rule(text, how, message):
    with pytest.raises(ValueError, match=message):
        seeded(text, 5, 8, **how)


@pytest.mark.parametrize(
    ("text", "image_size", "how", "message"),
    [
        ("efficentnet_b0", 32, {}, "unknown model 'efficentnet_b0', did you mean efficientnet_b0"),
        ("nothing", 32, {}, "known: resnet18, resnet20, .*, any other torchvision classifier"),
        ("efficientnet_b0:drop=1", 32, {}, "no option 'drop'; it takes: dropout, stochastic"),
        ("resnet50:dropout=0.1", 32, {}, "no option 'dropout'; it takes: none"),
        ("swin_t:stochastic_depth_prob=0", 32, {}, "it takes: dropout, attention_dropout$"),
        ("densenet121:drop_rate=1", 32, {}, r"drop_rate of .* must be in \[0, 1\), got 1.0"),
        ("resnet18", 32, {"stem": "tiny"}, "stem must be one of auto, small, imagenet, got 'tiny'"),
        (
            "resnet18",
            32,
            {"head": "round"},
            "unknown head 'round'; known: last, linear, mlp",
        ),
        ("resnet18", 0, {}, "image_size must be at least 1, got 0"),
        ("resnet32", 32, {"stem": "imagenet"}, "no imagenet stem; use stem=auto or stem=small"),
        ("convnext_tiny", 32, {"stem": "small"}, "no small stem; use stem=auto or stem=imagenet"),
        ("vit_b_16", 33, {}, "vit_b_16 needs an image_size that is a multiple of 16, got 33"),
        ("maxvit_t", 64, {}, "needs an image_size that is a multiple of 224, got 64"),
        pytest.param(
            *("inception_v3", 32, {}, "inception_v3 needs an image_size of at least 75, got 32"),
            marks=pytest.mark.slow,
        ),
        ("alexnet", 32, {}, "alexnet needs an image_size of at least 63, got 32"),
        ("custom_cnn", 7, {}, "custom_cnn needs an image_size of at least 8, got 7"),
        ("vgg16", 31, {}, "vgg16 needs an image_size of at least 32, got 31"),
    ],
)
def test_a_wrong_choice_is_refused_with_what_is_possible(text, image_size, how, message):
    with pytest.raises(ValueError, match=message):
        unweighted(text, 10, image_size, **how)


@pytest.mark.usefixtures("own_models")
def test_a_network_is_tried_once_and_a_users_function_each_time():
    tried = []
    watch = nn.modules.module.register_module_forward_hook
    with watch(lambda module, images, output: tried.append(type(module).__name__)):
        for size in (19, 19, 21):
            seeded("resnet20", 3, size)
        assert tried.count("CifarResNet") == 2
        for _ in range(2):
            seeded("ownpackage.nets:sized", 3, 8)
        assert tried.count("Flatten") == 2


def test_fewer_than_two_classes_are_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        zoo.create("resnet18", 1, image_size=32)


@pytest.mark.parametrize("name", choices.MODELS)
def test_every_named_model_says_in_its_first_line_what_it_is(name):
    help_line = inspect.getdoc(choices.MODELS[name].load()).splitlines()[0]
    assert 20 < len(help_line) <= 90
