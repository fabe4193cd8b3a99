"""Samplers: the training images of one epoch, as one vector of indices.

A sampler is a function ``sampler(targets, generator, *, options) -> indices``: `targets` (N,) int64
on the CPU, `generator` a CPU generator, `indices` (M,) int64 in the order of presentation. It is
called anew for each epoch, and M differs between samplers: C * n_max for random_over, C * n_min for
random_under, N for all others (50,000, 500 and 12,406 for CIFAR-10 at imbalance ratio 100).

Draws with replacement take the class first, from p (C,), then a member of it uniformly, so that
nothing limits N (torch.multinomial stops at 2^24 categories).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def shuffle(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Show every image once, in random order."""
    return torch.randperm(len(targets), generator=generator)


def class_balanced(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Show every class equally often: weights of 1/n_c, with replacement.

    p_c = 1/C over the classes that have images. What ``WeightedRandomSampler`` is mostly used for;
    the epoch keeps its length N.
    """
    return power(targets, generator, q=0.0)


def power(targets: Tensor, generator: torch.Generator, *, q: float = 0.5) -> Tensor:
    """Show classes in proportion to n_c^q, with replacement: square-root sampling at q=0.5.

    p_c = n_c^q / sum_j n_j^q, an epoch of N images. q=1 is instance sampling, q=0 class-balanced,
    q=-1 the reversed sampler of BBN (Zhou et al., 2020); square roots are from Mahajan et al.
    (2018).

    Raises:
        ValueError: q outside -1..1.
    """
    if not -1 <= q <= 1:
        raise ValueError(
            f"q must be between -1 (reversed) and 1 (instance sampling; 0 is balanced), got {q}"
        )
    groups = _group(targets)
    return _draw(groups, _proportional(groups.counts, q), len(targets), generator)


def progressive(targets: Tensor, generator: torch.Generator, *, progress: float) -> Tensor:
    """Move from instance sampling at the start to class-balanced at the end of training.

    p_c = (1 - t) n_c/N + t/C with t = `progress`, with replacement, an epoch of N images:
    progressively-balanced sampling (Kang et al., 2020, eq. 2), which moves the probabilities, not
    the exponent q, on a straight line.

    Args:
        targets: Classes of the training images, (N,).
        generator: On the CPU.
        progress: Fraction of the training that is done, 0 to 1.

    Raises:
        ValueError: progress outside 0..1.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be between 0 and 1, got {progress}")
    groups = _group(targets)
    instance, balanced = (_proportional(groups.counts, q) for q in (1.0, 0.0))
    return _draw(groups, instance.lerp(balanced, progress), len(targets), generator)


def random_over(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Show every image once, and fill smaller classes up to the largest with repeats.

    The n_max - n_c repeats of class c are drawn with replacement, anew each epoch, as
    imbalanced-learn's RandomOverSampler does it; an epoch of C * n_max images in random order.
    """
    groups = _group(targets)
    missing = torch.where(groups.counts > 0, groups.counts.max() - groups.counts, 0)
    classes = torch.repeat_interleave(torch.arange(len(missing)), missing)
    indices = torch.cat([groups.order, _members(groups, classes, generator)])
    return indices[torch.randperm(len(indices), generator=generator)]


def random_under(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Show as many images of every class as the smallest has, others in each epoch.

    n_min images of each class without replacement, as imbalanced-learn's RandomUnderSampler draws
    them; an epoch of C * n_min images in random order.
    """
    shuffled = torch.randperm(len(targets), generator=generator)
    groups = _group(targets[shuffled])
    present = groups.counts > 0
    taken = torch.arange(int(groups.counts[present].min()))
    indices = shuffled[groups.order[(groups.starts[present, None] + taken).flatten()]]
    return indices[torch.randperm(len(indices), generator=generator)]


def error_driven(
    targets: Tensor,
    generator: torch.Generator,
    *,
    class_errors: Tensor | None,
    floor: float = 0.2,
) -> Tensor:
    """Show classes in proportion to their validation error, with replacement.

    p_c = (1 - floor) e_c / sum_j e_j + floor / C with e_c = 1 - recall_c of the epoch before, an
    epoch of N images. The floor keeps `floor` of the epoch class-balanced, so that a class without
    errors does not vanish. Before the first validation, and where no class has errors, p_c = 1/C; a
    class without validation images (NaN) gets the mean error of the others. After Pouyanfar et al.
    (2018), who use 1 - F1 and no floor.

    Args:
        targets: Classes of the training images, (N,).
        generator: On the CPU.
        class_errors: e (C,), 0 to 1 or NaN; None before the first validation.
        floor: The part of the epoch that is class-balanced.

    Raises:
        ValueError: floor outside 0..1, or class_errors of fewer classes than the targets.
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"floor must be between 0 and 1, got {floor}")
    groups = _group(targets, 0 if class_errors is None else len(class_errors))
    balanced = _proportional(groups.counts, 0.0)
    if class_errors is None:
        return _draw(groups, balanced, len(targets), generator)
    if len(class_errors) < len(groups.counts):
        raise ValueError(
            f"class_errors must have an entry for each of the {len(groups.counts)} classes, "
            f"got {len(class_errors)}"
        )
    errors = class_errors.detach().to("cpu", torch.float64)
    errors = torch.where(errors.isnan(), errors.nanmean().nan_to_num(), errors) * (balanced > 0)
    driven = errors / errors.sum() if errors.sum() > 0 else balanced
    return _draw(groups, driven.lerp(balanced, floor), len(targets), generator)


class _Groups(NamedTuple):
    """The images of each class: ``order[starts[c] : starts[c] + counts[c]]``."""

    order: Tensor  # (N,) image indices, sorted by class
    starts: Tensor  # (C,)
    counts: Tensor  # (C,)


def _group(targets: Tensor, num_classes: int = 0) -> _Groups:
    if not len(targets):
        raise ValueError("a sampler needs at least one training image, got none")
    counts = torch.bincount(targets, minlength=num_classes)
    # NumPy sorts 16-bit keys by radix: 10 times faster than torch.argsort.
    keys = targets.numpy().astype(np.uint16 if len(counts) <= 2**16 else np.int64)
    order = torch.from_numpy(np.argsort(keys, kind="stable"))
    return _Groups(order, counts.cumsum(0) - counts, counts)


def _proportional(counts: Tensor, q: float) -> Tensor:
    """Return probabilities (C,) in proportion to n_c^q, zero for a class without images."""
    weights = torch.where(counts > 0, counts.double().clamp(min=1) ** q, 0.0)
    return weights / weights.sum()


def _draw(groups: _Groups, probs: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Draw `size` indices with replacement: the class from `probs` (C,), then a member of it."""
    edges = probs.cumsum(0)
    uniform = torch.rand(size, dtype=torch.float64, generator=generator)
    return _members(groups, torch.searchsorted(edges / edges[-1], uniform, right=True), generator)


def _members(groups: _Groups, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Draw for each of `classes` (M,) one of its images, uniformly with replacement."""
    uniform = torch.rand(len(classes), dtype=torch.float64, generator=generator)
    position = groups.starts[classes] + (uniform * groups.counts[classes]).long()
    return groups.order[position]
