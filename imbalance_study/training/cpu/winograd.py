"""Convolutions of 3x3 with a quarter of the multiplications, by Winograd's minimal filtering.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), F(4x4, 3x3): a tile of
6x6 pixels gives 4x4 of the result with 36 products a pair of channels in place of 144. It needs no
more of a processor than matrix products, while its libraries multiply every tap.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_TILES = 128  # at a time, so that their data stay in a core's cache

# Of one dimension (section 4.3 there); of two it is the Kronecker product with itself.
_OF_PIXELS = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_OF_TAPS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OF_PRODUCTS = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def pays(layer: nn.Conv2d, images: Tensor) -> bool:
    """Return whether a convolution can be computed in this way, and was measured to be faster.

    3x3, stride 1, on maps whose sides are multiples of 4, in channels_last and 32 bits (or 64),
    with enough channels and tiles for matrix products to be worth the transforms.

    Args:
        layer: Pads with zeros, by half its kernel on all sides.
        images: (N, in, H, W).
    """
    count, _, height, width = images.shape
    return (
        layer.kernel_size == (3, 3)
        and layer.stride == (1, 1)
        and layer.groups == 1
        and height % 4 == width % 4 == 0
        and min(layer.in_channels, layer.out_channels) >= 128
        and count * height * width // 16 >= 64 * torch.get_num_threads()
        and images.dtype == layer.weight.dtype
        and images.dtype in (torch.float32, torch.float64)
        and images.device.type == "cpu"
        and images.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve maps (N, in, H, W) with weights (out, in, 3, 3), both channels_last.

    In 32 bits the largest error is about 1e-5 of the largest value, of maps and of gradients; that
    of summing every tap is 2e-6.
    """
    maps: Tensor = _Convolution.apply(images, weight)  # type: ignore[no-untyped-call]
    return maps if bias is None else maps + bias[:, None, None]


class _Convolution(torch.autograd.Function):
    """Convolution that transforms tiles again in the backward pass, to halve its memory."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        pixels = images.permute(0, 2, 3, 1)
        maps = pixels.new_empty(*pixels.shape[:3], len(weight))
        _spread(functools.partial(_forwards, _transformed_taps(weight)), pixels, maps)
        return maps.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images, weight = ctx.saved_tensors
        of_images, of_weight = ctx.needs_input_grad
        pixels = images.permute(0, 2, 3, 1)
        of_pixels = torch.empty_like(pixels)
        task = functools.partial(_backwards, _transformed_taps(weight), of_images, of_weight)
        gradients = _spread(task, pixels, gradient.permute(0, 2, 3, 1), of_pixels)
        of_taps = None
        if of_weight:
            of_taps = _matrix(_OF_TAPS, weight.dtype).T @ sum(gradients).view(36, -1)
            of_taps = of_taps.view(3, 3, *weight.shape[:2]).permute(2, 3, 0, 1)
        return (of_pixels.permute(0, 3, 1, 2) if of_images else None), of_taps


def _forwards(taps: Tensor, pixels: Tensor, maps: Tensor) -> None:
    """Fill the maps of some images, by transformed taps (36, out, in)."""
    for part, result in _parts(pixels, maps):
        products = torch.bmm(_transformed_tiles(part), taps.transpose(1, 2))
        tiles = _matrix(_OF_PRODUCTS, products.dtype) @ products.view(36, -1)
        _cut(result).copy_(tiles.view(_cut(result).shape))


def _backwards(
    taps: Tensor,
    of_images: bool,
    of_weight: bool,
    pixels: Tensor,
    gradient: Tensor,
    of_pixels: Tensor,
) -> Tensor:
    """Fill the gradient of some images; returns that of the transformed taps."""
    of_taps = torch.zeros_like(taps) if of_weight else taps
    to_products = _matrix(_OF_PRODUCTS, pixels.dtype).T
    for part, result, into in _parts(pixels, gradient, of_pixels):
        products = (to_products @ _cut(result).reshape(16, -1)).view(36, -1, taps.shape[1])
        if of_weight:
            of_taps.baddbmm_(products.transpose(1, 2), _transformed_tiles(part))
        if of_images:
            tiles = _matrix(_OF_PIXELS, part.dtype).T @ torch.bmm(products, taps).view(36, -1)
            _add_up(tiles, into)
    return of_taps


def _spread(task: Callable[..., Any], *batches: Tensor) -> list[Any]:
    """Compute a share of the images in each thread, from end to end.

    Operations this small wait longer for the other threads than they compute.
    """
    count, height, width, _ = batches[0].shape
    threads = min(torch.get_num_threads(), count)
    if threads == 1 or count * height * width // 16 < threads * _TILES:
        return [task(*batches)]
    inference = torch.is_inference_mode_enabled()

    def alone(shares: tuple[Tensor, ...]) -> Any:
        with torch.inference_mode(inference), torch.no_grad():
            return task(*shares)

    shares = zip(*(batch.tensor_split(threads) for batch in batches), strict=True)
    return list(_pool(threads).map(alone, shares))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads whose operations keep to one core."""
    barrier = threading.Barrier(threads + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        barrier.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "winograd", begin)
    for _ in range(threads):
        pool.submit(int)
    barrier.wait()
    torch.set_num_threads(before)  # for later threads as well
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


@functools.cache
def _matrix(of_one: tuple[tuple[float, ...], ...], dtype: torch.dtype) -> Tensor:
    """Return the transform along both dimensions, as a matrix on flattened tiles."""
    one = torch.tensor(of_one, dtype=dtype)
    return torch.kron(one, one)


def _parts(*batches: Tensor) -> Any:
    """Split the batches (N, H, W, C) into parts of about `_TILES` tiles."""
    _, height, width, _ = batches[0].shape
    images = max(1, _TILES * 16 // (height * width))
    return zip(*(batch.split(images) for batch in batches), strict=True)


def _transformed_taps(weight: Tensor) -> Tensor:
    """Transform weights (out, in, 3, 3) to (36, out, in)."""
    taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return (_matrix(_OF_TAPS, weight.dtype) @ taps).view(36, *weight.shape[:2])


def _transformed_tiles(pixels: Tensor) -> Tensor:
    """Transform pixels (n, H, W, C) to (36, tiles, C), by overlapping tiles of 6x6."""
    padded = F.pad(pixels, (0, 0, 1, 1, 1, 1))
    tiles = padded.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3)
    return (_matrix(_OF_PIXELS, pixels.dtype) @ tiles.reshape(36, -1)).view(36, -1, pixels.shape[3])


def _cut(maps: Tensor) -> Tensor:
    """View maps (n, H, W, C) as separate tiles of 4x4: (4, 4, n, H / 4, W / 4, C)."""
    count, height, width, channels = maps.shape
    return maps.reshape(count, height // 4, 4, width // 4, 4, channels).permute(2, 4, 0, 1, 3, 5)


def _add_up(tiles: Tensor, into: Tensor) -> None:
    """Sum overlapping tiles (36, ...) where their pixels lie in `into` (n, H, W, C)."""
    count, height, width, channels = into.shape
    rows, columns = height // 4, width // 4
    tiles = tiles.view(6, 6, count, rows, columns, channels)
    padded = into.new_zeros(count, height + 4, width + 4, channels)
    _cut(padded)[:4, :4, :, :rows, :columns] = tiles[:4, :4]
    # The last two rows and columns of a tile are the first two of its neighbour.
    _cut(padded)[:2, :4, :, 1:, :columns] += tiles[4:, :4]
    _cut(padded)[:4, :2, :, :rows, 1:] += tiles[:4, 4:]
    _cut(padded)[:2, :2, :, 1:, 1:] += tiles[4:, 4:]
    into.copy_(padded[:, 1 : height + 1, 1 : width + 1])
