"""Heads of one remedy for many splits, trained side by side.

Each step of a small head takes longer to start than to compute. Here one step moves the heads of
all splits: their weights are stacked, each with its own images, order and draws. The result is that
of `imbalance_study.training.loop.fit` on each split alone, up to rounding; a test holds it to that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from imbalance_study.data import samplers
from imbalance_study.experiment.setup.inputs import RunInputs
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import optim, reduction
from imbalance_study.training.schedules import learning_rate
from imbalance_study.training.trainer import sampler_context


class Part(NamedTuple):
    """The training images of a split, as features."""

    features: Tensor  # (N, F), of all images
    rows: Tensor  # (M,) of them
    targets: Tensor  # (M,)


def fit(models: Sequence[Classifier], parts: Sequence[Part], inputs: Sequence[RunInputs]) -> None:
    """Train the heads, in place.

    Args:
        models: Of features, one for each split; alike but for their weights.
        parts: The training images of each split.
        inputs: Of each split: one remedy, with the seed and the class counts of the split.

    Raises:
        ValueError: The loss is not finite.
    """
    config, choices = inputs[0].config, inputs[0].choices
    stack = _Stack(models, parts, inputs)
    groups = [{"params": list(stack.weights.values()), "weight_decay": config.weight_decay}]
    lr, steps = float(config.lr), config.steps_per_epoch
    optimizer = choices.optimizer.function(groups, lr=lr, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        done = 1.0 if epoch == config.epochs - 1 else epoch / config.epochs
        order = stack.order(epoch / config.epochs, done)
        weights = [
            reduction.active_class_weights(one, done, config.defer) for one in stack.of_class
        ]
        for step in range(steps):
            place = epoch + (step + 0.5) / steps
            optim.set_lr(
                optimizer, learning_rate(choices.schedule.function, lr, place, config.epochs, [])
            )
            rows = order[:, step * stack.batch : (step + 1) * stack.batch]
            loss = stack.loss(rows, weights)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if not math.isfinite(loss.item()):
            raise ValueError(f"the loss is not finite in epoch {epoch + 1}; try a smaller lr")
    stack.write_back()


class _Stack:
    """The stacked weights of heads, and the images, order and draws of each."""

    def __init__(
        self,
        models: Sequence[Classifier],
        parts: Sequence[Part],
        inputs: Sequence[RunInputs],
    ) -> None:
        self.models, self.parts = models, parts
        self.config, self.choices = inputs[0].config, inputs[0].choices
        self.batch = int(self.config.batch_size)
        self.room = torch.empty(len(parts), self.batch, parts[0].features.shape[1])
        self.head = models[0].get_classifier()
        stacked, _ = stack_module_state([model.get_classifier() for model in models])
        self.weights = {name: one.detach().requires_grad_(True) for name, one in stacked.items()}
        self.counts = [
            torch.bincount(part.targets, minlength=one.data.num_classes).float()
            for part, one in zip(parts, inputs, strict=True)
        ]
        self.alike = all(bool((one == self.counts[0]).all()) for one in self.counts)
        self.of_class = [self.choices.class_weights.function(counts) for counts in self.counts]
        self.orders = [torch.Generator().manual_seed(one.seeds("order")) for one in inputs]
        self.draws = [torch.Generator().manual_seed(one.seeds("augmentation")) for one in inputs]

    def order(self, progress: float, done: float) -> Tensor:
        """Draw the rows (S, M) of an epoch for each head."""
        sampler = self.choices.sampler.function if done >= self.config.defer else samplers.shuffle
        wanted = self.config.steps_per_epoch * self.batch
        context = sampler_context(sampler, progress, None)
        every = []
        for part, generator in zip(self.parts, self.orders, strict=True):
            rows = sampler(part.targets, generator, **context)
            while len(rows) < wanted:
                rows = torch.cat([rows, sampler(part.targets, generator, **context)])
            every.append(rows[:wanted])
        return torch.stack(every)

    def loss(self, rows: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return the sum over the heads of the losses of their batches (S, B)."""
        features, targets = self._batches(rows)
        if self.choices.mix is None:
            values = self._values(self._logits(features), targets)
            batches = [
                reduction.batch_loss(value, weight[target], self.config.hard_fraction)
                for value, weight, target in zip(values, weights, targets, strict=True)
            ]
            return torch.stack(batches).sum()
        mix = self.choices.mix.function
        mixed = [mix(*of) for of in zip(features, targets, self.counts, self.draws, strict=True)]
        logits = self._logits(torch.stack([one.images for one in mixed]))
        values_a = self._values(logits, torch.stack([one.targets_a for one in mixed]))
        values_b = self._values(logits, torch.stack([one.targets_b for one in mixed]))
        batches = [
            reduction.mixed_batch_loss(
                values_a[place],
                values_b[place],
                one.lam,
                weight[one.targets_a],
                weight[one.targets_b],
                self.config.hard_fraction,
            )
            for place, (one, weight) in enumerate(zip(mixed, weights, strict=True))
        ]
        return torch.stack(batches).sum()

    def _batches(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (S, B, F) and targets (S, B) of a step."""
        targets = []
        for room, part, one in zip(self.room, self.parts, rows, strict=True):
            torch.index_select(part.features, 0, part.rows[one], out=room)
            targets.append(part.targets[one])
        return self.room, torch.stack(targets)

    def _logits(self, features: Tensor) -> Tensor:
        """Return the logits (S, B, C) of each head's features (S, B, F)."""

        def forward(weights: dict[str, Tensor], features: Tensor) -> Tensor:
            made: Tensor = functional_call(self.head, weights, (features,))
            return made

        logits: Tensor = vmap(forward)(self.weights, features)
        return logits

    def _values(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss (S, B) of each example; in one call where all have the same counts."""
        loss = self.choices.loss.function
        if self.alike:
            flat: Tensor = loss(logits.flatten(0, 1), targets.flatten(), self.counts[0])
            return flat.reshape(targets.shape)
        of_each = zip(logits, targets, self.counts, strict=True)
        return torch.stack([loss(*one) for one in of_each])

    def write_back(self) -> None:
        """Put the trained weights into the models."""
        with torch.no_grad():
            for place, model in enumerate(self.models):
                for name, weight in model.get_classifier().named_parameters():
                    weight.copy_(self.weights[name][place])
