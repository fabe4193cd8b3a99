import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from toy_training import (
    COUNTS,
    LABELS,
    NUM,
    batches_of,
    fit_toy,
    model_of,
    noise,
    only_the_rarest,
    procedure_of,
    recorded_loss,
    same_weights,
    untimed,
)

from imbalance_study.data import mixing, samplers
from imbalance_study.data.loader import Batches


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
        model, sampler=getattr(samplers, name), steps_per_epoch=5, epochs=2, batch_size=10
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


def test_an_epoch_shows_one_of_the_views_of_each_image():
    views = 3
    labels = np.repeat(LABELS, views)
    rows = np.arange(len(labels))
    features = rows[:, None].repeat(2, axis=1).astype(np.float32)
    part = Batches(features, labels, rows, torch.device("cpu"), resident=True)
    seen = []

    def augment(batch, generator):
        seen.append(batch[:, 0].long())
        return batch

    model = model_of().on_features()
    model.classifier = torch.nn.Linear(2, NUM)
    procedure = procedure_of(model, augment=augment, normalise=lambda batch: batch, epochs=2)
    fit_toy(model, dataclasses.replace(procedure, views=views), train=part)
    shown = torch.cat(seen)
    first, second = shown[: len(LABELS)], shown[len(LABELS) :]
    for epoch in (first, second):
        assert sorted((epoch // views).tolist()) == list(range(len(LABELS)))
    assert sorted(first.tolist()) != sorted(second.tolist())
