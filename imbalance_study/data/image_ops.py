"""Image operations on batches, each image with its own parameters.

All take `images` uint8 (N, 3, H, W), channels_last in memory, and per-image parameters (N,), and
return new images of the same kind. Geometric operations are one affine matrix per image for `warp`,
tone operations one table of 256 entries per image and channel for `look_up`. The operations are
Pillow's, as torchvision has them for tensors: a blend is cut off, not rounded. (Where both images
of a blend are equal, torchvision may end one below; these do not.) None of them asks the device
for a value, so nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


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
    images: Tensor,
    drawn: Tensor,
    operation: Callable[..., Tensor],
    *parameters: Tensor,
    everywhere: bool | None = None,
) -> Tensor:
    """Apply ``operation(images, *parameters)`` where `drawn` (N,) is true.

    Args:
        images: (N, 3, H, W).
        drawn: The images that change, (N,) bool.
        operation: On any number of images, with one entry of each parameter per image.
        *parameters: One entry per image each, (N, ...).
        everywhere: Compute on all images and choose: no count of the drawn ones is needed, so
            nothing waits for the device. By default so on accelerators; the CPU computes the drawn
            images only.
    """
    if everywhere is None:
        everywhere = images.device.type != "cpu"
    if everywhere:
        changed = operation(images, *parameters)
        return torch.where(drawn[:, None, None, None], changed, images)
    rows = drawn.nonzero().squeeze(1)
    if not len(rows):
        return images
    changed = operation(take(images, rows), *(values[rows] for values in parameters))
    result = images.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
    result.flatten(1).index_copy_(0, rows, changed.permute(0, 2, 3, 1).flatten(1))
    return keep_format(result.permute(0, 3, 1, 2), images)


def random_stretch(length: int, sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Mark, for each of `sizes` (N,), as many places around a random one: bool (N, length).

    The part that lies outside 0..length is cut off.
    """
    device = sizes.device
    centre = torch.randint(length, sizes.shape, generator=generator, device=device)
    first = (centre - sizes // 2)[:, None]
    places = torch.arange(length, device=device)
    return (places >= first) & (places < first + sizes[:, None])


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
    u = _places(width, images.device)[None, None, :]
    v = _places(height, images.device)[None, :, None]
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


def brightness_table(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black: value * factor."""
    return _to_table(images, _values(images) * factor[:, None])


def contrast_table(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of the image: mean + (value - mean) * factor."""
    mean = grey(images).float().mean((1, 2, 3))[:, None]
    return _to_table(images, mean + (_values(images) - mean) * factor[:, None])


def posterize_table(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper `bits` bits of a value."""
    step = 2.0 ** (8 - bits[:, None])
    return _to_table(images, (_values(images) / step).floor() * step)


def solarize_table(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values from `threshold` upwards."""
    values = _values(images)
    return _to_table(images, torch.where(values >= threshold[:, None], 255 - values, values))


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
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8)[:, None]


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    blended = other + (images.float() - other) * factor[:, None, None, None]
    return blended.clamp(0, 255).to(torch.uint8)


def _places(size: int, device: torch.device) -> Tensor:
    """Return the centres of `size` pixels in a row, measured from the middle of the row."""
    return torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2


def _values(images: Tensor) -> Tensor:
    return torch.arange(256, dtype=torch.float32, device=images.device)[None]


def _to_table(images: Tensor, values: Tensor) -> Tensor:
    """Return values (N, 256) as a table for every channel, uint8 (N, 3, 256)."""
    table = values.clamp(0, 255).to(torch.uint8)
    return table[:, None].expand(-1, images.shape[1], -1)
