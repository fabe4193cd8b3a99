"""Mixing of pairs of training images: mixup, CutMix, Remix, CMO.

A mix is a function ``mix(images, targets, class_counts, generator, *, options) -> Mixed``: `images`
float (N, 3, H, W), already normalised, `targets` (N,), `class_counts` (C,); all and the generator
on one device. The loss of a mixed example is lam * l(targets_a) + (1 - lam) * l(targets_b). Each
image has its own partner and its own lam (the papers' code draws one lam per batch), and none of
this waits for the device. mixup and remix mix features (N, F) of a frozen backbone as well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from imbalance_study.data import image_ops


class Mixed(NamedTuple):
    """A batch of mixed images and the two classes of each."""

    images: Tensor  # (N, 3, H, W), or features (N, F)
    targets_a: Tensor  # (N,)
    targets_b: Tensor  # (N,)
    lam: Tensor  # (N,), the weight of targets_a

    def part(self, rows: slice) -> Mixed:
        """Return some rows of the batch."""
        return Mixed(self.images[rows], self.targets_a[rows], self.targets_b[rows], self.lam[rows])


def mixup(
    images: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    generator: torch.Generator,
    *,
    alpha: float = 1.0,
) -> Mixed:
    """Blend two images, and their labels in the same proportion.

    Zhang et al. (2018): lam * image + (1 - lam) * partner, lam from Beta(alpha, alpha). The class
    counts have no part in it.

    Raises:
        ValueError: alpha is not positive.
    """
    partners = _partners(images, generator)
    lam = _beta(images, alpha, generator)
    return Mixed(_interpolate(images, partners, lam), targets, targets[partners], lam)


def cutmix(
    images: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    generator: torch.Generator,
    *,
    alpha: float = 1.0,
    p: float = 1.0,
) -> Mixed:
    """Paste a rectangle of the partner in, with the labels weighted by the areas.

    Yun et al. (2019): a box with sides W sqrt(1 - l) and H sqrt(1 - l), rounded down to an even
    number of pixels, l from Beta(alpha, alpha), around a random pixel and cut off at the border;
    lam is one minus the share of pixels that the box really covers. The class counts have no part
    in it.

    Args:
        images: float (N, 3, H, W).
        targets: (N,).
        class_counts: (C,).
        generator: On the device of the images.
        alpha: Shape of the Beta distribution.
        p: The probability that an image is mixed at all; the authors' code has 0.5 for CIFAR and 1
            for ImageNet.

    Raises:
        ValueError: alpha is not positive, or p outside 0..1.
    """
    return _pasted(images, targets, _partners(images, generator), generator, alpha, p)


def cmo(
    images: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    generator: torch.Generator,
    *,
    alpha: float = 1.0,
    p: float = 0.5,
    power: float = 1.0,
) -> Mixed:
    """Paste a box of an image of a rare class into each image (context-rich oversampling).

    Park et al. (2022): CutMix whose partners are drawn with replacement, each in proportion to
    ``1 / n_c^power`` of its class, so that with power 1 all classes are pasted equally often. Here
    they are drawn from the batch and not from the whole training set, so that a class that the
    batch lacks is not pasted; batches of 128 lack the rarest class of CIFAR-10 at ratio 100 in six
    of ten. The authors mix whole batches with probability p, here each image is mixed or not, and
    theirs leave the first and the last three epochs unmixed.

    Args:
        images: float (N, 3, H, W).
        targets: (N,).
        class_counts: Training images of each class, n (C,).
        generator: On the device of the images.
        alpha: Shape of the Beta distribution.
        p: The probability that an image is mixed at all.
        power: Of the class size in the weight of a partner; 0 draws all images alike.

    Raises:
        ValueError: alpha is not positive, p outside 0..1, or power negative.
    """
    if not 0 <= power < math.inf:
        raise ValueError(f"power of mix cmo must be at least 0, got {power:g}")
    weights = class_counts.float()[targets] ** -power
    steps = weights.cumsum(0)
    draws = torch.rand(len(images), generator=generator, device=images.device)
    partners = torch.searchsorted(steps, draws * steps[-1], right=True).clamp(max=len(images) - 1)
    return _pasted(images, targets, partners, generator, alpha, p)


def _pasted(
    images: Tensor,
    targets: Tensor,
    partners: Tensor,
    generator: torch.Generator,
    alpha: float,
    p: float,
) -> Mixed:
    """Paste a box of each image's partner (N,) in, with probability p."""
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p}")
    count, _, height, width = images.shape
    side = (1 - _beta(images, alpha, generator)).sqrt()
    side = side * (torch.rand(count, generator=generator, device=images.device) < p)
    halves = [(side * (length / 2)).long() for length in dict.fromkeys((height, width))]
    rows, columns = image_ops.random_stretches(
        (height, width), (halves[0], halves[-1]), count, images.device, generator
    )
    inside = (rows[:, :, None] & columns[:, None])[:, None]
    lam = 1 - inside.float().mean((1, 2, 3))
    mixed = torch.where(inside, image_ops.take(images, partners), images)
    return Mixed(image_ops.keep_format(mixed, images), targets, targets[partners], lam)


def remix(
    images: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    generator: torch.Generator,
    *,
    alpha: float = 1.0,
    kappa: float = 3.0,
    tau: float = 0.5,
) -> Mixed:
    """Mix as mixup does, but give uneven pairs the label of the rarer class (Remix).

    Chou et al. (2020). The images are mixed with l from Beta(alpha, alpha); the weight of
    the label of class i against its partner's j is

        0 if n_i / n_j >= kappa and l < tau,
        1 if n_i / n_j <= 1 / kappa and 1 - l < tau,
        l otherwise.

    Args:
        images: float (N, 3, H, W).
        targets: (N,).
        class_counts: Training images of each class, n (C,).
        generator: On the device of the images.
        alpha: Shape of the Beta distribution.
        kappa: From which ratio of class sizes a pair counts as uneven; 1 and above.
        tau: Up to which share of the larger class's image the label goes over, 0 to 1; 0 is mixup.

    Raises:
        ValueError: alpha is not positive, kappa below 1, or tau outside 0..1.
    """
    if kappa < 1:
        raise ValueError(f"kappa must be at least 1, got {kappa}")
    if not 0 <= tau <= 1:
        raise ValueError(f"tau must be between 0 and 1, got {tau}")
    plain = mixup(images, targets, class_counts, generator, alpha=alpha)
    counts = class_counts.to(plain.lam.dtype)
    count_a, count_b = counts[plain.targets_a], counts[plain.targets_b]
    lam = plain.lam
    to_b = (count_a >= kappa * count_b) & (lam < tau)
    to_a = (count_b >= kappa * count_a) & (1 - lam < tau)
    return plain._replace(lam=torch.where(to_b, 0.0, torch.where(to_a, 1.0, lam)))


def _partners(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a random permutation (N,)."""
    return torch.rand(len(images), generator=generator, device=images.device).argsort()


def _interpolate(images: Tensor, partners: Tensor, lam: Tensor) -> Tensor:
    weight = lam.to(images.dtype).view(-1, *[1] * (images.ndim - 1))
    others = image_ops.take(images, partners)
    return image_ops.keep_format(others.lerp(images, weight), images)


def _beta(images: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha) for each image, exactly, from two uniforms: (N,).

    With t from Student's distribution of 2 alpha degrees of freedom, (1 + t / sqrt(2 alpha + t^2))
    / 2 has this distribution; t^2 / (2 alpha) = (u^(-1/alpha) - 1) cos^2(2 pi v) by Bailey (1994).
    The samplers of torch.distributions take no generator.
    """
    if alpha <= 0:
        raise ValueError(f"alpha must be greater than 0, got {alpha}")
    u, v = torch.rand((2, len(images)), generator=generator, device=images.device)
    log_power = u.log() if alpha == 1 else u.log() / alpha  # of u^(1/alpha)
    cos = (2 * math.pi * v).cos()
    above = log_power.expm1() * cos.square()  # and both signs of the quotient turned
    draws: Tensor = (1 + cos.sign() * (above / (above - log_power.exp())).sqrt()) / 2
    return draws
