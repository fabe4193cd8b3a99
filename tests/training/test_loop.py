import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imbalance_study.data import mix, samplers
from imbalance_study.data.batches import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import losses, optim, schedules
from imbalance_study.training.contrastive import supcon
from imbalance_study.training.loop import Procedure, fit
from imbalance_study.training.predict import predict, summary
from imbalance_study.training.progress import Progress

CPU = torch.device("cpu")
COUNTS = (18, 8, 4)
NUM = sum(COUNTS)
LABELS = np.repeat(np.arange(3), COUNTS)


def _images():
    """Noise around a grey that is darker the rarer the class."""
    pixels = (
        np.random.default_rng(0).integers(0, 90, (NUM, 6, 6, 3))
        + 80 * (2 - LABELS)[:, None, None, None]
    )
    return pixels.astype(np.uint8)


IMAGES = _images()


def _batches(rows=None, resident=True):
    rows = np.arange(NUM) if rows is None else np.asarray(rows)
    return Batches(IMAGES, LABELS, rows, CPU, resident=resident)


def _model(seed=0, batch_norm=True):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        norm = nn.BatchNorm2d(4) if batch_norm else nn.Identity()
        body = (nn.Conv2d(3, 4, 3, stride=2), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        return Classifier(nn.Sequential(*body, nn.Flatten(), nn.Linear(4, 3)), image_size=6)


def _normalise(images):
    return images.float() / 255 - 0.5


def _no_augmentation(images, generator):
    return images


def _noise(images, generator):
    return images + torch.randint(0, 5, images.shape, generator=generator, dtype=torch.uint8)


def _procedure(model, *, lr=0.05, optimizer=None, **changes):
    plain = Procedure(
        loss=losses.cross_entropy,
        probabilities=lambda logits: logits.softmax(1),
        class_counts=torch.tensor([float(n) for n in COUNTS]),
        class_weights=torch.ones(3),
        sampler=samplers.shuffle,
        augment=_no_augmentation,
        normalise=_normalise,
        optimizer=optimizer or optim.sgd(model.parameters(), lr=lr, weight_decay=0.0),
        schedule=schedules.constant,
        lr=lr,
        epochs=3,
        batch_size=8,
    )
    return dataclasses.replace(plain, **changes)


def _fit(
    model, procedure, *, train=None, val=None, seed=0, on_epoch=lambda result: None, after=None
):
    return fit(
        model,
        train or _batches(),
        val,
        procedure,
        seeds=lambda purpose: 1000 * seed + len(purpose),
        on_epoch=on_epoch,
        progress=Progress(procedure.epochs, enabled=False),
        after=after,
    )


def _untimed(fitted):
    return [
        {name: value for name, value in epoch.metrics.items() if not name.startswith("time/")}
        for epoch in fitted.history
    ]


def _step_size(before, after):
    return math.sqrt(
        sum(
            float(((after[name] - value) ** 2).sum())
            for name, value in before.items()
            if name.endswith(("weight", "bias"))
        )
    )


def _train(seed=0, resident=True):
    model = _model()
    procedure = _procedure(model, augment=_noise, mix=mix.mixup, sampler=samplers.class_balanced)
    fitted = _fit(
        model, procedure, train=_batches(resident=resident), val=_batches([0, 20, 29]), seed=seed
    )
    return _untimed(fitted), fitted.last


def _same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_same_seed_gives_the_same_training_and_another_seed_another():
    (history, state), (again, state_again), (other, _) = _train(), _train(), _train(seed=1)
    assert history == again
    assert _same(state, state_again)
    assert history[0]["train/loss"] != other[0]["train/loss"]


def test_the_order_of_the_images_follows_from_the_seed():
    orders = []
    for seed in (0, 0, 1):
        seen = []
        model = _model()
        _fit(model, _procedure(model, loss=_recorded_loss(seen), epochs=1), seed=seed)
        orders.append(torch.cat(seen).tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == LABELS.tolist()


def test_images_on_the_device_and_streamed_ones_give_the_same_training():
    (held, held_state), (streamed, streamed_state) = _train(resident=True), _train(resident=False)
    assert held == streamed
    assert _same(held_state, streamed_state)


def test_training_does_not_touch_the_random_numbers_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _train()
    assert torch.equal(torch.rand(1), expected)


def _only_the_rarest(targets, generator):
    return torch.arange(len(targets))[targets == 2].repeat(5)


def _recorded_loss(seen):
    def loss(logits, targets, class_counts):
        seen.append(targets)
        return F.cross_entropy(logits, targets, reduction="none")

    return loss


def test_the_images_that_the_sampler_draws_are_those_that_are_trained_on():
    seen = []
    model = _model()
    procedure = _procedure(model, loss=_recorded_loss(seen), sampler=_only_the_rarest, epochs=1)
    fitted = _fit(model, procedure)
    assert torch.cat(seen).tolist() == [2] * 20
    assert fitted.history[0].drawn.tolist() == [0, 0, 20]


def test_a_class_balanced_epoch_shows_the_classes_equally_often():
    seen = []
    model = _model()
    procedure = _procedure(
        model, loss=_recorded_loss(seen), sampler=samplers.class_balanced, steps_per_epoch=250
    )
    fitted = _fit(model, dataclasses.replace(procedure, epochs=1))
    drawn = np.bincount(torch.cat(seen), minlength=3)
    error = math.sqrt(2000 * (1 / 3) * (2 / 3))
    assert (abs(drawn - 2000 / 3) < 4 * error).all()
    assert fitted.history[0].drawn.tolist() == drawn.tolist()


def test_the_sampler_starts_when_the_deferred_fraction_is_done():
    model = _model()
    fitted = _fit(model, _procedure(model, sampler=_only_the_rarest, defer=0.6, epochs=5))
    drawn = [epoch.drawn.tolist() for epoch in fitted.history]
    assert drawn == [list(COUNTS)] * 3 + [[0, 0, 20]] * 2


def test_however_short_the_training_what_is_deferred_rules_the_last_epoch():
    model = _model()
    fitted = _fit(model, _procedure(model, sampler=_only_the_rarest, defer=0.8, epochs=2))
    assert [epoch.drawn.tolist() for epoch in fitted.history] == [list(COUNTS), [0, 0, 20]]


def test_the_class_weights_start_when_the_deferred_fraction_is_done():
    def the_target_itself(logits, targets, class_counts):
        return targets + 0 * logits.sum(1)

    weights = torch.tensor([0.5, 0.5, 2.0])
    model = _model()
    procedure = _procedure(
        model, loss=the_target_itself, class_weights=weights, defer=0.5, epochs=4, batch_size=NUM
    )
    losses_seen = [epoch["train/loss"] for epoch in _untimed(_fit(model, procedure))]
    plain = (8 * 1 + 4 * 2) / 30
    weighted = (0.5 * 8 * 1 + 2 * 4 * 2) / (0.5 * 18 + 0.5 * 8 + 2 * 4)
    assert losses_seen == pytest.approx([plain, plain, weighted, weighted], rel=1e-6)


def test_a_sampler_that_asks_gets_progress_and_the_errors_of_the_epoch_before():
    asked = []

    def sampler(targets, generator, *, progress, class_errors):
        asked.append((progress, class_errors))
        return torch.randperm(len(targets), generator=generator)

    model = _model()
    procedure = _procedure(model, sampler=sampler, epochs=4)
    fitted = _fit(model, procedure, val=_batches([0, 1, 19, 20]))  # none of class 2
    assert [progress for progress, _ in asked] == [0, 0.25, 0.5, 0.75]
    assert asked[0][1] is None
    for (_, errors), epoch in zip(asked[1:], fitted.history[:-1], strict=True):
        assert errors[:2].tolist() == (1 - epoch.val_recall[:2]).tolist()
        assert errors[2].isnan()


def test_a_sampler_that_draws_nothing_is_refused():
    model = _model()
    procedure = _procedure(model, sampler=lambda targets, generator: targets[:0], steps_per_epoch=2)
    with pytest.raises(ValueError, match="a sampler must draw at least one image"):
        _fit(model, procedure)


@pytest.mark.parametrize("name", ["shuffle", "random_over", "random_under", "class_balanced"])
def test_fixed_steps_give_every_sampler_the_same_updates_and_images(name):
    model = _model()
    procedure = _procedure(
        model, sampler=samplers.SAMPLERS[name], steps_per_epoch=5, epochs=2, batch_size=10
    )
    fitted = _fit(model, procedure)
    assert (fitted.steps, fitted.images_seen) == (10, 100)
    assert [epoch.drawn.sum() for epoch in fitted.history] == [50, 50]


def test_without_fixed_steps_an_epoch_is_as_long_as_its_sampler_makes_it():
    for sampler, images in ((samplers.random_over, 54), (samplers.random_under, 12)):
        model = _model()
        fitted = _fit(model, _procedure(model, sampler=sampler, epochs=1))
        assert fitted.images_seen == images
        assert fitted.steps == math.ceil(images / 8)


def test_a_last_batch_of_a_single_image_is_left_out():
    model = _model()
    fitted = _fit(model, _procedure(model, epochs=1), train=_batches(range(17)))
    assert (fitted.steps, fitted.images_seen) == (2, 16)


def test_the_schedule_is_asked_in_the_middle_of_each_update():
    asked = []

    def schedule(epoch, epochs, history):
        asked.append((epoch, epochs, list(history)))
        return 0.1 * len(asked)

    model = _model()
    fitted = _fit(model, _procedure(model, lr=0.5, schedule=schedule, epochs=2, batch_size=15))
    assert [epoch for epoch, _, _ in asked] == [0.25, 0.75, 1.25, 1.75]
    assert [h.metrics["train/lr"] for h in fitted.history] == pytest.approx([0.1, 0.2])


def test_the_update_is_made_with_the_learning_rate_of_the_schedule():
    before, model, inputs, _ = _one_step(lr=4.0, schedule=lambda epoch, epochs, history: 0.25)
    _assert_weights(model, _descended(before, F.cross_entropy(before(inputs), TARGETS), lr=1.0))


def test_the_schedule_sees_the_watched_metric_the_higher_the_better():
    asked = []

    def schedule(epoch, epochs, history):
        asked.append(list(history))
        return 1.0

    model = _model()
    procedure = _procedure(model, schedule=schedule, select_by="val/loss", batch_size=NUM)
    fitted = _fit(model, procedure, val=_batches())
    seen = [-epoch.metrics["val/loss"] for epoch in fitted.history]
    assert asked == [[], seen[:1], seen[:2]]


def test_train_loss_and_accuracy_are_means_over_images():
    def wrong_for_the_second_half(logits, targets, class_counts):
        return targets.float() + 0 * logits.sum(1)

    def in_order(targets, generator):
        return torch.arange(len(targets))

    model = _model(batch_norm=False)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # always class 1
    procedure = _procedure(
        model, loss=wrong_for_the_second_half, sampler=in_order, epochs=1, batch_size=20
    )
    metrics = _fit(model, procedure).history[0].metrics
    assert metrics["train/loss"] == pytest.approx(16 / 30)
    assert metrics["train/accuracy"] == pytest.approx(8 / 30)


def _one_step(**changes):
    """Train one update on all images in order; the model before, after, and the inputs."""
    model = _model()
    before = copy.deepcopy(model).train()
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    sgd.param_groups[0]["sam"] = 0.0

    def in_order(targets, generator):
        return torch.arange(len(targets))

    usual = {"lr": 0.5, "optimizer": sgd, "sampler": in_order, "epochs": 1, "batch_size": NUM}
    procedure = _procedure(model, **usual | changes)
    fitted = _fit(model, procedure)
    inputs = _normalise(torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
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


TARGETS = torch.from_numpy(LABELS)
WEIGHTS = torch.tensor([0.3, 0.9, 1.8])


def test_an_update_with_class_weights_worked_out_by_hand():
    before, model, inputs, _ = _one_step(class_weights=WEIGHTS)
    _assert_weights(model, _descended(before, F.cross_entropy(before(inputs), TARGETS, WEIGHTS)))


def test_an_update_with_mixup_and_class_weights_worked_out_by_hand():
    before, model, inputs, _ = _one_step(class_weights=WEIGHTS, mix=mix.mixup)
    generator = torch.Generator().manual_seed(len("augmentation"))
    mixed = mix.mixup(inputs, TARGETS, torch.tensor([18.0, 8.0, 4.0]), generator)
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
    model = _model()
    sgd = optim.sgd(model.parameters(), lr=0.5, weight_decay=0, momentum=0, nesterov=False, sam=0.3)
    start = copy.deepcopy(model).train()
    _, _, inputs, _ = _one_step()
    fitted = _fit(
        model,
        _procedure(
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
    start = _model().state_dict()
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

    def mixing(images, targets, class_counts, generator):
        order.append(("mix", images.dtype))
        return mix.mixup(images, targets, class_counts, generator)

    _one_step(augment=augment, tail_augment=tail_augment, mix=mixing)
    assert order == [("augment", torch.uint8), ("tail", torch.uint8), ("mix", torch.float32)]


def test_the_moving_average_is_what_is_evaluated_and_kept():
    val = _batches([0, 20, 29])
    model = _model()
    start = copy.deepcopy(model.state_dict())
    procedure = _procedure(
        model, lr=0.5, epochs=1, batch_size=NUM, ema_decay=0.9, select_by="val/loss"
    )
    fitted = _fit(model, procedure, val=val)
    trained = model.state_dict()
    for name, value in fitted.last.items():
        average = trained[name]
        if name.endswith(("weight", "bias")):
            average = 0.1 * start[name] + 0.9 * average  # the decay of the first update
            assert not torch.equal(average, trained[name])
        torch.testing.assert_close(value, average)
    assert _same(fitted.last, fitted.best)
    averaged = _model()
    averaged.load_state_dict(fitted.last)
    counts = procedure.class_counts.numpy().astype(int)
    found, _ = summary(predict(averaged, val, _normalise), procedure.probabilities, counts)
    assert fitted.history[0].metrics["val/loss"] == found["loss"]


def test_the_earliest_of_equal_epochs_is_kept():
    model = _model(batch_norm=False)
    procedure = _procedure(model, lr=1e-12, select_by="val/accuracy")
    fitted = _fit(model, procedure, val=_batches())
    assert len({epoch.metrics["val/accuracy"] for epoch in fitted.history}) == 1
    assert fitted.best_epoch == 1


def test_the_epoch_with_the_lowest_validation_loss_is_kept_with_its_weights():
    states = []
    model = _model()
    procedure = _procedure(model, lr=0.5, epochs=8, select_by="val/loss", schedule=_then_destroy)
    fitted = _fit(
        model,
        procedure,
        val=_batches(),
        on_epoch=lambda result: states.append(copy.deepcopy(model.state_dict())),
    )
    values = [epoch.metrics["val/loss"] for epoch in fitted.history]
    assert 1 < fitted.best_epoch < 8
    assert fitted.best_epoch == 1 + values.index(min(values))
    assert _same(fitted.best, states[fitted.best_epoch - 1])
    assert _same(fitted.last, states[-1])


def _then_destroy(epoch, epochs, history):
    return 0.2 if epoch < epochs / 2 else -1.0


@pytest.mark.parametrize("val", [None, [0, 20, 29]])
def test_the_last_epoch_is_kept_without_a_selection(val):
    model = _model()
    procedure = _procedure(model, select_by="val/loss" if val is None else "last")
    fitted = _fit(model, procedure, val=None if val is None else _batches(val))
    assert fitted.best_epoch == 3
    assert _same(fitted.best, fitted.last)
    assert _same(fitted.last, model.state_dict())


def test_early_stopping_sees_the_metric_the_higher_the_better_and_ends_the_training():
    seen = []

    def stop(history):
        seen.append(list(history))
        return len(history) == 2

    model = _model()
    procedure = _procedure(model, early_stopping=stop, stop_metric="val/loss", epochs=9)
    fitted = _fit(model, procedure, val=_batches())
    assert len(fitted.history) == 2
    assert seen[-1] == [-epoch.metrics["val/loss"] for epoch in fitted.history]
    assert fitted.stopped == "early stopping on val/loss"


def test_the_training_stops_within_an_epoch_when_its_time_is_over():
    model = _model()
    fitted = _fit(model, _procedure(model, max_seconds=0.0), val=_batches())
    assert (fitted.steps, fitted.images_seen, len(fitted.history)) == (1, 8, 1)
    assert fitted.history[0].drawn.sum() == 8
    assert "val/accuracy" in fitted.history[0].metrics
    assert fitted.stopped == "max_minutes reached"


def test_a_full_training_says_so():
    model = _model()
    fitted = _fit(model, _procedure(model))
    assert fitted.stopped == "all epochs done"
    assert [epoch.epoch for epoch in fitted.history] == [1, 2, 3]


def test_what_on_epoch_raises_ends_the_training():
    class Pruned(Exception):
        pass

    epochs = []

    def on_epoch(result):
        epochs.append(result.epoch)
        if result.epoch == 2:
            raise Pruned

    model = _model()
    with pytest.raises(Pruned):
        _fit(model, _procedure(model, epochs=5), on_epoch=on_epoch)
    assert epochs == [1, 2]


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_try():
    def loss(logits, targets, class_counts):
        return logits.sum(1) * math.nan

    model = _model()
    message = r"not finite in epoch 1 \(step 1, lr 0.05\); try a smaller lr"
    with pytest.raises(ValueError, match=message):
        _fit(model, _procedure(model, loss=loss))


def test_a_training_that_continues_another_counts_on_but_selects_anew():
    model = _model()
    first = _fit(model, _procedure(model, stage=1, select_by="val/loss"), val=_batches())
    numbers, asked = [], []

    def schedule(epoch, epochs, history):
        asked.append((epoch, epochs, list(history)))
        return 1e-9

    procedure = _procedure(
        model, epochs=2, stage=2, select_by="val/loss", schedule=schedule, batch_size=NUM
    )
    second = _fit(
        model,
        procedure,
        val=_batches(),
        after=first,
        on_epoch=lambda result: numbers.append(result.epoch),
    )
    assert numbers == [4, 5]
    assert [epoch.epoch for epoch in second.history] == [1, 2, 3, 4, 5]
    assert [epoch.metrics["train/stage"] for epoch in second.history] == [1, 1, 1, 2, 2]
    assert [(epoch, epochs) for epoch, epochs, _ in asked] == [(0.5, 2), (1.5, 2)]
    assert asked[0][2] == []
    assert second.images_seen == 5 * NUM
    assert second.history[3].metrics["train/images_seen"] == 4 * NUM
    assert second.steps == first.steps + 2
    assert second.best_epoch in (4, 5)
    assert second.seconds > first.seconds


def test_the_last_epoch_of_a_training_that_continues_another_has_its_number():
    model = _model()
    first = _fit(model, _procedure(model))
    second = _fit(model, _procedure(model, epochs=2), after=first)
    assert (first.best_epoch, second.best_epoch) == (3, 5)
    assert "train/stage" not in second.history[-1].metrics


def test_the_train_mode_of_the_procedure_is_set_before_each_epoch():
    def frozen(model, progress):
        model.eval()

    model = _model()
    before = copy.deepcopy(model.backbone[1].state_dict())
    procedure = _procedure(model, train_mode=frozen)
    model.backbone.requires_grad_(False)
    _fit(model, procedure, val=_batches())
    assert _same(before, model.backbone[1].state_dict())
