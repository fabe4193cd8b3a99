import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toy_training import (
    COUNTS,
    IMAGES,
    LABELS,
    NUM,
    TARGETS,
    WEIGHTS,
    batches_of,
    fit_toy,
    model_of,
    noise,
    normalise,
    only_the_rarest,
    procedure_of,
    recorded_loss,
    same_weights,
    untimed,
)

from imbalance_study.data import mixing, samplers
from imbalance_study.training import optim
from imbalance_study.training.supcon import supcon


def _step_size(before, after):
    return math.sqrt(
        sum(
            float(((after[name] - value) ** 2).sum())
            for name, value in before.items()
            if name.endswith(("weight", "bias"))
        )
    )


def _train(seed=0, resident=True):
    model = model_of()
    procedure = procedure_of(
        model, augment=noise, mix=mixing.mixup, sampler=samplers.class_balanced
    )
    fitted = fit_toy(
        model,
        procedure,
        train=batches_of(resident=resident),
        val=batches_of([0, 20, 29]),
        seed=seed,
    )
    return untimed(fitted), fitted.last


def test_the_same_seed_gives_the_same_training_and_another_seed_another():
    (history, state), (again, state_again), (other, _) = _train(), _train(), _train(seed=1)
    assert history == again
    assert same_weights(state, state_again)
    assert history[0]["train/loss"] != other[0]["train/loss"]


def test_the_order_of_the_images_follows_from_the_seed():
    orders = []
    for seed in (0, 0, 1):
        seen = []
        model = model_of()
        fit_toy(model, procedure_of(model, loss=recorded_loss(seen), epochs=1), seed=seed)
        orders.append(torch.cat(seen).tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == LABELS.tolist()


def test_images_on_the_device_and_streamed_ones_give_the_same_training():
    (held, held_state), (streamed, streamed_state) = _train(resident=True), _train(resident=False)
    assert held == streamed
    assert same_weights(held_state, streamed_state)


def test_training_does_not_touch_the_random_numbers_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _train()
    assert torch.equal(torch.rand(1), expected)


def test_the_images_that_the_sampler_draws_are_those_that_are_trained_on():
    seen = []
    model = model_of()
    procedure = procedure_of(model, loss=recorded_loss(seen), sampler=only_the_rarest, epochs=1)
    fitted = fit_toy(model, procedure)
    assert torch.cat(seen).tolist() == [2] * 20
    assert fitted.history[0].drawn.tolist() == [0, 0, 20]


def test_a_class_balanced_epoch_shows_the_classes_equally_often():
    seen = []
    model = model_of()
    procedure = procedure_of(
        model, loss=recorded_loss(seen), sampler=samplers.class_balanced, steps_per_epoch=250
    )
    fitted = fit_toy(model, dataclasses.replace(procedure, epochs=1))
    drawn = np.bincount(torch.cat(seen), minlength=3)
    error = math.sqrt(2000 * (1 / 3) * (2 / 3))
    assert (abs(drawn - 2000 / 3) < 4 * error).all()
    assert fitted.history[0].drawn.tolist() == drawn.tolist()


def test_the_sampler_starts_when_the_deferred_fraction_is_done():
    model = model_of()
    fitted = fit_toy(model, procedure_of(model, sampler=only_the_rarest, defer=0.6, epochs=5))
    drawn = [epoch.drawn.tolist() for epoch in fitted.history]
    assert drawn == [list(COUNTS)] * 3 + [[0, 0, 20]] * 2


def test_however_short_the_training_what_is_deferred_rules_the_last_epoch():
    model = model_of()
    fitted = fit_toy(model, procedure_of(model, sampler=only_the_rarest, defer=0.8, epochs=2))
    assert [epoch.drawn.tolist() for epoch in fitted.history] == [list(COUNTS), [0, 0, 20]]


def test_the_class_weights_start_when_the_deferred_fraction_is_done():
    def the_target_itself(logits, targets, class_counts):
        return targets + 0 * logits.sum(1)

    weights = torch.tensor([0.5, 0.5, 2.0])
    model = model_of()
    procedure = procedure_of(
        model, loss=the_target_itself, class_weights=weights, defer=0.5, epochs=4, batch_size=NUM
    )
    losses_seen = [epoch["train/loss"] for epoch in untimed(fit_toy(model, procedure))]
    plain = (8 * 1 + 4 * 2) / 30
    weighted = (0.5 * 8 * 1 + 2 * 4 * 2) / (0.5 * 18 + 0.5 * 8 + 2 * 4)
    assert losses_seen == pytest.approx([plain, plain, weighted, weighted], rel=1e-6)


def test_a_sampler_that_asks_gets_progress_and_the_errors_of_the_epoch_before():
    asked = []

    def sampler(targets, generator, *, progress, class_errors):
        asked.append((progress, class_errors))
        return torch.randperm(len(targets), generator=generator)

    model = model_of()
    procedure = procedure_of(model, sampler=sampler, epochs=4)
    fitted = fit_toy(model, procedure, val=batches_of([0, 1, 19, 20]))  # none of class 2
    assert [progress for progress, _ in asked] == [0, 0.25, 0.5, 0.75]
    assert asked[0][1] is None
    for (_, errors), epoch in zip(asked[1:], fitted.history[:-1], strict=True):
        assert errors[:2].tolist() == (1 - epoch.val_recall[:2]).tolist()
        assert errors[2].isnan()


def test_a_sampler_that_draws_nothing_is_refused():
    model = model_of()
    procedure = procedure_of(
        model, sampler=lambda targets, generator: targets[:0], steps_per_epoch=2
    )
    with pytest.raises(ValueError, match="a sampler must draw at least one image"):
        fit_toy(model, procedure)


@pytest.mark.parametrize("name", ["shuffle", "random_over", "random_under", "class_balanced"])
def test_fixed_steps_give_every_sampler_the_same_updates_and_images(name):
    model = model_of()
    procedure = procedure_of(
        model, sampler=samplers.SAMPLERS[name], steps_per_epoch=5, epochs=2, batch_size=10
    )
    fitted = fit_toy(model, procedure)
    assert (fitted.steps, fitted.images_seen) == (10, 100)
    assert [epoch.drawn.sum() for epoch in fitted.history] == [50, 50]


def test_without_fixed_steps_an_epoch_is_as_long_as_its_sampler_makes_it():
    for sampler, images in ((samplers.random_over, 54), (samplers.random_under, 12)):
        model = model_of()
        fitted = fit_toy(model, procedure_of(model, sampler=sampler, epochs=1))
        assert fitted.images_seen == images
        assert fitted.steps == math.ceil(images / 8)


def test_a_last_batch_of_a_single_image_is_left_out():
    model = model_of()
    fitted = fit_toy(model, procedure_of(model, epochs=1), train=batches_of(range(17)))
    assert (fitted.steps, fitted.images_seen) == (2, 16)


def test_the_update_is_made_with_the_learning_rate_of_the_schedule():
    before, model, inputs, _ = _one_step(lr=4.0, schedule=lambda epoch, epochs, history: 0.25)
    _assert_weights(model, _descended(before, F.cross_entropy(before(inputs), TARGETS), lr=1.0))


def test_train_loss_and_accuracy_are_means_over_images():
    def wrong_for_the_second_half(logits, targets, class_counts):
        return targets.float() + 0 * logits.sum(1)

    def in_order(targets, generator):
        return torch.arange(len(targets))

    model = model_of(batch_norm=False)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # always class 1
    procedure = procedure_of(
        model, loss=wrong_for_the_second_half, sampler=in_order, epochs=1, batch_size=20
    )
    metrics = fit_toy(model, procedure).history[0].metrics
    assert metrics["train/loss"] == pytest.approx(16 / 30)
    assert metrics["train/accuracy"] == pytest.approx(8 / 30)


def _one_step(**changes):
    """Train one update on all images in order; the model before, after, and the inputs."""
    model = model_of()
    before = copy.deepcopy(model).train()
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    sgd.param_groups[0]["sam"] = 0.0

    def in_order(targets, generator):
        return torch.arange(len(targets))

    usual = {"lr": 0.5, "optimizer": sgd, "sampler": in_order, "epochs": 1, "batch_size": NUM}
    procedure = procedure_of(model, **usual | changes)
    fitted = fit_toy(model, procedure)
    inputs = normalise(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    return before, model, inputs, fitted


def _descended(model, loss, lr=0.5):
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [
        weight.detach() - lr * gradient
        for weight, gradient in zip(model.parameters(), gradients, strict=True)
    ]


def _assert_weights(model, expected):
    for weight, value in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.detach(), value, rtol=1e-5, atol=1e-6)


def test_an_update_with_class_weights_worked_out_by_hand():
    before, model, inputs, _ = _one_step(class_weights=WEIGHTS)
    _assert_weights(model, _descended(before, F.cross_entropy(before(inputs), TARGETS, WEIGHTS)))


def test_an_update_with_mixup_and_class_weights_worked_out_by_hand():
    before, model, inputs, _ = _one_step(class_weights=WEIGHTS, mix=mixing.mixup)
    generator = torch.Generator().manual_seed(len("augmentation"))
    mixed = mixing.mixup(inputs, TARGETS, torch.tensor([18.0, 8.0, 4.0]), generator)
    log_probs = before(mixed.images).log_softmax(1)
    total, norm = 0.0, 0.0
    for row in range(NUM):
        a, b, lam = mixed.targets_a[row], mixed.targets_b[row], mixed.lam[row]
        total = total - lam * WEIGHTS[a] * log_probs[row, a]
        total = total - (1 - lam) * WEIGHTS[b] * log_probs[row, b]
        norm = norm + lam * WEIGHTS[a] + (1 - lam) * WEIGHTS[b]
    assert (mixed.targets_a != mixed.targets_b).any()
    _assert_weights(model, _descended(before, total / norm))


def test_an_update_from_the_hardest_examples_worked_out_by_hand():
    before, model, inputs, fitted = _one_step(hard_fraction=0.2)
    values = F.cross_entropy(before(inputs), TARGETS, reduction="none")
    hardest = values.sort(descending=True).values[:6].mean()
    _assert_weights(model, _descended(before, hardest))
    assert fitted.history[0].metrics["train/loss"] == pytest.approx(hardest.item(), rel=1e-5)


def test_an_update_with_the_contrastive_loss_worked_out_by_hand():
    before, model, inputs, _ = _one_step(supcon=2.0)
    features = before.forward_features(inputs)
    loss = F.cross_entropy(before.forward_head(features), TARGETS)
    _assert_weights(model, _descended(before, loss + 2 * supcon(features, TARGETS).mean()))


def test_an_update_with_sam_worked_out_by_hand():
    model = model_of()
    sgd = optim.sgd(model.parameters(), lr=0.5, weight_decay=0, momentum=0, nesterov=False, sam=0.3)
    start = copy.deepcopy(model).train()
    _, _, inputs, _ = _one_step()
    fitted = fit_toy(
        model,
        procedure_of(
            model,
            lr=0.5,
            optimizer=sgd,
            epochs=1,
            batch_size=NUM,
            sampler=lambda targets, generator: torch.arange(len(targets)),
        ),
    )
    climbed = copy.deepcopy(start)
    gradients = torch.autograd.grad(F.cross_entropy(start(inputs), TARGETS), [*start.parameters()])
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(climbed.parameters(), gradients, strict=True):
            weight += 0.3 * gradient / norm
    loss = F.cross_entropy(climbed(inputs), TARGETS)
    there = torch.autograd.grad(loss, [*climbed.parameters()])
    expected = [w.detach() - 0.5 * g for w, g in zip(start.parameters(), there, strict=True)]
    _assert_weights(model, expected)
    assert model.backbone[1].num_batches_tracked == 1
    assert fitted.steps == 1


def test_the_gradient_is_clipped_to_its_norm():
    start = model_of().state_dict()
    for clip, size in ((0.0, None), (1e-3, 0.5 * 1e-3)):
        _, model, _, _ = _one_step(grad_clip=clip)
        moved = _step_size(start, model.state_dict())
        assert moved == pytest.approx(size, rel=1e-3) if size else moved > 0.01


def test_augmentation_comes_first_then_that_of_the_tail_then_normalisation_and_mixing():
    order = []

    def augment(images, generator):
        order.append(("augment", images.dtype))
        return images

    def tail_augment(images, targets, class_counts, generator):
        order.append(("tail", images.dtype))
        assert torch.equal(targets, TARGETS)
        assert class_counts.tolist() == list(COUNTS)
        return images

    def recorded_mixup(images, targets, class_counts, generator):
        order.append(("mix", images.dtype))
        return mixing.mixup(images, targets, class_counts, generator)

    _one_step(augment=augment, tail_augment=tail_augment, mix=recorded_mixup)
    assert order == [("augment", torch.uint8), ("tail", torch.uint8), ("mix", torch.float32)]


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_try():
    def loss(logits, targets, class_counts):
        return logits.sum(1) * math.nan

    model = model_of()
    message = r"not finite in epoch 1 \(step 1, lr 0.05\); try a smaller lr"
    with pytest.raises(ValueError, match=message):
        fit_toy(model, procedure_of(model, loss=loss))


def test_the_train_mode_of_the_procedure_is_set_before_each_epoch():
    def frozen(model, progress):
        model.eval()

    model = model_of()
    before = copy.deepcopy(model.backbone[1].state_dict())
    procedure = procedure_of(model, train_mode=frozen)
    model.backbone.requires_grad_(False)
    fit_toy(model, procedure, val=batches_of())
    assert same_weights(before, model.backbone[1].state_dict())
