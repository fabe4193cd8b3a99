"""Image operations on batches, each image with its own parameters.

All take `images` uint8 (N, 3, H, W), channels_last in memory, and per-image parameters (N,), and
return new images of the same kind. Geometric operations are one affine matrix per image for `warp`,
tone operations one table of 256 entries per image and channel for `look_up`. The operations are
Pillow's, as torchvision has them for tensors: a blend is cut off, not rounded. (Where both images
of a blend are equal, torchvision may end one below; these do not.) None but `on_drawn` asks the
device for a value, so nothing waits for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # weights of red, green and blue by ITU-R 601


def take(images: Tensor, rows: Tensor) -> Tensor:
    """Return the images `rows` (M,), channels_last; features (N, F) have rows as well."""
    if images.ndim == 2:
        return images.index_select(0, rows)
    pixels = images.permute(0, 2, 3, 1).contiguous()
    chosen = pixels.flatten(1).index_select(0, rows)
    return chosen.view(len(rows), *pixels.shape[1:]).permute(0, 3, 1, 2)


def keep_format(result: Tensor, images: Tensor) -> Tensor:
    """Return `result` in the memory format of `images`: contiguous or channels_last."""
    if images.is_contiguous():
        return result.contiguous()
    return result.contiguous(memory_format=torch.channels_last)


def on_drawn(
    images: Tensor, drawn: Tensor, operation: Callable[..., Tensor], *parameters: Tensor
) -> Tensor:
    """Apply ``operation(images, *parameters)`` where `drawn` (N,) is true.

    Counts the drawn images, for which an accelerator would have to be waited for.

    Args:
        images: (N, 3, H, W).
        drawn: The images that change, (N,) bool.
        operation: On any number of images, with one entry of each parameter per image.
        *parameters: One entry per image each, (N, ...).
    """
    rows = drawn.nonzero().squeeze(1)
    if not len(rows):
        return images
    changed = operation(take(images, rows), *(values[rows] for values in parameters))
    result = images.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
    result.flatten(1).index_copy_(0, rows, changed.permute(0, 2, 3, 1).flatten(1))
    return keep_format(result.permute(0, 3, 1, 2), images)


def random_stretches(
    lengths: tuple[int, int],
    halves: tuple[Tensor | float, Tensor | float],
    count: int,
    device: torch.device,
    generator: torch.Generator,
    *,
    odd: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mark a stretch of rows and one of columns around a random place, for each image.

    The part that lies outside the image is cut off. A stretch of 2 n places around c is
    c - n .. c + n - 1, one of 2 n + 1 is c - n .. c + n.

    Args:
        lengths: Rows and columns, H and W.
        halves: Half of the places of each stretch, (N,) or one for all.
        count: N.
        device: Of the marks.
        generator: On it.
        odd: The stretches have an odd number of places each, not an even one.

    Returns:
        Rows (N, H) and columns (N, W), bool.
    """
    centres = [
        torch.randint(length, (count,), generator=generator, device=device) for length in lengths
    ]
    shift = 0.0 if odd else 0.5
    if lengths[0] == lengths[1]:
        half = halves[0] if isinstance(halves[0], float) else halves[0][:, None]
        marks = (_axis(lengths[0], shift, device) - torch.stack(centres)[..., None]).abs() < half
        return marks[0], marks[1]
    rows, columns = (
        (_axis(length, shift, device) - centre[:, None]).abs()
        < (half if isinstance(half, float) else half[:, None])
        for length, centre, half in zip(lengths, centres, halves, strict=True)
    )
    return rows, columns


@functools.cache  # never dropped: a CUDA graph holds the address
def _axis(length: int, shift: float, device: torch.device) -> Tensor:
    """Return the places 0..length - 1, moved by `shift`."""
    return torch.arange(length, dtype=torch.float32, device=device) + shift


def affine_matrices(
    height: int, width: int, *, angle: Tensor, shear: Tensor, shift: Tensor
) -> Tensor:
    """Return matrices (N, 2, 3) from output places to input places, for `warp`.

    Places are measured from the centre of the image. With (u, v) in the output, the input place is

        u' = cos(a) u - sin(a) v + shear_x (v + H/2) - shift_x
        v' = sin(a) u + cos(a) v + shear_y (u + W/2) - shift_y

    so that a turn leaves the centre in place and a shear the top left corner. Meant for one kind of
    movement per image, the others zero.

    Args:
        height: H.
        width: W.
        angle: In radians, counter-clockwise as one sees the image, (N,).
        shear: Pixels along x per pixel of y, and along y per pixel of x, (N, 2).
        shift: Pixels to the right and downwards, (N, 2).
    """
    cos, sin = angle.cos(), angle.sin()
    along_x = [cos, shear[:, 0] - sin, shear[:, 0] * (height / 2) - shift[:, 0]]
    along_y = [shear[:, 1] + sin, cos, shear[:, 1] * (width / 2) - shift[:, 1]]
    return torch.stack([torch.stack(along_x, 1), torch.stack(along_y, 1)], 1)


def warp(images: Tensor, matrices: Tensor, *, fill: int, bilinear: bool = False) -> Tensor:
    """Move the pixels of each image by its matrix, nearest neighbour or bilinear.

    Args:
        images: uint8 (N, 3, H, W).
        matrices: As from `affine_matrices`, (N, 2, 3).
        fill: Grey value 0 to 255 of what lies outside the image; bilinear fades into it.
        bilinear: Interpolate between pixels and round.
    """
    count, channels, height, width = images.shape
    u = places(width, images.device)[None, None, :]
    v = places(height, images.device)[None, :, None]
    m = matrices[:, :, :, None, None]
    source_x = m[:, 0, 0] * u + (m[:, 0, 1] * v + m[:, 0, 2])  # (N, H, W), from the centre
    source_y = m[:, 1, 0] * u + (m[:, 1, 1] * v + m[:, 1, 2])
    if bilinear:
        grid = torch.stack([source_x / (width / 2), source_y / (height / 2)], -1)
        moved = F.grid_sample(images.float() - fill, grid, align_corners=False) + fill
        return keep_format(moved.round().to(torch.uint8), images)
    column = (source_x + (width - 1) / 2).round().long()
    row = (source_y + (height - 1) / 2).round().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    first = torch.arange(count, device=images.device)[:, None, None] * (height * width)
    outside = count * height * width  # the pixel of grey behind the last image
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    pixels = torch.cat([pixels, pixels.new_full((1, channels), fill)])
    chosen = pixels.index_select(0, (first + row * width + column).where(inside, outside).flatten())
    return keep_format(chosen.view(count, height, width, channels).permute(0, 3, 1, 2), images)


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replace each value by its entry in the table of its image and channel, uint8 (N, 3, 256)."""
    values = images.flatten(2)
    return keep_format(tables.gather(2, values.long()).view(images.shape), images)


def brightness_tones(values: Tensor, factor: Tensor) -> Tensor:
    """Blend values (1, 256) with black, not cut off yet: value * factor, (N, 256)."""
    return values * factor[:, None]


def brightness_table(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black: value * factor."""
    return _to_table(images, brightness_tones(_values(images), factor))


def contrast_table(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of the image: mean + (value - mean) * factor."""
    mean = grey(images).float().mean((1, 2, 3))[:, None]
    return _to_table(images, mean + (_values(images) - mean) * factor[:, None])


def posterize_tones(values: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper `bits` bits of values (1, 256): (N, 256)."""
    step = 2.0 ** (8 - bits[:, None])
    return (values / step).floor() * step


def posterize_table(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper `bits` bits of a value."""
    return _to_table(images, posterize_tones(_values(images), bits))


def solarize_tones(values: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values (1, 256) from `threshold` upwards: (N, 256)."""
    return torch.where(values >= threshold[:, None], 255 - values, values)


def solarize_table(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values from `threshold` upwards."""
    return _to_table(images, solarize_tones(_values(images), threshold))


def autocontrast_table(images: Tensor) -> Tensor:
    """Stretch each channel so that its darkest value is 0, its brightest 255."""
    flat = images.flatten(2)
    low, high = (end.float()[..., None] for end in flat.aminmax(dim=2))
    values = _values(images)[:, None]
    stretched = (values - low) * (255 / (high - low))
    return torch.where(high > low, stretched, values).clamp(0, 255).to(torch.uint8)


def equalize_table(images: Tensor) -> Tensor:
    """Spread the values of each channel so that its histogram becomes flat, as Pillow does.

    With the step s = (pixels - those of the brightest value) // 255, a value goes to
    (s // 2 + the pixels that are darker) // s; a channel with s = 0 stays as it is.
    """
    flat = images.flatten(2)
    histogram = flat.new_zeros((*flat.shape[:2], 256), dtype=torch.int32)
    histogram.scatter_add_(2, flat.long(), torch.ones_like(flat, dtype=torch.int32))
    brightest = histogram.gather(2, flat.amax(2, keepdim=True).long())
    step = (flat.shape[2] - brightest) // 255
    darker = histogram.cumsum(2) - histogram
    spread = (darker + step // 2) // step.clamp(min=1)
    spread = torch.where(step > 0, spread, _values(images).int()[:, None])
    return spread.clamp(0, 255).to(torch.uint8)


def invert_table(images: Tensor) -> Tensor:
    """Turn each value into 255 - value."""
    return _to_table(images, (255 - _values(images)).expand(len(images), -1))


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image: 0 is grey, 1 unchanged, above 1 more colourful."""
    return _blend(images, grey(images), factor)


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the smoothed image: below 1 is softer, above 1 sharper.

    Smoothing has 3x3 weights of 1, in the middle 5, over 13. The outermost pixels stay as they are,
    and with them images of less than 3 pixels a side.
    """
    if min(images.shape[2:]) < 3:
        return images
    wide = images.short()
    three = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    nine = three[..., :-2] + three[..., 1:-1] + three[..., 2:]
    inner = images[:, :, 1:-1, 1:-1]
    result = images.clone()
    smooth = ((nine + wide[:, :, 1:-1, 1:-1] * 4) / 13).round()
    result[:, :, 1:-1, 1:-1] = _blend(inner, smooth, factor)
    return result


def grey(images: Tensor) -> Tensor:
    """Compute the luma of RGB images by ITU-R 601, uint8 (N, 1, H, W)."""
    red, green, blue = images.float().unbind(1)
    weighted = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return weighted.to(torch.uint8)[:, None]


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    blended = other + (images.float() - other) * factor[:, None, None, None]
    return blended.clamp(0, 255).to(torch.uint8)


def places(size: int, device: torch.device) -> Tensor:
    """Return the centres of `size` pixels in a row, measured from the middle of the row."""
    return torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2


def _values(images: Tensor) -> Tensor:
    return torch.arange(256, dtype=torch.float32, device=images.device)[None]


def _to_table(images: Tensor, values: Tensor) -> Tensor:
    """Return values (N, 256) as a table for every channel, uint8 (N, 3, 256)."""
    table = values.clamp(0, 255).to(torch.uint8)
    return table[:, None].expand(-1, images.shape[1], -1)
