import functools
import time

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from imbalance_study.config import choices, spec
from imbalance_study.data import augment
from imbalance_study.data.augment import compose

AUGMENTATIONS = spec.functions(choices.AUGMENTATIONS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count=16, height=32, width=32, seed=0, low=0):
    """Random images, channels_last in memory."""
    shape = (count, height, width, 3)
    pixels = torch.randint(low, 256, shape, dtype=torch.uint8, generator=generator(seed))
    return pixels.permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("size", [32, 9])
def test_dtype_shape_memory_format_and_the_given_images_are_kept(name, layout, size):
    images = noise(8, size, size)
    if layout == "contiguous":
        images = images.contiguous()
    before = images.clone()
    result = AUGMENTATIONS[name](images, generator())
    assert (result.dtype, result.shape) == (torch.uint8, images.shape)
    assert result.stride() == images.stride()
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_both_memory_formats_give_the_same_images(name):
    images = noise(64)
    function = AUGMENTATIONS[name]
    assert torch.equal(function(images, generator()), function(images.contiguous(), generator()))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_seed_repeats_the_draws_and_the_next_batch_has_others(name):
    images, shared = noise(64), generator(3)
    function = AUGMENTATIONS[name]
    first, second = function(images, shared), function(images, shared)
    assert torch.equal(first, function(images, generator(3)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_copies_of_one_image_in_a_batch_become_different_images(name):
    images = noise(1).expand(64, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    distinct = len(AUGMENTATIONS[name](images, generator()).flatten(1).unique(dim=0))
    assert distinct == {"flip": 2, "rotate90": 4}.get(name, distinct)
    assert distinct > {"flip": 1, "rotate90": 3}.get(name, 25)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 1, 1), (1, 2, 2), (1, 32, 32), (3, 7, 7)])
def test_single_pixels_and_batches_of_one_pass(name, shape):
    images = noise(*shape)
    assert AUGMENTATIONS[name](images, generator()).shape == images.shape


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "rotate90"])
def test_images_need_not_be_square(name):
    images = noise(32, 24, 40)
    assert AUGMENTATIONS[name](images, generator()).shape == images.shape


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_nothing_asks_the_device_for_a_value(name):
    # A meta tensor has no values: whatever would wait for an accelerator raises here.
    images = torch.empty((4, 3, 32, 32), dtype=torch.uint8, device="meta")
    assert AUGMENTATIONS[name](images, None).shape == images.shape


def test_flip_mirrors_each_image_with_its_probability():
    images = noise(4000, 4, 4)
    for function, p in ((augment.flip, 0.5), (functools.partial(augment.flip, p=0.2), 0.2)):
        result = function(images, generator())
        mirrored = (result == images.flip(3)).flatten(1).all(1)
        assert (mirrored | (result == images).flatten(1).all(1)).all()
        assert stats.binomtest(int(mirrored.sum()), 4000, p).pvalue > 1e-3


def crops_of(images, padding):
    """All (2 padding + 1)^2 crops by pad and slice, (K, N, 3, H, W)."""
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    offsets = range(2 * padding + 1)
    return torch.stack(
        [padded[:, :, y : y + height, x : x + width] for y in offsets for x in offsets]
    )


@pytest.mark.parametrize(("size", "padding", "drawn"), [((16, 24), 0, 2), ((10, 6), 4, 4)])
def test_crop_is_pad_and_slice_at_offsets_that_are_all_equally_likely(size, padding, drawn):
    images = noise(1, *size, low=1)
    count = 3000
    batch = images.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    result = augment.crop(batch, generator(), padding=padding)
    candidates = crops_of(images, drawn)[:, 0]
    distinct, found = torch.cat([candidates, result]).flatten(1).unique(dim=0, return_inverse=True)
    assert len(distinct) == len(candidates)
    times = torch.bincount(found[len(candidates) :], minlength=len(distinct))
    assert stats.chisquare(times.numpy()).pvalue > 1e-3


def test_crop_takes_each_image_from_its_own_padded_self():
    images = noise(40, 8, 8)
    result = augment.crop(images, generator(), padding=1)
    assert (crops_of(images, 1) == result).flatten(2).all(2).any(0).all()


def covered_box(changed):
    """First and last covered row and column of (H, W), which must be a full rectangle."""
    rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
    box = (int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1]))
    assert changed[box[0] : box[1] + 1, box[2] : box[3] + 1].all()
    return box


@pytest.mark.parametrize(("size", "side"), [(0, 6), (5, 5)])
def test_cutout_covers_a_square_around_any_pixel_cut_off_at_the_border(size, side):
    images = noise(3000, 12, 20, low=129)
    result = augment.cutout(images, generator(), size=size)
    changed = (result != images).any(1)
    assert torch.equal(result, torch.where(changed[:, None], 128, images))
    boxes = torch.tensor([covered_box(image) for image in changed])
    for first, last, length in ((*boxes[:, :2].unbind(1), 12), (*boxes[:, 2:].unbind(1), 20)):
        expected = torch.zeros(length, length, dtype=torch.float64)
        for centre in range(length):
            start = centre - side // 2
            expected[max(start, 0), min(start + side, length) - 1] += 1 / length
        observed = torch.bincount(first * length + last, minlength=length * length)
        possible = expected.flatten() > 0
        assert observed[~possible].sum() == 0
        chance = expected.flatten()[possible].numpy()
        assert stats.chisquare(observed[possible].numpy(), chance * 3000).pvalue > 1e-3


def test_cutout_fills_with_the_given_grey():
    result = augment.cutout(noise(8, low=10), generator(), size=64, fill=3)
    assert set(result[:, :, 15:17, 15:17].flatten().tolist()) == {3}


def test_rotate90_turns_by_each_quarter_equally_often():
    image = noise(1, 6, 6)
    result = augment.rotate90(image.expand(2000, -1, -1, -1), generator())
    turns = torch.stack([torch.rot90(image[0], turn, (1, 2)) for turn in range(4)])
    found = (result[:, None] == turns).flatten(2).all(2)
    assert (found.sum(1) == 1).all()
    assert stats.chisquare(found.sum(0).numpy()).pvalue > 1e-3


def test_rotation_draws_angles_uniformly_up_to_the_given_degrees():
    # A bright disc to the right of the centre: where its centroid lies tells the angle.
    places = torch.arange(64.0) - 31.5
    disc = ((places[None, :] - 20) ** 2 + places[:, None] ** 2 < 36).to(torch.uint8) * 255
    batch = disc.expand(500, 3, 64, 64)
    for degrees in (10.0, 45.0):
        mass = augment.rotation(batch, generator(), degrees=degrees)[:, 0].double()
        x, y = (mass.sum(1) @ places.double(), mass.sum(2) @ places.double())
        angles = torch.atan2(-y, x).rad2deg().numpy()
        assert stats.kstest(angles, stats.uniform(-degrees, 2 * degrees).cdf).pvalue > 1e-3
        assert abs(angles).max() < degrees + 0.1


def test_rotation_by_no_degrees_changes_nothing():
    images = noise(4)
    assert torch.equal(augment.rotation(images, generator(), degrees=0.0), images)


def test_rotation_brings_in_the_given_grey():
    images = torch.full((4, 3, 16, 16), 77, dtype=torch.uint8)
    black = augment.rotation(images, generator(), degrees=45.0)
    assert torch.equal(augment.rotation(images, generator(), degrees=45.0, fill=77), images)
    assert (black == 0).any()


def test_compose_applies_the_functions_in_their_order():
    images = noise(8, low=1)
    whole = functools.partial(augment.cutout, size=200, fill=9)
    black_comes_in = compose([whole, functools.partial(augment.crop, padding=8)])
    assert set(black_comes_in(images, generator()).flatten().tolist()) == {0, 9}
    covered = compose([functools.partial(augment.crop, padding=8), whole])
    assert set(covered(images, generator()).flatten().tolist()) == {9}


def test_compose_of_nothing_is_the_identity():
    images = noise(2)
    assert torch.equal(compose([])(images, generator()), images)


@pytest.mark.threads(1)  # whose time counts, whatever holds it up
def test_crop_and_flip_of_a_batch_take_less_than_three_milliseconds():
    images, shared = noise(128), generator()
    both = compose([augment.crop, augment.flip])
    seconds = []
    for _ in range(30):
        start = time.thread_time()
        both(images, shared)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 3e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (functools.partial(augment.flip, p=1.1), "p must be between 0 and 1, got 1.1"),
        (functools.partial(augment.crop, padding=-1), "padding must be at least 0 .* got -1"),
        (functools.partial(augment.cutout, size=-2), "size must be at least 0 .* got -2"),
        (functools.partial(augment.cutout, fill=256), "fill must be .* got 256"),
        (functools.partial(augment.rotation, degrees=200.0), "degrees must be .* got 200.0"),
        (functools.partial(augment.rotation, fill=-1), "fill must be .* got -1"),
        (augment.rotate90, "rotate90 needs square images, got 4 x 5 pixels"),
    ],
)
def test_values_out_of_range_are_refused_with_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call(noise(2, 4, 5), generator())
