"""Attribution of a model's decisions to parts of an image, by Captum.

Grad-CAM, occlusion, feature maps and the deletion score. Every function takes normalised images and
puts the model into evaluation mode while it runs. Maps are returned as numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from imbalance_study.evaluation.token_maps import as_maps, in_place_of

Maps = NDArray[np.float32]

WINDOW, STRIDE, AT_SIZE = 30, 20, 224  # pixels of the occluding window on an image of that size
BATCH = 64
PLACES = 5  # at random, for each image of a deletion score


class Occlusion(NamedTuple):
    """Effect of hiding a part of the image on the probability of one class."""

    drop: Maps  # (N, H, W) mean fall of the probability over the windows that cover a pixel
    probability: Maps  # (N, H, W) mean probability while a pixel is covered
    whole: Maps  # (N,) probability with nothing hidden


class Deletion(NamedTuple):
    """Fall of the probability when a part is hidden, against the same shape elsewhere."""

    salient: Maps  # (N,)
    random: Maps  # (N,) mean over the random places
    fraction: float  # share of the pixels that is hidden


def occlusion_window(image_size: int) -> tuple[int, int]:
    """Return side and stride of the occluding window: 30 and 20 on 224 px, scaled, at least 1."""
    scale = image_size / AT_SIZE
    return max(1, round(WINDOW * scale)), max(1, round(STRIDE * scale))


def grad_cam(model: nn.Module, images: Tensor, classes: Tensor | Sequence[int], layer: str) -> Maps:
    """Compute Grad-CAM (N, h, w) of one class per image, at the resolution of a layer.

    relu(sum_k a_k A_k), a_k the mean over the map of the gradient of the class's logit by the
    activation A_k (Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2). The values are not
    scaled; a map of zeros has no evidence for the class.

    Args:
        model: Images to logits (N, C).
        images: Normalised images (N, 3, H, W).
        classes: The class to explain in each image (N,).
        layer: Name of a submodule whose output is (N, channels, h, w), or holds such maps, see
            `token_maps.as_maps`.

    Raises:
        ValueError: The layer does not exist, or its output is no map.
    """
    from captum.attr import LayerGradCam

    labels = torch.as_tensor(classes, device=images.device)
    maps = []
    with (
        _maps_of(model, layer) as shown,
        evaluating(model),
        torch.enable_grad(),
        torch.inference_mode(False),
    ):
        attribution = LayerGradCam(model, shown)
        for part, target in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            part_maps = attribution.attribute(part.clone(), target, relu_attributions=True)
            maps.append(part_maps.detach()[:, 0].float().cpu())
    return np.asarray(torch.cat(maps))


def upsampled(maps: Maps, height: int, width: int) -> Maps:
    """Resize maps (N, h, w) to the images (N, H, W), bilinear."""
    stretched = F.interpolate(
        torch.as_tensor(maps)[:, None], (height, width), mode="bilinear", align_corners=False
    )
    return np.asarray(stretched[:, 0])


def feature_maps(
    model: nn.Module, images: Tensor, layer: str, channels: int = 12
) -> tuple[Maps, NDArray[np.int64]]:
    """Return activations of the channels of a layer that differ most within these images.

    Returns:
        Maps (N, K, h, w) and the numbers of the K channels, largest standard deviation first.
    """
    from captum.attr import LayerActivation

    with _maps_of(model, layer) as shown, evaluating(model), torch.no_grad():
        activations = LayerActivation(model, shown).attribute(images)
    maps = activations.float().cpu()
    order = maps.std(dim=(0, 2, 3), correction=0).argsort(descending=True, stable=True)[:channels]
    return np.asarray(maps[:, order]), np.asarray(order)


def occlusion(
    model: nn.Module, images: Tensor, classes: Tensor | Sequence[int], black: Tensor
) -> Occlusion:
    """Slide a black window over each image and record the probability of one class.

    Zeiler and Fergus 2014, arXiv:1311.2901, sec. 4.2. On 224 px the window is 30 px with a stride
    of 20, otherwise scaled, and cut at the far edges so that every pixel is covered. A pixel that
    several windows cover gets their mean.

    Args:
        model: Images to logits (N, C).
        images: Normalised images (N, 3, H, W).
        classes: The class to observe in each image (N,).
        black: Colour of the window: the normalised value of a raw 0, (3, 1, 1).
    """
    from captum.attr import Occlusion as CaptumOcclusion

    side, stride = occlusion_window(max(images.shape[-2:]))
    height, width = min(side, images.shape[-2]), min(side, images.shape[-1])
    labels = torch.as_tensor(classes, device=images.device)
    probability = _probability(model)
    with evaluating(model), torch.no_grad():
        drop = CaptumOcclusion(probability).attribute(
            images,
            sliding_window_shapes=(images.shape[1], height, width),
            strides=(images.shape[1], min(stride, height), min(stride, width)),
            target=labels,
            baselines=black.to(images).expand_as(images[:1]),
            perturbations_per_eval=max(1, BATCH // len(images)),
        )
        whole = probability(images).gather(1, labels[:, None])[:, 0]
    drops, wholes = np.asarray(drop[:, 0].float().cpu()), np.asarray(whole.float().cpu())
    return Occlusion(drops, wholes[:, None, None] - drops, wholes)


def deletion_score(
    model: nn.Module,
    images: Tensor,
    classes: Tensor | Sequence[int],
    maps: Maps,
    black: Tensor,
    generator: torch.Generator,
    *,
    fraction: float = 0.1,
) -> Deletion:
    """Hide the most salient pixels, then the same shape at random places, and compare.

    For a map of the pixels that decide, the first fall is the larger one. The five random places
    are the same mask moved around the image (it leaves at one edge and enters at the other), so
    that size and shape are equal. After the deletion metric of Petsiuk et al. 2018,
    arXiv:1806.07421, at a single fraction.

    Args:
        model: Images to logits (N, C).
        images: Normalised images (N, 3, H, W).
        classes: The class to observe in each image (N,).
        maps: Saliency (N, h, w) of any resolution.
        black: Colour of the hidden pixels, (3, 1, 1).
        generator: Source of the places, on the CPU.
        fraction: Share of the pixels to hide.

    Raises:
        ValueError: `fraction` is outside (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    number, _, height, width = images.shape
    saliency = torch.as_tensor(upsampled(maps, height, width)).flatten(1)
    hidden = torch.zeros_like(saliency, dtype=torch.bool)
    size = max(1, round(fraction * height * width))
    hidden.scatter_(1, saliency.argsort(dim=1, descending=True, stable=True)[:, :size], True)
    masks = [hidden.view(number, height, width)]
    for _ in range(PLACES):
        down = torch.randint(height, (number,), generator=generator)
        right = torch.randint(width, (number,), generator=generator)
        masks.append(_rolled(masks[0], down, right))
    labels = torch.as_tensor(classes, device=images.device)[:, None]
    probability = _probability(model)
    falls = []
    with evaluating(model), torch.no_grad():
        whole = probability(images).gather(1, labels)
        for mask in masks:
            covered = torch.where(mask[:, None].to(images.device), black.to(images), images)
            falls.append((whole - probability(covered).gather(1, labels))[:, 0].float().cpu())
    return Deletion(
        np.asarray(falls[0]), np.asarray(torch.stack(falls[1:]).mean(0)), size / (height * width)
    )


def _rolled(masks: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift each mask (N, H, W) by its own offset, around the edges."""
    number, height, width = masks.shape
    rows = (torch.arange(height) - down[:, None]) % height
    columns = (torch.arange(width) - right[:, None]) % width
    return masks[torch.arange(number)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _probability(model: nn.Module) -> Callable[[Tensor], Tensor]:
    def probability(images: Tensor) -> Tensor:
        return torch.cat([model(part).float().softmax(1) for part in images.split(2 * BATCH)])

    return probability


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode inside the context, then restore each module's mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _layer(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        some = [other for other, _ in model.named_modules() if other][-12:]
        raise ValueError(
            f"layer {name!r} is not in the model; its last ones: {', '.join(some)}"
        ) from None


@contextmanager
def _maps_of(model: nn.Module, name: str) -> Iterator[nn.Module]:
    """Let the maps of a layer pass through a module of their own inside the context."""
    shown = nn.Identity()

    def show(_layer: nn.Module, _inputs: object, output: object) -> Tensor:
        maps = as_maps(output)
        if maps is None or not isinstance(output, Tensor):
            raise ValueError(
                f"layer {name!r} must give maps (N, channels, height, width) or tokens of square "
                f"patches, got shape {tuple(getattr(output, 'shape', ()))}"
            )
        return in_place_of(output, shown(maps))

    handle = _layer(model, name).register_forward_hook(show)
    try:
        yield shown
    finally:
        handle.remove()
