import copy

import pytest
import torch
from torch import nn

from imbalance_study.models.classifier import Classifier, cam_layers_at


def small_model(bias: bool = True) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 4, bias=bias)),
    )


def test_cutting_before_the_last_linear_leaves_the_function_as_it_was():
    model, images = small_model(), torch.randn(3, 3, 8, 8)
    expected = model(images)
    classifier = Classifier(model, image_size=8)
    assert torch.equal(classifier(images), expected)
    assert (classifier.num_features, classifier.num_classes) == (5, 4)
    assert classifier.head_name == "6.1"


def test_the_head_of_the_features_is_the_forward_pass():
    classifier, images = Classifier(small_model(), image_size=8), torch.randn(3, 3, 8, 8)
    features = classifier.forward_features(images)
    assert features.shape == (3, 5)
    torch.testing.assert_close(
        features @ classifier.get_classifier().weight.T + classifier.get_classifier().bias,
        classifier(images),
    )


def test_state_dict_keys_are_the_models_own_behind_backbone_and_classifier():
    model = small_model()
    own = set(model.state_dict())
    keys = set(Classifier(model, image_size=8).state_dict())
    body = {f"backbone.{key}" for key in own if not key.startswith("6.1")}
    assert keys == body | {"classifier.weight", "classifier.bias"}


def test_a_last_linear_without_bias_is_given_zeros():
    model, images = small_model(bias=False), torch.randn(3, 3, 8, 8)
    expected = model(images)
    classifier = Classifier(model, image_size=8)
    assert torch.equal(classifier(images), expected)
    assert classifier.classifier.bias.tolist() == [0] * 4


def test_a_new_head_has_the_new_classes_and_leaves_the_backbone_alone():
    classifier = Classifier(small_model(), image_size=8).to(torch.float64)
    before = copy.deepcopy(classifier.backbone.state_dict())
    classifier.reset_classifier(7, head="cosine")
    cosines = classifier(torch.randn(3, 3, 8, 8, dtype=torch.float64))
    assert cosines.shape == (3, 7)
    assert cosines.dtype == torch.float64
    assert cosines.abs().max() <= 1 + 1e-12
    assert classifier.num_classes == 7
    assert all(torch.equal(before[k], v) for k, v in classifier.backbone.state_dict().items())


def test_a_model_without_a_linear_is_refused():
    with pytest.raises(ValueError, match=r"needs a torch.nn.Linear as its last layer, got none"):
        Classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), image_size=8)


def test_the_layer_to_explain_is_the_last_whose_map_is_4x4_or_more():
    classifier = Classifier(small_model(), image_size=8)
    assert classifier.cam_layers == ("backbone.1", "backbone.3")
    assert cam_layers_at(classifier, 7) == ("backbone.1",)  # 3x3 after the pooling
    assert cam_layers_at(classifier, 3) == ()


def test_a_copy_gives_the_same_logits_and_the_same_layers():
    classifier, images = Classifier(small_model(), image_size=8), torch.randn(3, 3, 8, 8)
    layers = classifier.cam_layers
    twin = copy.deepcopy(classifier)
    assert torch.equal(twin(images), classifier(images))
    assert twin.cam_layers == layers


def test_a_classifier_of_the_features_shares_the_head_and_has_no_backbone():
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3)
    whole = Classifier(nn.Sequential(*body, nn.Linear(8, 4)), image_size=8).eval()
    head, images = whole.on_features(), torch.randn(5, 3, 8, 8)
    assert head.takes_features
    assert not whole.takes_features
    assert head.classifier is whole.classifier
    assert list(head.state_dict()) == ["classifier.weight", "classifier.bias"]
    assert torch.equal(head(whole.forward_features(images)), whole(images))
    other = copy.deepcopy(head)
    other.reset_classifier(4)
    joined = whole.with_head_of(other)
    assert joined.backbone is whole.backbone
    assert joined.classifier is other.classifier
