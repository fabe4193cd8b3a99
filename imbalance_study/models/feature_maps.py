"""Shapes of a model's feature maps, without touching its weights or its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from imbalance_study.evaluation.token_maps import as_maps

Result = TypeVar("Result")

LARGE = 65  # pixels: the side of the smallest images that cost more on the CPU than on meta


def stand_in_state(model: nn.Module, device: torch.device | str = "meta") -> dict[str, Tensor]:
    """Return parameters and buffers to run `model` with, in place of its own.

    The model's own stay as they are. On the meta device they have shapes and no values; on another
    they are copies. Parameters that train require gradients.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        meta = str(device) == "meta"
        copy = torch.empty_like(tensor, device="meta") if meta else tensor.detach().clone()
        state[name] = copy.to(device)
        if isinstance(tensor, nn.Parameter):
            state[name].requires_grad_(tensor.requires_grad)
    return state


def dry_forward(
    model: nn.Module, image_size: int, batch_size: int = 2, device: str = "meta"
) -> Tensor:
    """Return the output of `model` for a batch of images, with a stand-in for its state.

    On the meta device hooks fire, but nothing is computed and the result has no values; on the
    CPU the images are zeros. No random number generator moves, no running statistic changes.
    Two images are the fewest that batch norm takes while training.

    Raises:
        Exception: The error of the model for images of this size.
    """
    images = torch.zeros(batch_size, 3, image_size, image_size, device=device)
    with torch.random.fork_rng(devices=[]):
        output: Tensor = functional_call(model, stand_in_state(model, device), (images,))
    return output


def on_meta_or_cpu(work: Callable[[str], Result], image_size: int = LARGE) -> Result:
    """Return ``work("meta")``, or ``work("cpu")`` where that raises; small images the other way.

    A model that holds plain tensors, or decides by values, cannot run on the meta device. The
    first work there takes a second more, as torch then imports its compiler, and a pass of small
    images takes no longer on the CPU.

    Raises:
        Exception: The error of the work on the CPU, where both raise.
    """
    if image_size >= LARGE:
        try:
            return work("meta")
        except Exception:
            return work("cpu")
    try:
        return work("cpu")
    except Exception as error:
        try:
            return work("meta")  # a model on the meta device, or one too large for the memory
        except Exception:
            raise error from None


def layer_maps(model: nn.Module, image_size: int) -> list[tuple[str, int]]:
    """List the modules that return a square map (N, channels, side, side), with its side.

    They are listed in the order in which they finish. All information at that depth passes through
    each. Hence left out: layers inside a block that returns another side (a shortcut may bypass
    them), modules called more than once, adaptive average pooling (it may enlarge a 1x1 map), and a
    convolution that cuts the image into patches (kernel as wide as its stride). Of plain containers
    the last child is listed. Of layers with tokens, see `token_layer`, none is listed.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    finished = all_maps(model, image_size)
    calls = Counter(found.name for found in finished)
    blocks = {
        found.name: found.side
        for found in finished
        if type(modules[found.name]) is not nn.Sequential
    }
    return [
        (found.name, found.side)
        for found in finished
        if found.side and not found.tokens and calls[found.name] == 1
        if _gives_features(modules[found.name])
        if all(blocks.get(parent, found.side) == found.side for parent in _parents(found.name))
    ]


def token_layer(model: nn.Module, image_size: int) -> tuple[str, int] | None:
    """Find the layer to explain in a vision transformer, and the side of its map of patches.

    It is the norm before the last attention: behind it, the answer may come from the token of the
    class alone. None where there is no such layer.
    """
    norms = [
        (found.name, found.side)
        for found in all_maps(model, image_size)
        if found.tokens and found.name.rpartition(".")[2] in _NORMS_BEFORE_ATTENTION
    ]
    return norms[-1] if norms else None


_NORMS_BEFORE_ATTENTION = ("norm1", "ln_1")  # timm's name, torchvision's


class LayerMaps(NamedTuple):
    """Call of a module that returned maps."""

    name: str
    side: int  # 0: the maps are not square
    tokens: bool  # the maps are in tokens (N, T, channels)


def all_maps(model: nn.Module, image_size: int) -> list[LayerMaps]:
    """List each call that returns maps, see `token_maps.as_maps`."""
    modules = {name: module for name, module in model.named_modules() if name}
    return on_meta_or_cpu(lambda device: _watch(model, modules, image_size, device), image_size)


def _watch(
    model: nn.Module, modules: dict[str, nn.Module], image_size: int, device: str
) -> list[LayerMaps]:
    finished: list[LayerMaps] = []

    def watch(name: str, module: nn.Module) -> RemovableHandle:
        def record(_module: nn.Module, _inputs: object, output: object) -> None:
            maps = as_maps(output)
            if maps is not None and isinstance(output, Tensor):
                height, width = maps.shape[2:]
                side = height if height == width else 0
                finished.append(LayerMaps(name, side, output.dim() == 3))

        return module.register_forward_hook(record)

    handles = [watch(name, module) for name, module in modules.items()]
    try:
        dry_forward(model, image_size, device=device)
    finally:
        for handle in handles:
            handle.remove()
    return finished


def _gives_features(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d) and module.stride[0] > 1:
        return module.kernel_size != module.stride
    return type(module) is not nn.Sequential and not isinstance(module, nn.AdaptiveAvgPool2d)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]
