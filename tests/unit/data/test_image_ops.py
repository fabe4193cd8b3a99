import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from imbalance_study.data import image_ops

FACTORS = torch.tensor([0.0, 0.1, 0.55, 1.0, 1.37, 1.9])
ANGLES = torch.tensor([-77.0, -10.3, 0.0, 3.7, 29.1, 89.2, 134.2])  # degrees


def pictures(count, height=32, width=32):
    """Smooth random images of different brightness and contrast, channels_last in memory."""
    shared = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, 5, 5), generator=shared)
    low, span = torch.rand((2, count, 3, 1, 1), generator=shared)
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    pixels = (255 * (low * 0.5 + fine * (0.1 + 0.4 * span))).to(torch.uint8)
    return pixels.contiguous(memory_format=torch.channels_last)


def matrices(count, height, width, angle=0.0, shear=(0.0, 0.0), shift=(0.0, 0.0)):
    """The movements as tensors; each may be one value for all or one per image."""
    pairs = [
        torch.stack([torch.as_tensor(value).float().expand(count) for value in pair], 1)
        for pair in (shear, shift)
    ]
    radians = torch.as_tensor(angle).float().expand(count)
    return image_ops.affine_matrices(height, width, angle=radians, shear=pairs[0], shift=pairs[1])


def share_that_differs(ours, theirs, by=0):
    return ((ours.int() - theirs.int()).abs() > by).float().mean().item()


def each(images, function, values):
    """A torchvision function on one image after another."""
    pairs = zip(images, values.tolist(), strict=True)
    return torch.stack([function(image, value) for image, value in pairs])


@pytest.mark.parametrize("shape", [(32, 32), (24, 37)])
@pytest.mark.parametrize("fill", [0, 128])
def test_nearest_rotation_is_that_of_torchvision(shape, fill):
    images = pictures(len(ANGLES), *shape)
    theirs = each(images, lambda image, angle: TF.rotate(image, angle, fill=[float(fill)]), ANGLES)
    movement = matrices(len(ANGLES), *shape, angle=ANGLES.deg2rad())
    ours = image_ops.warp(images, movement, fill=fill)
    assert share_that_differs(ours, theirs) < 0.002  # ties


@pytest.mark.parametrize("shape", [(32, 32), (24, 37)])
def test_bilinear_rotation_is_that_of_torchvision(shape):
    images = pictures(len(ANGLES), *shape)

    def rotate(image, angle):
        return TF.rotate(image, angle, InterpolationMode.BILINEAR)

    movement = matrices(len(ANGLES), *shape, angle=ANGLES.deg2rad())
    ours = image_ops.warp(images, movement, fill=0, bilinear=True)
    theirs = each(images, rotate, ANGLES)
    assert share_that_differs(ours, theirs, by=1) == 0
    assert share_that_differs(ours, theirs) < 0.002


def test_a_bilinear_turn_of_a_flat_image_fades_into_the_fill():
    images = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    movement = matrices(1, 16, 16, angle=math.radians(45))
    turned = image_ops.warp(images, movement, fill=100, bilinear=True)
    assert (turned.min(), turned.max()) == (100, 200)
    assert turned[0, 0, 8, 8] == 200
    assert turned[0, 0, 0, 0] == 100


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(32, 32), (24, 37)])
def test_shears_are_those_of_torchvision_about_the_top_left_corner(axis, shape):
    sizes = torch.tensor([-0.97, -0.31, 0.0, 0.123, 0.29, 0.77])
    images = pictures(len(sizes), *shape)

    def sheared(image, size):
        degrees = [0.0, 0.0]
        degrees[axis] = math.degrees(math.atan(size))
        return TF.affine(image, 0.0, [0, 0], 1.0, degrees, fill=[128.0], center=[0, 0])

    pair = (sizes, 0.0) if axis == 0 else (0.0, sizes)
    ours = image_ops.warp(images, matrices(len(sizes), *shape, shear=pair), fill=128)
    assert share_that_differs(ours, each(images, sheared, sizes)) < 0.002


@pytest.mark.parametrize("axis", [0, 1])
def test_shifts_are_exactly_those_of_torchvision(axis):
    sizes = torch.tensor([-40.0, -32.0, -7.0, 0.0, 1.0, 14.0])
    images = pictures(len(sizes))

    def shifted(image, size):
        pixels = [0, 0]
        pixels[axis] = int(size)
        return TF.affine(image, 0.0, pixels, 1.0, [0.0, 0.0], fill=[128.0])

    pair = (sizes, 0.0) if axis == 0 else (0.0, sizes)
    ours = image_ops.warp(images, matrices(len(sizes), 32, 32, shift=pair), fill=128)
    assert torch.equal(ours, each(images, shifted, sizes))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda images, values: image_ops.look_up(
                images, image_ops.brightness_table(images, values)
            ),
            TF.adjust_brightness,
        ),
        (
            lambda images, values: image_ops.look_up(
                images, image_ops.contrast_table(images, values)
            ),
            TF.adjust_contrast,
        ),
        (image_ops.saturate, TF.adjust_saturation),
        (image_ops.sharpen, TF.adjust_sharpness),
    ],
    ids=["brightness", "contrast", "color", "sharpness"],
)
def test_blends_are_those_of_torchvision(ours, theirs):
    images = pictures(len(FACTORS), 20, 33)
    reference = each(images, theirs, FACTORS)
    assert share_that_differs(ours(images, FACTORS), reference, by=1) == 0


def test_a_flat_image_is_not_changed_by_sharpening_of_any_strength():
    images = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    for factors in (torch.linspace(0.01, 0.99, 256), torch.linspace(1.01, 1.99, 256)):
        assert torch.equal(image_ops.sharpen(images, factors), images)


@pytest.mark.parametrize("bits", range(9))
def test_posterize_is_that_of_torchvision(bits):
    images = pictures(3)
    tables = image_ops.posterize_table(images, torch.full((3,), float(bits)))
    expected = TF.posterize(images, bits) if bits else torch.zeros_like(images)
    assert torch.equal(image_ops.look_up(images, tables), expected)


def test_solarize_is_that_of_torchvision():
    thresholds = torch.tensor([0.0, 33.0, 127.5, 200.3, 255.0])
    images = pictures(5)
    ours = image_ops.look_up(images, image_ops.solarize_table(images, thresholds))
    assert torch.equal(ours, each(images, TF.solarize, thresholds))


def test_invert_is_that_of_torchvision():
    images = pictures(3)
    tables = image_ops.invert_table(images)
    assert torch.equal(image_ops.look_up(images, tables), TF.invert(images))


def tricky_pictures():
    images = pictures(8)
    images[0] = 93
    images[1] = 0
    images[2, 1] = 255
    images[3, :, :, :16] = 17  # two values
    images[3, :, :, 16:] = 201
    images[4, :, 0, 0] = 255
    return images


@pytest.mark.parametrize("size", [32, 12])
def test_autocontrast_is_that_of_torchvision(size):
    images = tricky_pictures()[:, :, :size, :size]
    ours = image_ops.look_up(images, image_ops.autocontrast_table(images))
    assert torch.equal(ours, TF.autocontrast(images))


@pytest.mark.parametrize("size", [32, 12])
def test_equalize_is_that_of_torchvision_and_of_pillow(size):
    images = tricky_pictures()[:, :, :size, :size]
    ours = image_ops.look_up(images, image_ops.equalize_table(images))
    assert torch.equal(ours, torch.stack([TF.equalize(image) for image in images]))
    for image, result in zip(images, ours, strict=True):
        pillow = ImageOps.equalize(Image.fromarray(image.permute(1, 2, 0).numpy()))
        assert np.array_equal(result.permute(1, 2, 0).numpy(), np.asarray(pillow))


def test_grey_is_that_of_torchvision():
    images = pictures(4)
    assert torch.equal(image_ops.grey(images), TF.rgb_to_grayscale(images))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("drawn", [[True, False, True, False], [False] * 4, [True] * 4])
def test_only_the_drawn_images_change_each_by_its_own_parameter(layout, drawn):
    images = pictures(4).contiguous(memory_format=layout)
    before = images.clone()
    chosen, factors = torch.tensor(drawn), torch.tensor([0.1, 0.2, 0.3, 0.4])
    result = image_ops.on_drawn(images, chosen, image_ops.saturate, factors)
    for i in range(4):
        alone = image_ops.saturate(images[i : i + 1], factors[i : i + 1])[0]
        assert torch.equal(result[i], alone if drawn[i] else images[i])
    assert result.stride() == images.stride()
    assert torch.equal(images, before)


def test_take_copies_the_named_images():
    images = pictures(5)
    rows = torch.tensor([3, 3, 0])
    taken = image_ops.take(images, rows)
    assert torch.equal(taken, images[rows])
    assert taken.is_contiguous(memory_format=torch.channels_last)
