"""One update of a model: from a batch of raw images to new weights.

Nothing in it waits for the device, and nothing depends on the number of the step, so that it can be
captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from imbalance_study.data.loader import Batch
from imbalance_study.models.autoencoder import encode_decode
from imbalance_study.models.classifier import Classifier
from imbalance_study.training import compiling, optim, reduction
from imbalance_study.training.distributed import Group
from imbalance_study.training.predict import autocast
from imbalance_study.training.procedure import Procedure
from imbalance_study.training.supcon import supcon


class Update:
    """Augmentation, mixing, forward and backward pass, and the step of the optimizer.

    Attributes:
        model: Trained in place.
        procedure: How to train.
        group: The processes that train together.
        draws: Generator of augmentation and mixing, on the device.
        scaler: Of the gradients in fp16.
    """

    def __init__(
        self, model: Classifier, procedure: Procedure, group: Group, draws: torch.Generator
    ) -> None:
        self.model, self.procedure, self.group, self.draws = model, procedure, group, draws
        self.network = compiling.network(model, procedure, group)
        device = procedure.class_counts.device.type
        self.scaler = torch.amp.GradScaler(device, enabled=procedure.precision == "fp16")

    def __call__(self, batch: Batch, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Make one update.

        Args:
            batch: Of all processes together.
            weights: (C,) the class weights in force; None where all are 1 and there is one process.

        Returns:
            The loss () and the hits (B,) bool of this process's part of the batch, both still on
            the device.
        """
        p = self.procedure
        images = p.augment(batch.images, self.draws)
        if p.tail_augment is not None:
            images = p.tail_augment(images, batch.targets, p.class_counts, self.draws)
        inputs = p.normalise(images)
        targets = batch.targets
        mixed = None
        if p.mix is not None:
            mixed = p.mix(inputs, targets, p.class_counts, self.draws)
            inputs = mixed.images
        if self.group.size > 1:
            mine = self.group.part(len(targets))
            inputs, targets = inputs[mine], targets[mine]
            mixed = None if mixed is None else mixed.part(mine)
        loss, logits = self._forward(inputs, targets, mixed, weights)
        self._update(loss, lambda: self._forward(inputs, targets, mixed, weights)[0])
        return loss.detach(), hits_of(logits.detach(), targets)

    def _forward(
        self, inputs: Tensor, targets: Tensor, mixed: Any, weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        p = self.procedure
        with autocast(inputs.device, p.precision):
            if p.reconstruct:
                features, drawn = encode_decode(self.model, inputs)
                logits = self.model.forward_head(features)
            else:
                features, logits = self.network(inputs)
        logits = logits.float()
        loss = self._classification(features, logits, targets, mixed, weights)
        if p.reconstruct:
            error = p.reconstruct * nn.functional.mse_loss(drawn.float(), inputs)
            loss = loss + error if p.classify else error
        return loss, logits

    def _classification(
        self, features: Tensor, logits: Tensor, targets: Tensor, mixed: Any, weights: Tensor | None
    ) -> Tensor:
        p = self.procedure
        if mixed is None:
            values = p.loss(logits, targets, p.class_counts)
            loss = reduction.batch_loss(values, _of(weights, targets), p.hard_fraction, self.group)
        else:
            a, b = mixed.targets_a, mixed.targets_b
            loss = reduction.mixed_batch_loss(
                p.loss(logits, a, p.class_counts),
                p.loss(logits, b, p.class_counts),
                mixed.lam,
                _of(weights, a),
                _of(weights, b),
                p.hard_fraction,
                self.group,
            )
        if p.supcon > 0:
            loss = loss + p.supcon * supcon(features.float(), targets).mean()
        return loss

    def _update(self, loss: Tensor, again: Callable[[], Tensor]) -> None:
        p = self.procedure
        optimizer = p.optimizer
        optimizer.zero_grad(set_to_none=True)
        self._backward(self.scaler.scale(loss))
        if optim.uses_sam(optimizer):
            saved = optim.sam_perturb(optimizer)
            optimizer.zero_grad(set_to_none=True)
            with optim.batch_norm_paused(self.model):
                self._backward(again())
            optim.sam_restore(optimizer, saved)
        if p.grad_clip > 0:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), p.grad_clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def _backward(self, loss: Tensor) -> None:
        loss.backward()
        self.group.sum_gradients(self.model.parameters())


def hits_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Tell which images (B,) have their highest logit (B, C) at their target (B,)."""
    return logits.argmax(1) == targets


def _of(weights: Tensor | None, targets: Tensor) -> Tensor | None:
    return None if weights is None else weights[targets]
