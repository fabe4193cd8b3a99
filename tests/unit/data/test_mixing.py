import functools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from imbalance_study.config import choices, spec
from imbalance_study.data import mixing

MIXES = spec.functions(choices.MIXES)

COUNTS = torch.tensor([300, 100, 99, 10])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, size=8, dtype=torch.float32):
    """Random normalised images, channels_last in memory, and targets of four classes."""
    images = torch.randn((count, 3, size, size), generator=generator(1)).to(dtype)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(count) % 4


def own_share(count, size=1, alpha=1.0, mix=mixing.mixup, seed=0, **options):
    """The weights lam (N,) of `count` draws."""
    images, targets = noise(count, size)
    return mix(images, targets, COUNTS, generator(seed), alpha=alpha, **options).lam


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_the_weights_of_mixup_follow_the_beta_distribution(alpha):
    lam = own_share(20_000, alpha=alpha)
    assert ((lam >= 0) & (lam <= 1)).all()
    # In bins: float32 rounds what is next to 0 and 1.
    edges = np.concatenate([[0, 1e-4, 1e-2], np.linspace(0.05, 0.95, 19), [0.99, 0.9999, 1]])
    chance = np.diff(stats.beta(alpha, alpha).cdf(edges))
    observed = np.histogram(lam.double().numpy(), edges)[0]
    common = chance * len(lam) > 5
    expected = chance[common] / chance[common].sum() * observed[common].sum()
    assert stats.chisquare(observed[common], expected).pvalue > 1e-3


def test_the_weights_stay_finite_for_the_smallest_alpha():
    lam = own_share(20_000, alpha=1e-3)
    assert lam.isfinite().all()
    assert ((lam < 0.01) | (lam > 0.99)).float().mean() > 0.98


def test_mixup_blends_each_image_with_its_partner_by_its_own_weight():
    images, _ = noise(64)
    numbers = torch.arange(64)
    mixed = mixing.mixup(images, numbers, COUNTS, generator())
    assert torch.equal(mixed.targets_a, numbers)
    assert torch.equal(mixed.targets_b.sort().values, numbers)
    assert (mixed.targets_b != numbers).float().mean() > 0.9
    assert len(mixed.lam.unique()) == 64
    lam = mixed.lam[:, None, None, None]
    expected = lam * images + (1 - lam) * images[mixed.targets_b]
    torch.testing.assert_close(mixed.images, expected)


def test_partners_are_drawn_uniformly():
    images, _ = noise(5, 1)
    numbers, shared = torch.arange(5), generator()
    pairs = torch.stack(
        [mixing.mixup(images, numbers, COUNTS, shared).targets_b for _ in range(2000)]
    )
    for image in range(5):
        assert stats.chisquare(torch.bincount(pairs[:, image], minlength=5).numpy()).pvalue > 1e-3


def cutmix_parts(count, size, seed=0, **options):
    """CutMix of images whose pixels all hold the number of their image."""
    numbers = torch.arange(count)
    images = numbers.float()[:, None, None, None].expand(-1, 3, *size).contiguous()
    return mixing.cutmix(images, numbers, COUNTS, generator(seed), **options)


def test_cutmix_pastes_one_box_of_the_partner_and_weighs_by_its_exact_area():
    mixed = cutmix_parts(500, (12, 20))
    own = (mixed.images == mixed.targets_a[:, None, None, None]).all(1)
    other = (mixed.images == mixed.targets_b[:, None, None, None]).all(1)
    assert (own | other).all()
    alone = mixed.targets_a == mixed.targets_b
    torch.testing.assert_close(mixed.lam[~alone], own.float().mean((1, 2))[~alone])
    for pasted in other[~alone]:
        rows, columns = pasted.any(1), pasted.any(0)
        assert torch.equal(pasted, rows[:, None] & columns)  # no more than a box,
        for places in (rows.nonzero().flatten(), columns.nonzero().flatten()):
            assert len(places) == 0 or places[-1] - places[0] + 1 == len(places)  # in one piece


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_weights_of_cutmix_are_those_of_the_published_box(alpha):
    height, width, count = 32, 24, 20_000
    rng = np.random.default_rng(0)
    cut = np.sqrt(1 - rng.beta(alpha, alpha, count))
    area = np.ones(count)
    for length in (height, width):
        half = (length * cut).astype(int) // 2
        centre = rng.integers(length, size=count)
        area *= np.clip(centre + half, 0, length) - np.clip(centre - half, 0, length)
    lam = cutmix_parts(count, (height, width), alpha=alpha).lam
    ours = ((1 - lam) * height * width).round().numpy()
    assert stats.ks_2samp(ours, area).pvalue > 1e-3


def test_cutmix_leaves_images_alone_with_the_rest_of_its_probability():
    lam = cutmix_parts(4000, (32, 32), p=0.3).lam
    mixed_anyhow = (cutmix_parts(4000, (32, 32), p=1.0, seed=1).lam < 1).double().mean().item()
    assert stats.binomtest(int((lam < 1).sum()), 4000, 0.3 * mixed_anyhow).pvalue > 1e-3
    assert (cutmix_parts(100, (32, 32), p=0.0).lam == 1).all()


def cmo_partners(targets, counts, power=1.0, draws=200):
    """Share of each class among the pasted, over many batches."""
    images = torch.zeros(len(targets), 3, 8, 8)
    shared = generator()
    found = torch.cat(
        [
            mixing.cmo(images, targets, counts, shared, p=1.0, power=power).targets_b
            for _ in range(draws)
        ]
    )
    return torch.bincount(found, minlength=len(counts)) / len(found)


def test_context_rich_oversampling_pastes_each_class_in_proportion_to_its_weight():
    """The reference: P(c) = b_c n_c^-r / sum, with b_c images of class c in the batch."""
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 9 + [3])
    batch = torch.tensor([60.0, 30, 9, 1])
    for power in (0.0, 0.5, 1.0):
        expected = batch * COUNTS.float() ** -power
        found = cmo_partners(targets, COUNTS, power)
        torch.testing.assert_close(found, expected / expected.sum(), atol=0.015, rtol=0)
    alike = cmo_partners(targets, torch.tensor([60, 30, 9, 1]))
    torch.testing.assert_close(alike, torch.full((4,), 0.25), atol=0.015, rtol=0)


def test_context_rich_oversampling_keeps_the_image_as_it_comes_around_the_box():
    numbers = torch.arange(100)
    images = numbers.float()[:, None, None, None].expand(-1, 3, 12, 20).contiguous()
    mixed = mixing.cmo(images, numbers, torch.ones(100), generator(), p=0.5)
    own = (mixed.images == numbers[:, None, None, None]).all(1)
    other = (mixed.images == mixed.targets_b[:, None, None, None]).all(1)
    assert (own | other).all()
    assert torch.equal(mixed.targets_a, numbers)
    alone = mixed.targets_a == mixed.targets_b
    torch.testing.assert_close(mixed.lam[~alone], own.float().mean((1, 2))[~alone])
    assert 0.3 < (mixed.lam == 1).float().mean() < 0.75


def test_remix_gives_the_label_to_the_rarer_class_of_an_uneven_pair():
    images, targets = noise(4000, 4)
    mixed = mixing.remix(images, targets, COUNTS, generator())
    plain = mixing.mixup(images, targets, COUNTS, generator())
    assert torch.equal(mixed.images, plain.images)
    assert torch.equal(mixed.targets_b, plain.targets_b)
    seen = set()
    for a, b, share, lam in zip(
        mixed.targets_a.tolist(),
        mixed.targets_b.tolist(),
        plain.lam.tolist(),
        mixed.lam.tolist(),
        strict=True,
    ):
        ratio = COUNTS[a].item() / COUNTS[b].item()
        if ratio >= 3 and share < 0.5:
            expected, case = 0.0, "to the partner"
        elif ratio <= 1 / 3 and 1 - share < 0.5:
            expected, case = 1.0, "to the image"
        else:
            expected, case = share, "as mixed"
        assert lam == expected
        seen.add((a, b, case))
    assert (0, 1, "to the partner") in seen  # 300 to 100 is exactly kappa
    assert (1, 0, "to the image") in seen
    assert (1, 2, "to the partner") not in seen
    assert (3, 0, "to the partner") not in seen  # never to the larger class


def test_remix_options_move_the_limits():
    images, targets = noise(2000, 1)
    plain = mixing.mixup(images, targets, COUNTS, generator()).lam
    pair = (images, targets, COUNTS)
    assert torch.equal(mixing.remix(*pair, generator(), tau=0.0).lam, plain)
    assert torch.equal(mixing.remix(*pair, generator(), kappa=31.0).lam, plain)
    moved = [
        (mixing.remix(*pair, generator(), kappa=kappa, tau=tau).lam != plain).sum()
        for kappa, tau in ((20.0, 0.5), (3.0, 0.5), (3.0, 0.9))
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_shape_memory_format_and_the_given_images_are_kept(name, layout, dtype):
    images, targets = noise(16, dtype=dtype)
    images = images.contiguous(memory_format=layout)
    before = images.clone()
    mixed = MIXES[name](images, targets, COUNTS, generator())
    assert (mixed.images.dtype, mixed.images.shape) == (dtype, images.shape)
    assert mixed.images.stride() == images.stride()
    assert (mixed.lam.dtype, mixed.lam.shape) == (torch.float32, (16,))
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", MIXES)
def test_a_seed_repeats_the_draws_and_the_next_batch_has_others(name):
    images, targets = noise(16)
    shared = generator(3)
    first = MIXES[name](images, targets, COUNTS, shared)
    second = MIXES[name](images, targets, COUNTS, shared)
    again = MIXES[name](images, targets, COUNTS, generator(3))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first.images, second.images)
    assert len(first.lam.unique()) > 4


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 32), (5, 1)])
def test_single_pixels_and_batches_of_one_pass(name, count, size):
    images, targets = noise(count, size)
    mixed = MIXES[name](images, targets, COUNTS, generator())
    assert mixed.images.isfinite().all()
    assert ((mixed.lam >= 0) & (mixed.lam <= 1)).all()
    if count == 1:
        torch.testing.assert_close(mixed.images, images)


@pytest.mark.parametrize("name", MIXES)
def test_nothing_asks_the_device_for_a_value(name):
    images = torch.empty((4, 3, 8, 8), device="meta")
    targets = torch.empty(4, dtype=torch.int64, device="meta")
    counts = torch.empty(4, dtype=torch.int64, device="meta")
    assert MIXES[name](images, targets, counts, None).images.shape == images.shape


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_alpha_must_be_positive(name, alpha):
    with pytest.raises(ValueError, match=f"alpha must be greater than 0, got {alpha}"):
        MIXES[name](*noise(4), COUNTS, generator(), alpha=alpha)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (functools.partial(mixing.cutmix, p=1.2), "p must be between 0 and 1, got 1.2"),
        (functools.partial(mixing.cmo, power=-1.0), "power of mix cmo must be at least 0, got -1"),
        (functools.partial(mixing.remix, kappa=0.5), "kappa must be at least 1, got 0.5"),
        (
            functools.partial(mixing.remix, tau=math.nan),
            "tau must be between 0 and 1, got nan",
        ),
    ],
)
def test_values_out_of_range_are_refused_with_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call(*noise(4), COUNTS, generator())


@pytest.mark.parametrize("mix", [mixing.mixup, mixing.remix])
def test_features_are_mixed_as_the_images_of_one_pixel_are(mix):
    images, targets = noise(40, size=1)
    on_images = mix(images, targets, COUNTS, generator())
    on_features = mix(images.flatten(1), targets, COUNTS, generator())
    assert torch.equal(on_features.images, on_images.images.flatten(1))
    assert torch.equal(on_features.lam, on_images.lam)
