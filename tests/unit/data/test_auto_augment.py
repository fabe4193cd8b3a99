import functools
import itertools
import math

import pytest
import torch
from scipy import stats
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, RandAugment, TrivialAugmentWide
from torchvision.transforms import functional as TF

from imbalance_study.config import choices, spec
from imbalance_study.data import auto_augment
from imbalance_study.data.auto_augment import OPERATIONS, STANDARD, WIDE

TAIL_AUGMENTS = spec.functions(choices.TAIL_AUGMENTS)

# Our names, and torchvision's, in CamelCase.
THEIRS = {name: name.replace("_", " ").title().replace(" ", "") for name in OPERATIONS}
THEIRS["autocontrast"] = "AutoContrast"
BLENDS = ["color", "sharpness", "brightness", "contrast"]  # the last bit before they are cut off
SIGNED = [*OPERATIONS[1:6], *BLENDS]
COUNTS = torch.tensor([5000, 500, 50])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(size=16):
    """One image with edges, colours and all of its tones, channels_last in memory."""
    coarse = torch.rand((1, 3, 5, 5), generator=generator(1))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    pixels = (20 + 200 * smooth).to(torch.uint8)
    pixels[:, :, 3, 4:9] = 250
    return pixels.contiguous(memory_format=torch.channels_last)


def apply_to_one(image, name, level, space, fill=128):
    operations = torch.tensor([OPERATIONS.index(name)])
    return auto_augment.apply(image, operations, torch.tensor([level]), space, fill=fill)


def reference(image, name, magnitude, fill):
    """The operation by torchvision.transforms.functional."""
    affine = functools.partial(TF.affine, image, 0.0, scale=1.0, fill=[float(fill)])
    degrees = math.degrees(math.atan(magnitude))
    factor = 1 + magnitude
    pixels = int(round(magnitude, 4))  # the table has 15.999999, which torchvision cuts to 15
    return {
        "identity": lambda: image,
        "shear_x": lambda: affine(translate=[0, 0], shear=[degrees, 0.0], center=[0, 0]),
        "shear_y": lambda: affine(translate=[0, 0], shear=[0.0, degrees], center=[0, 0]),
        "translate_x": lambda: affine(translate=[pixels, 0], shear=[0.0, 0.0]),
        "translate_y": lambda: affine(translate=[0, pixels], shear=[0.0, 0.0]),
        "rotate": lambda: TF.rotate(image, magnitude, fill=[float(fill)]),
        "color": lambda: TF.adjust_saturation(image, factor),
        "sharpness": lambda: TF.adjust_sharpness(image, factor),
        "brightness": lambda: TF.adjust_brightness(image, factor),
        "contrast": lambda: TF.adjust_contrast(image, factor),
        "posterize": lambda: TF.posterize(image, int(magnitude)),
        "solarize": lambda: TF.solarize(image, magnitude),
        "autocontrast": lambda: TF.autocontrast(image),
        "equalize": lambda: TF.equalize(image),
        "invert": lambda: TF.invert(image),
    }[name]()


SPACES = [
    (STANDARD, RandAugment()._augmentation_space(31, (24, 32)), 30),
    (STANDARD, AutoAugment()._augmentation_space(10, (24, 32)), 9),
    (WIDE, TrivialAugmentWide()._augmentation_space(31), 30),
]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["rand", "auto", "trivial"])
def test_every_operation_at_every_strength_is_that_of_torchvision(name, which):
    space, table, top = SPACES[which]
    image = picture(32)[:, :, :24].contiguous(memory_format=torch.channels_last)
    magnitudes, signed = table.get(THEIRS[name], (torch.tensor(0.0), False))
    assert signed == (name in SIGNED)
    for strength, sign in itertools.product(range(top + 1), (1, -1)):
        magnitude = float(magnitudes[strength]) if magnitudes.ndim else 0.0
        magnitude *= sign if signed else 1
        ours = apply_to_one(image, name, sign * strength / top, space)
        theirs = reference(image, name, magnitude, 128)
        differs = (ours.int() - theirs.int()).abs()
        if name in ("shear_x", "shear_y", "rotate"):  # ties between two pixels
            assert (differs > 0).float().mean() < 0.03, (strength, sign)
        else:
            assert differs.max() <= (name in BLENDS), (strength, sign)


def test_the_learnt_policy_is_the_one_that_torchvision_holds():
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    ours = [
        tuple(
            (THEIRS[name], probability, None if magnitude is None else strength)
            for (name, probability, strength), (_, _, magnitude) in zip(pair, other, strict=True)
        )
        for pair, other in zip(auto_augment.CIFAR10_POLICY, theirs, strict=True)
    ]
    assert ours == theirs


def goodness_of_fit(function, outcomes, draws):
    """P-value of the results on `draws` copies of the picture.

    `outcomes` are pairs of probability and image; equal images count together.
    """
    images = torch.cat([image for _, image in outcomes])
    chance = torch.tensor([probability for probability, _ in outcomes], dtype=torch.float64)
    batch = picture().expand(draws, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    result = function(batch, generator())
    distinct, which = torch.cat([images, result]).flatten(1).unique(dim=0, return_inverse=True)
    expected = torch.zeros(len(distinct), dtype=torch.float64)
    expected.index_add_(0, which[: len(images)], chance)
    observed = torch.bincount(which[len(images) :], minlength=len(distinct)).double()
    assert math.isclose(float(expected.sum()), 1.0, abs_tol=1e-5)
    assert observed[expected == 0].sum() == 0
    common = expected * draws >= 5
    rest = torch.stack([expected[~common].sum() * draws, observed[~common].sum()])
    expected, observed = expected[common] * draws, observed[common]
    if rest[0] > 0:
        expected, observed = torch.cat([expected, rest[:1]]), torch.cat([observed, rest[1:]])
    expected *= observed.sum() / expected.sum()
    return stats.chisquare(observed.numpy(), expected.numpy()).pvalue


@functools.cache
def trivial_outcomes():
    return [
        (1 / (14 * 31 * 2), apply_to_one(picture(), name, sign * strength / 30, WIDE))
        for name in OPERATIONS[:-1]
        for strength in range(31)
        for sign in (1, -1)
    ]


# Seven or more expected of each outcome; .ci/run looks more closely.
each_number_of_draws = pytest.mark.parametrize(
    "draws", [6_000, pytest.param(20_000, marks=pytest.mark.slow)]
)


@each_number_of_draws
def test_trivial_augment_draws_operation_strength_and_sign_uniformly(draws):
    assert goodness_of_fit(auto_augment.trivial_augment, trivial_outcomes(), draws) > 1e-3


@each_number_of_draws
@pytest.mark.parametrize(("n", "m"), [(1, 9), (2, 23)])
def test_rand_augment_draws_n_operations_and_their_signs_independently(n, m, draws):
    single = [(1 / 28, name, sign * m / 30) for name in OPERATIONS[:-1] for sign in (1, -1)]
    outcomes = []
    for steps in itertools.product(single, repeat=n):
        image = picture()
        for _, name, level in steps:
            image = apply_to_one(image, name, level, STANDARD)
        outcomes.append((math.prod(probability for probability, _, _ in steps), image))
    function = functools.partial(auto_augment.rand_augment, n=n, m=m)
    assert goodness_of_fit(function, outcomes, draws) > 1e-3


@each_number_of_draws
def test_auto_augment_draws_a_pair_and_then_each_of_its_operations(draws):
    outcomes = []
    for pair in auto_augment.CIFAR10_POLICY:
        steps = [
            [(1 - p, "identity", 0.0), (p / 2, name, s / 9), (p / 2, name, -s / 9)]
            for name, p, s in pair
        ]
        for (p1, first, level1), (p2, second, level2) in itertools.product(*steps):
            image = apply_to_one(picture(), first, level1, STANDARD)
            image = apply_to_one(image, second, level2, STANDARD)
            outcomes.append((p1 * p2 / 25, image))
    assert goodness_of_fit(auto_augment.auto_augment, outcomes, draws) > 1e-3


@pytest.mark.parametrize("everywhere", [True, False])
def test_each_image_of_a_mixed_batch_is_treated_as_if_it_were_alone(everywhere):
    images = torch.cat([picture(), picture().flip(2), 255 - picture()] * 5)
    images = images.contiguous(memory_format=torch.channels_last)
    operations, levels = torch.arange(15), torch.linspace(-1, 1, 15)
    result = auto_augment.apply(images, operations, levels, WIDE, fill=7, everywhere=everywhere)
    for i, name in enumerate(OPERATIONS):
        alone = apply_to_one(images[i : i + 1], name, float(levels[i]), WIDE, fill=7)
        assert torch.equal(result[i : i + 1], alone), name


@pytest.mark.parametrize(
    "function", [auto_augment.rand_augment, auto_augment.trivial_augment, auto_augment.auto_augment]
)
def test_the_fill_comes_in_from_outside(function):
    flat = torch.full((200, 3, 8, 8), 60, dtype=torch.uint8)
    values = set(function(flat, generator(), fill=201).flatten().tolist())
    assert 201 in values
    assert 128 not in values


def changed(images, counts, targets, seed=0, **options):
    result = auto_augment.tail_trivial(images, targets, counts, generator(seed), **options)
    return (result != images).flatten(1).any(1)


def test_the_rarer_the_class_the_more_often_the_tail_augmentation_acts():
    batch = picture().expand(6000, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    targets = torch.arange(6000) % 3
    visible = sum(p for p, image in trivial_outcomes() if not torch.equal(image, picture()))
    for p in (0.8, 0.3):
        acted = changed(batch, COUNTS, targets, p=p)
        assert not acted[targets == 0].any()
        for c, rarity in ((1, 0.5), (2, 1.0)):
            chance = p * rarity * visible
            assert stats.binomtest(int(acted[targets == c].sum()), 2000, chance).pvalue > 1e-3


def test_what_the_tail_augmentation_does_is_trivial_augment():
    def rarest(images, shared):
        targets = torch.full((len(images),), 2)
        return auto_augment.tail_trivial(images, targets, COUNTS, shared, p=1.0)

    assert goodness_of_fit(rarest, trivial_outcomes(), 6_000) > 1e-3


@pytest.mark.parametrize("counts", [torch.tensor([7, 7, 7]), torch.tensor([7, 0, 7])])
def test_equally_large_classes_get_no_tail_augmentation(counts):
    batch = picture().expand(300, -1, -1, -1)
    assert not changed(batch, counts, torch.arange(300) % 3 // 2 * 2, p=1.0).any()


@pytest.mark.parametrize("name", TAIL_AUGMENTS)
def test_a_tail_augmentation_keeps_shape_and_format_and_repeats_by_seed(name):
    images = picture().expand(64, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    targets, shared = torch.full((64,), 2), generator(3)
    function = TAIL_AUGMENTS[name]
    first = function(images, targets, COUNTS, shared)
    second = function(images, targets, COUNTS, shared)
    assert (first.dtype, first.shape, first.stride()) == (
        torch.uint8,
        images.shape,
        images.stride(),
    )
    assert torch.equal(first, function(images, targets, COUNTS, generator(3)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", TAIL_AUGMENTS)
def test_a_tail_augmentation_does_not_ask_the_device_for_a_value(name):
    images = torch.empty((4, 3, 8, 8), dtype=torch.uint8, device="meta")
    targets = torch.empty(4, dtype=torch.int64, device="meta")
    counts = torch.empty(3, dtype=torch.int64, device="meta")
    assert TAIL_AUGMENTS[name](images, targets, counts, None).shape == images.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (functools.partial(auto_augment.rand_augment, n=0), "n must be at least 1, got 0"),
        (functools.partial(auto_augment.rand_augment, m=31), "m must be between 0 and 30, got 31"),
        (functools.partial(auto_augment.trivial_augment, fill=300), "fill must be .* got 300"),
        (functools.partial(auto_augment.auto_augment, fill=-1), "fill must be .* got -1"),
    ],
)
def test_values_out_of_range_are_refused_with_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call(picture(), generator())


def test_a_tail_probability_above_one_is_refused():
    with pytest.raises(ValueError, match=r"p must be between 0 and 1, got 1\.5"):
        auto_augment.tail_trivial(picture(), torch.tensor([0]), COUNTS, generator(), p=1.5)
