import functools
import math
import time

import numpy as np
import pytest
import torch
from scipy import stats

from imbalance_study.config import choices, spec
from imbalance_study.data import samplers

SAMPLERS = spec.functions(choices.SAMPLERS)

TAIL = [int(5000 * 100 ** (-c / 9)) for c in range(10)]  # CIFAR-10 at imbalance ratio 100
ERRORS = torch.tensor([0.05, 0.1, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6, 0.7])
WITH_REPLACEMENT = ["class_balanced", "power", "progressive", "error_driven"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def targets_of(counts, seed=0):
    ordered = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return ordered[torch.randperm(len(ordered), generator=generator(seed))]


def sampler_named(name, progress=0.3, class_errors=ERRORS):
    function = SAMPLERS[name]
    reserved = {"progress": progress, "class_errors": class_errors}
    return functools.partial(
        function, **{key: value for key, value in reserved.items() if spec.takes(function, key)}
    )


def normalised(values):
    values = np.asarray(values, dtype=float)
    return values / values.sum()


def p_value(sampler, counts, probs, epochs=20):
    """Of the chi-square test of the class histogram of `epochs` epochs against `probs`."""
    targets, shared = targets_of(counts), generator(1)
    drawn = torch.cat([targets[sampler(targets, shared)] for _ in range(epochs)])
    observed = torch.bincount(drawn, minlength=len(counts)).numpy()
    return stats.chisquare(observed, probs * observed.sum()).pvalue


n = np.array(TAIL)
uniform = np.full(10, 0.1)
EXPECTED = [
    ("class_balanced", {}, uniform),
    ("power", {}, normalised(np.sqrt(n))),
    ("power", {"q": 1.0}, normalised(n)),
    ("power", {"q": 0.0}, uniform),
    ("power", {"q": -1.0}, normalised(1 / n)),
    ("progressive", {"progress": 0.0}, normalised(n)),
    ("progressive", {"progress": 0.25}, 0.75 * normalised(n) + 0.25 * uniform),
    ("progressive", {"progress": 1.0}, uniform),
    ("error_driven", {"class_errors": None}, uniform),
    ("error_driven", {"class_errors": ERRORS}, 0.8 * normalised(ERRORS) + 0.2 * uniform),
    ("error_driven", {"class_errors": ERRORS, "floor": 0.0}, normalised(ERRORS)),
]


@pytest.mark.parametrize(("name", "settings", "probs"), EXPECTED)
def test_the_class_histogram_of_a_long_epoch_is_the_expected_one(name, settings, probs):
    assert p_value(functools.partial(SAMPLERS[name], **settings), TAIL, probs) > 1e-3


def test_the_histogram_test_would_notice_an_exponent_of_0_47_instead_of_0_5():
    wrong = functools.partial(samplers.power, q=0.47)
    assert p_value(wrong, TAIL, normalised(np.sqrt(n))) < 1e-3


@pytest.mark.parametrize("name", WITH_REPLACEMENT)
def test_the_members_of_a_class_are_drawn_equally_often(name):
    targets, shared = targets_of([60, 20, 5]), generator(2)
    sampler = sampler_named(name, class_errors=torch.tensor([0.2, 0.3, 0.5]))
    drawn = torch.cat([sampler(targets, shared) for _ in range(2000)])
    times = torch.bincount(drawn, minlength=len(targets))
    for c in range(3):
        assert stats.chisquare(times[targets == c].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("name", WITH_REPLACEMENT)
def test_successive_draws_are_independent(name):
    targets, shared = targets_of([50, 50]), generator(3)
    sampler = sampler_named(name, class_errors=torch.tensor([0.5, 0.5]))
    drawn = torch.cat([targets[sampler(targets, shared)] for _ in range(200)])
    pairs = torch.bincount(drawn[:-1:2] * 2 + drawn[1::2], minlength=4)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-3


def test_shuffle_shows_every_image_once():
    targets = targets_of(TAIL)
    indices = samplers.shuffle(targets, generator())
    assert torch.equal(indices.sort().values, torch.arange(12406))
    assert not torch.equal(indices, torch.arange(12406))


@pytest.mark.parametrize(
    ("name", "length"),
    [("shuffle", 12406), ("class_balanced", 12406), ("random_over", 50000), ("random_under", 500)],
)
def test_the_epochs_of_the_cifar_tail_have_their_published_lengths(name, length):
    assert len(sampler_named(name)(targets_of(TAIL), generator())) == length


def test_random_over_and_random_under_have_the_class_histograms_of_imbalanced_learn():
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    for counts in ([40, 7, 1, 23], [5, 5, 5], [3, 0, 9]):
        targets = targets_of(counts)
        for ours, theirs in (
            (samplers.random_over, RandomOverSampler),
            (samplers.random_under, RandomUnderSampler),
        ):
            rows = np.arange(len(targets))[:, None]
            _, labels = theirs(random_state=0).fit_resample(rows, targets.numpy())
            drawn = targets[ours(targets, generator())]
            assert torch.bincount(drawn).tolist() == np.bincount(labels).tolist()


def test_random_over_keeps_every_image_and_repeats_small_classes_uniformly():
    targets, shared = targets_of([60, 20, 5]), generator(4)
    epochs = [samplers.random_over(targets, shared) for _ in range(1000)]
    assert all(torch.bincount(epoch, minlength=85).min() == 1 for epoch in epochs)
    times = torch.bincount(torch.cat(epochs), minlength=85)
    assert (times[targets == 0] == 1000).all()
    for c in (1, 2):
        assert stats.chisquare((times[targets == c] - 1000).numpy()).pvalue > 1e-3


def test_random_under_repeats_no_image_and_reaches_all_of_them_over_the_epochs():
    targets, shared = targets_of([60, 20, 5]), generator(5)
    epochs = [samplers.random_under(targets, shared) for _ in range(1000)]
    assert all(len(epoch.unique()) == 15 for epoch in epochs)
    times = torch.bincount(torch.cat(epochs), minlength=85)
    for c, count in enumerate((60, 20, 5)):
        # Without replacement the counts vary less than a chi-square test supposes.
        assert stats.chisquare(times[targets == c].numpy()).statistic <= stats.chi2.ppf(
            0.999, max(count - 1, 1)
        )
    assert (times > 0).all()


@pytest.mark.parametrize("name", ["shuffle", "random_over", "random_under"])
def test_the_first_half_of_an_epoch_has_its_share_of_every_class(name):
    targets, shared = targets_of([300, 100, 50]), generator(6)
    first = torch.zeros(3)
    whole = torch.zeros(3)
    for _ in range(200):
        drawn = targets[SAMPLERS[name](targets, shared)]
        whole += torch.bincount(drawn, minlength=3)
        first += torch.bincount(drawn[: len(drawn) // 2], minlength=3)
    assert stats.chisquare(first.numpy(), (whole / whole.sum() * first.sum()).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("name", SAMPLERS)
def test_epochs_differ_and_a_seed_repeats_them(name):
    targets, shared = targets_of([30, 10, 4] + [4] * 7), generator(7)
    sampler = sampler_named(name)
    first, second = sampler(targets, shared), sampler(targets, shared)
    assert first.dtype == torch.int64
    assert not torch.equal(first, second)
    assert torch.equal(first, sampler(targets, generator(7)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_class_without_images_is_left_out_and_one_image_is_enough(name):
    targets = torch.tensor([2, 0, 2, 4])
    indices = sampler_named(name, class_errors=torch.full((6,), 0.5))(targets, generator())
    assert set(indices.tolist()) <= {0, 1, 2, 3}
    single = sampler_named(name, class_errors=torch.tensor([0.5]))
    assert single(torch.tensor([0]), generator()).tolist() == [0]


def test_a_class_without_errors_keeps_its_part_of_the_floor():
    errors = torch.tensor([0.0, 0.4])
    driven = functools.partial(samplers.error_driven, class_errors=errors, floor=0.3)
    assert p_value(driven, [400, 100], np.array([0.15, 0.85])) > 1e-3


def test_a_class_without_validation_images_counts_with_the_mean_error():
    errors = torch.tensor([0.1, math.nan, 0.5])
    driven = functools.partial(samplers.error_driven, class_errors=errors, floor=0.0)
    assert p_value(driven, [300, 100, 50], normalised([0.1, 0.3, 0.5])) > 1e-3


@pytest.mark.parametrize("errors", [torch.zeros(3), torch.full((3,), math.nan)])
def test_without_any_known_error_the_epoch_is_class_balanced(errors):
    driven = functools.partial(samplers.error_driven, class_errors=errors)
    assert p_value(driven, [300, 100, 50], np.full(3, 1 / 3)) > 1e-3


@pytest.mark.threads(1)  # whose time counts, whatever holds it up
@pytest.mark.parametrize("name", SAMPLERS)
def test_an_index_costs_less_than_a_microsecond(name):
    for targets, class_errors in (
        (targets_of(TAIL), ERRORS),
        (torch.randint(1000, (200_000,), generator=generator()), torch.rand(1000)),
    ):
        sampler, shared = sampler_named(name, class_errors=class_errors), generator()
        seconds = []
        for _ in range(10):
            start = time.thread_time()
            indices = sampler(targets, shared)
            seconds.append(time.thread_time() - start)
        assert min(seconds) / len(indices) < 1e-6


@pytest.mark.slow
def test_more_images_than_multinomial_can_draw_from():
    size = 2**24 + 100
    targets = torch.zeros(size, dtype=torch.int64)
    targets[-50:] = 1
    indices = samplers.class_balanced(targets, generator())
    share = (indices >= size - 50).double().mean().item()
    assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (functools.partial(samplers.power, q=1.5), "q must be between -1 .* got 1.5"),
        (functools.partial(samplers.progressive, progress=1.2), "progress .* got 1.2"),
        (
            functools.partial(samplers.error_driven, class_errors=None, floor=-0.1),
            "floor must be between 0 and 1, got -0.1",
        ),
        (
            functools.partial(samplers.error_driven, class_errors=torch.tensor([0.5])),
            "class_errors must have an entry for each of the 2 classes, got 1",
        ),
    ],
)
def test_values_out_of_range_are_refused_with_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.tensor([0, 1, 1]), generator())


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "shuffle"])
def test_no_images_at_all_are_refused(name):
    with pytest.raises(ValueError, match="at least one training image"):
        sampler_named(name)(torch.empty(0, dtype=torch.int64), generator())
