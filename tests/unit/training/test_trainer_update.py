"""One update, worked out by hand."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F
from toy_training import (
    COUNTS,
    IMAGES,
    NUM,
    TARGETS,
    WEIGHTS,
    fit_toy,
    model_of,
    normalise,
    procedure_of,
)

from imbalance_study.data import mixing
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


def test_the_update_is_made_with_the_learning_rate_of_the_schedule():
    before, model, inputs, _ = _one_step(lr=4.0, schedule=lambda epoch, epochs, history: 0.25)
    _assert_weights(model, _descended(before, F.cross_entropy(before(inputs), TARGETS), lr=1.0))


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
