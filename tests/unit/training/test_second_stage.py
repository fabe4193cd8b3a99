import copy

import pytest
import torch
from torch import nn

from imbalance_study.config import choices, spec
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import class_weights, losses, optim
from imbalance_study.training.second_stage import ScaledClassifier

STAGES = spec.functions(choices.STAGES)


def _head():
    head = nn.Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        head.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
    return head


def test_the_scaled_classifier_starts_as_the_classifier():
    features = torch.tensor([[2.0, 3.0], [-1.0, 4.0]])
    head = _head()
    assert torch.equal(ScaledClassifier(head, 3)(features), head(features))


def test_each_logit_is_multiplied_by_the_factor_of_its_class():
    scaled = ScaledClassifier(_head(), 3)
    with torch.no_grad():
        scaled.scale.copy_(torch.tensor([2.0, 0.5, -1.0]))
    found = scaled(torch.tensor([[2.0, 3.0]]))
    assert found.tolist() == [[5.0, 1.5, -4.0]]


def test_only_the_factors_learn():
    head = _head()
    scaled = ScaledClassifier(head, 3)
    assert [name for name, p in scaled.named_parameters() if p.requires_grad] == ["scale"]
    before = head.weight.clone()
    optimizer = torch.optim.SGD([p for p in scaled.parameters() if p.requires_grad], lr=0.1)
    scaled(torch.tensor([[2.0, 3.0]]))[0, 0].backward()
    optimizer.step()
    # the derivative of scale * 2.5 is 2.5
    torch.testing.assert_close(scaled.scale, torch.tensor([0.75, 1.0, 1.0]))
    assert torch.equal(head.weight, before)


def test_with_frozen_false_the_classifier_learns_as_well():
    scaled = ScaledClassifier(_head(), 3, frozen=False)
    assert all(parameter.requires_grad for parameter in scaled.parameters())
    assert scaled.train().classifier.training


def test_a_frozen_classifier_has_no_dropout_while_the_factors_train():
    scaled = ScaledClassifier(nn.Sequential(nn.Dropout(0.9), _head()), 3)
    outer = nn.Sequential(scaled).train()
    features = torch.tensor([[2.0, 3.0]])
    assert scaled.training
    assert torch.equal(outer(features), scaled.eval()(features))


def test_its_state_can_be_saved_and_loaded():
    scaled = ScaledClassifier(_head(), 3)
    with torch.no_grad():
        scaled.scale.fill_(3.0)
    other = ScaledClassifier(nn.Linear(2, 3), 3)
    other.load_state_dict(scaled.state_dict())
    features = torch.tensor([[2.0, 3.0]])
    assert torch.equal(other(features), scaled(features))


def _model():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        body = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
        return Classifier(nn.Sequential(*body, nn.Linear(4, 3)), image_size=3)


IMAGES = torch.randn(16, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def _train_a_bit(model, stage, steps=3):
    stage.train_mode(model)
    targets, counts = torch.arange(16) % 3, torch.tensor([9.0, 3.0, 1.0])
    optim.set_lr(stage.optimizer, stage.lr)
    for _ in range(steps):
        stage.optimizer.zero_grad()
        stage.loss(model(IMAGES), targets, counts).mean().backward()
        stage.optimizer.step()


@pytest.mark.parametrize("name", STAGES)
def test_training_a_stage_moves_the_head_and_leaves_the_backbone_bit_by_bit(name):
    model = _model().train()
    before = copy.deepcopy(model.state_dict())
    stage = STAGES[name](model)
    features = model.eval().forward_features(IMAGES)
    start = copy.deepcopy(model.state_dict())
    _train_a_bit(model, stage)
    after = model.state_dict()
    for key, value in before.items():
        if key.startswith("backbone."):
            assert torch.equal(after[key], value)
    assert torch.equal(model.forward_features(IMAGES), features)  # no dropout either
    moved = {key for key in start if not torch.equal(start[key], after[key])}
    assert (
        moved
        == {
            "crt": {"classifier.weight", "classifier.bias"},
            "lws": {"classifier.scale"},
            "las": {
                "classifier.scale",
                "classifier.classifier.weight",
                "classifier.classifier.bias",
            },
            "maxnorm": {"classifier.weight", "classifier.bias"},
            "los": {"classifier.weight", "classifier.bias"},
        }[name]
    )


@pytest.mark.parametrize("name", STAGES)
def test_no_gradient_reaches_the_backbone(name):
    model = _model()
    _train_a_bit(model, STAGES[name](model), steps=1)
    assert all(p.grad is None for p in model.backbone.parameters())
    assert not model.forward_features(IMAGES).requires_grad


@pytest.mark.parametrize("name", STAGES)
def test_only_the_head_is_put_into_training_mode(name):
    model = _model().train()
    stage = STAGES[name](model)
    stage.train_mode(model)
    assert model.get_classifier().training
    assert not any(module.training for module in model.backbone.modules())


def test_a_new_classifier_is_drawn_from_the_default_generator():
    heads = []
    for seed in (1, 1, 2):
        model = _model()
        old = model.classifier.weight.detach().clone()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            STAGES["crt"](model)
        assert not torch.equal(model.classifier.weight, old)
        heads.append(model.classifier.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_cosine_head_makes_way_for_a_linear_one():
    model = _model()
    model.reset_classifier(3, "cosine")
    STAGES["crt"](model)
    assert type(model.classifier) is nn.Linear


@pytest.mark.parametrize("name", ["lws", "las", "maxnorm", "los"])
def test_a_stage_that_keeps_the_head_starts_from_its_logits(name):
    model = _model().eval()
    logits = model(IMAGES)
    STAGES[name](model)
    assert torch.equal(model.eval()(IMAGES), logits)


def test_the_head_of_label_aware_smoothing_learns_at_its_share_of_the_rate():
    stage = STAGES["las"](_model(), lr=0.2, head_lr=0.25)
    optim.set_lr(stage.optimizer, 0.1)
    assert [group["lr"] for group in stage.optimizer.param_groups] == [0.025, 0.1]
    assert stage.lr == 0.2


def test_label_aware_smoothing_has_its_loss_with_its_options():
    stage = STAGES["las"](_model(), smooth_head=0.6, smooth_tail=0.2, shape="linear")
    logits, counts = torch.tensor([[2.0, 0.0, 0.0]] * 3), torch.tensor([101.0, 51.0, 1.0])
    found = stage.loss(logits, torch.tensor([0, 1, 2]), counts)
    expected = losses.label_aware_smoothing(
        logits, torch.tensor([0, 1, 2]), counts, smooth_head=0.6, smooth_tail=0.2, shape="linear"
    )
    assert torch.equal(found, expected)
    log_probs = logits[0].log_softmax(0)
    assert found[0].item() == pytest.approx(
        -(0.4 * log_probs[0] + 0.3 * (log_probs[1] + log_probs[2])).item()
    )


def test_shifted_batch_norm_follows_the_images_while_the_rest_of_the_backbone_rests():
    model = _model()
    weights = copy.deepcopy(dict(model.backbone.named_parameters()))
    stage = STAGES["las"](model, shift_bn=True)
    _train_a_bit(model, stage, steps=1)
    norm = model.backbone[1]
    assert norm.num_batches_tracked == 1
    assert all(torch.equal(p, weights[name]) for name, p in model.backbone.named_parameters())
    assert not model.backbone[2].training
    means = model.backbone[0](IMAGES).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, 0.1 * means)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs of stage2 must be at least 1, got 0"),
        ({"lr": 0.0}, "lr of stage2 must be larger than 0 and finite, got 0"),
        ({"lr": float("inf")}, "lr of stage2 must be larger than 0 and finite, got inf"),
        ({"weight_decay": -0.1}, "weight_decay of stage2 must be at least 0, got -0.1"),
    ],
)
def test_a_option_out_of_range_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        STAGES[name](_model(), **options)


def test_max_norm_scales_the_weights_that_are_too_long_back_to_the_cap_after_each_update():
    """The reference: cap = min + threshold (max - min) of the norms, as in the authors' code."""
    model = _model()
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 5]]))
    stage = STAGES["maxnorm"](model, threshold=0.25, weight_decay=0.0)  # cap 1 + 0.25 * 4 = 2
    for parameter in model.classifier.parameters():
        parameter.grad = torch.zeros_like(parameter)
    stage.optimizer.step()
    expected = torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 2]])
    torch.testing.assert_close(model.classifier.weight.detach(), expected)
    _train_a_bit(model, stage, steps=5)
    assert model.classifier.weight.norm(dim=1).max() <= 2 + 1e-6


def test_max_norm_draws_images_as_they_are_and_weighs_them_by_effective_numbers():
    stage = STAGES["maxnorm"](_model(), beta=0.99)
    counts = torch.tensor([90.0, 30.0, 10.0])
    expected = class_weights.effective_weights(counts, beta=0.99)
    assert torch.equal(stage.class_weights(counts), expected)
    drawn = stage.sampler(torch.arange(7) % 3, torch.Generator().manual_seed(0))
    assert sorted(drawn.tolist()) == list(range(7))
    assert stage.optimizer.defaults["weight_decay"] == 0.1


def test_max_norm_needs_a_linear_head_and_a_share_as_threshold():
    model = _model()
    with pytest.raises(ValueError, match=r"threshold of stage2=maxnorm must be in \[0, 1\], got 2"):
        STAGES["maxnorm"](model, threshold=2.0)
    model.reset_classifier(3, "cosine")
    with pytest.raises(ValueError, match="stage2=maxnorm needs a linear head"):
        STAGES["maxnorm"](model)


def test_over_smoothed_labels_are_slightly_above_1_over_c_for_the_true_class():
    stage = STAGES["los"](_model(), smoothing=0.9)
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    log_probs = logits[0].log_softmax(0)
    label = torch.tensor([0.4, 0.3, 0.3])  # 1 - 0.9 + 0.9 / 3, and 0.9 / 3
    found = stage.loss(logits, torch.tensor([0]), torch.tensor([5.0, 5.0, 5.0]))
    assert found.item() == pytest.approx(-(label * log_probs).sum().item())
    counts = torch.tensor([9.0, 3.0, 1.0])
    assert torch.equal(stage.class_weights(counts), torch.ones(3))
    assert sorted(stage.sampler(torch.arange(5), torch.Generator()).tolist()) == list(range(5))
    with pytest.raises(ValueError, match=r"smoothing of stage2=los must be in \[0, 1\), got 1"):
        STAGES["los"](_model(), smoothing=1.0)
