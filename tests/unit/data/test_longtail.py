import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from examples import at_most
from hypothesis import given, settings
from hypothesis import strategies as st
from made_image_sets import counts, image_set

from imbalance_study.config import choices, spec
from imbalance_study.data.image_set import ImageSet
from imbalance_study.data.longtail import (
    balanced,
    explicit,
    exponential,
    make_split,
    step,
    stratified,
)

VALIDATIONS = spec.functions(choices.VALIDATIONS)

IMBALANCES = spec.functions(choices.IMBALANCES)


@pytest.mark.parametrize(
    ("num_classes", "n_max", "ratio", "total"),
    [
        (10, 5000, 100, 12_406),
        (10, 5000, 50, 13_996),
        (10, 5000, 10, 20_431),
        (100, 500, 100, 10_847),
        (100, 500, 50, 12_608),
        (100, 500, 10, 19_573),
    ],
)
def test_exponential_counts_are_the_published_ones(
    num_classes: int, n_max: int, ratio: int, total: int
) -> None:
    found = exponential(np.full(num_classes, n_max), ratio=ratio)
    assert found.sum() == total
    assert found[0] == n_max
    assert found[-1] == n_max // ratio


def test_cifar10_at_ratio_100_has_the_published_counts() -> None:
    images = image_set([5000] * 10, test=1000)
    split = make_split(images, imbalance="exponential:ratio=100", validation="none")
    assert counts(images, split.train) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert len(split.val) == 0
    assert counts(images, split.test) == [1000] * 10


def _archive() -> ImageSet:
    """As many images a class as CIFAR-10 has, in an order of their own."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 5000))
    made = image_set([5000] * 10, test=1)
    labels = np.concatenate([labels, np.arange(10)])
    return dataclasses.replace(made, labels=labels, in_archive_order=True)


def _published_by_hand(labels: np.ndarray, sizes: list[int]) -> list[int]:
    """The lines of LDAM-DRW's imbalance_cifar.py that choose images, with the same generator."""
    generator = np.random.RandomState(0)  # that of np.random.seed(0)
    chosen: list[int] = []
    for label, size in enumerate(sizes):
        rows = np.where(labels == label)[0]
        generator.shuffle(rows)
        chosen.extend(rows[:size])
    return sorted(chosen)


@pytest.mark.parametrize("data_seed", [0, 7])
def test_the_published_subset_is_that_of_the_published_code_bit_by_bit(data_seed: int) -> None:
    images = _archive()
    split = make_split(
        images, imbalance="published:ratio=100", validation="none", data_seed=data_seed
    )
    sizes = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert split.train.tolist() == _published_by_hand(images.labels[:50_000], sizes)


def test_the_published_places_within_a_class_have_their_hash() -> None:
    """A shuffle moves places, whatever the labels: these hold for the archive of CIFAR-10 too."""
    images = _archive()
    split = make_split(images, imbalance="published:ratio=100", validation="none")
    places = [
        np.flatnonzero(np.isin(np.flatnonzero(images.labels[:50_000] == label), split.train))
        for label in range(10)
    ]
    assert [len(of) for of in places[-2:]] == [83, 50]
    found = hashlib.sha256(np.concatenate(places).astype("<i8").tobytes()).hexdigest()
    assert found[:16] == "0cade81afac40f05"


def test_the_published_subset_is_refused_where_it_cannot_be_had() -> None:
    folder = dataclasses.replace(_archive(), in_archive_order=False)
    with pytest.raises(ValueError, match="needs the order of the CIFAR archive"):
        make_split(folder, imbalance="published", validation="none")
    with pytest.raises(ValueError, match="take validation=none or stratified"):
        make_split(_archive(), imbalance="published", validation="balanced:per_class=50")
    with pytest.raises(ValueError, match="needs class_order=label, got size"):
        make_split(_archive(), imbalance="published", validation="none", class_order="size")


@pytest.mark.parametrize("ratio", [1, 2, 3, 5, 7, 10, 20, 25, 49, 50, 100, 123, 200, 250, 500])
@pytest.mark.parametrize("num_classes", [2, 3, 5, 10, 100])
def test_the_rarest_class_has_exactly_the_largest_over_the_ratio(
    ratio: int, num_classes: int
) -> None:
    found = exponential(np.full(num_classes, 3000 * ratio), ratio=ratio)
    assert found[-1] == 3000
    assert (np.diff(found) <= 0).all()


def test_a_class_never_gets_more_than_it_has() -> None:
    found = exponential(np.array([611, 842, 20, 586, 787]), ratio=10)
    assert found.tolist() == [611, 473, 20, 149, 84]


def test_step_counts_are_the_published_ones() -> None:
    assert step(np.full(10, 5000), ratio=100).tolist() == [5000] * 5 + [50] * 5
    assert step(np.full(10, 5000), ratio=3, fraction=0.2).tolist() == [5000] * 8 + [1666] * 2
    assert step(np.array([900, 800, 20, 700]), ratio=9).tolist() == [900, 800, 20, 100]
    assert step(np.full(3, 10), ratio=2, fraction=0.01).tolist() == [10, 10, 5]
    assert step(np.full(3, 10), ratio=2, fraction=0.99).tolist() == [10, 5, 5]


def test_explicit_counts_are_taken_as_given() -> None:
    images = image_set([50, 40, 30], test=1)
    split = make_split(images, imbalance="explicit:counts=50/1/20", validation="none")
    assert counts(images, split.train) == [50, 1, 20]


@pytest.mark.parametrize(
    ("given_counts", "message"),
    [
        ("50/40", "must be 3, one a class, got 2"),
        ("50/41/30", "between 1 and the 40 images that class 1 has for training, got 41"),
        ("50/0/30", "between 1 and the 40 images that class 1 has for training, got 0"),
        ("50/x/30", "must be whole numbers with / between, got '50/x/30'"),
        ("50/99999999999999999999/30", "must be whole numbers"),
    ],
)
def test_explicit_counts_that_cannot_be_are_refused(given_counts: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explicit(np.array([50, 40, 30]), counts=given_counts)


@pytest.mark.parametrize("function", [exponential, step])
def test_a_ratio_below_one_or_beyond_the_data_is_refused(
    function: Callable[..., np.ndarray],
) -> None:
    available = np.array([100, 200, 50])
    for ratio in (0.5, 0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"imbalance_ratio must be at least 1, got {ratio:g}"):
            function(available, ratio=ratio)
    with pytest.raises(ValueError, match=r"must be at most 200, .* got 200\.5"):
        function(available, ratio=200.5)
    assert function(available, ratio=200)[-1] == 1
    assert function(available, ratio=1).tolist() == [100, 200, 50]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_fractions_outside_nought_and_one_are_refused(fraction: float) -> None:
    images = image_set([10, 10])
    with pytest.raises(ValueError, match="fraction of imbalance step must be between 0 and 1"):
        step(np.array([5, 5]), ratio=2, fraction=fraction)
    with pytest.raises(ValueError, match="fraction of validation stratified must be between"):
        stratified(np.array([5, 5]), False, fraction=fraction)
    with pytest.raises(ValueError, match="test_fraction must be between 0 and 1"):
        make_split(images, test_fraction=fraction)


def test_stratified_validation_is_the_rounded_share_and_never_the_last_image() -> None:
    found = stratified(np.array([4500, 145, 14, 16, 5, 2, 1]), False)
    assert found.tolist() == [450, 15, 1, 2, 1, 1, 0]
    assert stratified(np.array([3, 2, 1]), False, fraction=0.99).tolist() == [2, 1, 0]


def test_stratified_validation_is_carved_out_of_the_tail() -> None:
    images = image_set([5000] * 10, test=1)
    split = make_split(images, imbalance="exponential:ratio=100", validation="stratified")
    assert counts(images, split.val) == [500, 300, 180, 108, 65, 39, 23, 14, 8, 5]
    assert counts(images, split.train) == [4500, 2697, 1616, 969, 580, 348, 209, 125, 75, 45]


def test_balanced_validation_is_cut_before_the_tail_is() -> None:
    images = image_set([5000] * 10, test=1)
    split = make_split(
        images, imbalance="exponential:ratio=100", validation="balanced:per_class=100"
    )
    assert counts(images, split.val) == [100] * 10
    assert counts(images, split.train) == exponential(np.full(10, 4900)).tolist()
    assert counts(images, split.train)[-1] == 49


def test_balanced_validation_that_takes_all_of_a_class_is_refused() -> None:
    images = image_set([60, 50], test=1)
    with pytest.raises(
        ValueError, match=r"per_class of validation balanced must be below 50, .* 50"
    ):
        make_split(images, validation="balanced:per_class=50")
    split = make_split(images, validation="balanced:per_class=49")
    assert counts(images, split.train) == [11, 1]
    with pytest.raises(ValueError, match="per_class of validation balanced must be at least 1"):
        balanced(np.array([5]), True, per_class=0)


def test_without_test_images_a_share_of_each_class_is_cut_first() -> None:
    images = image_set([100, 40, 2, 1])
    split = make_split(images, imbalance="exponential:ratio=10", validation="none")
    assert counts(images, split.test) == [20, 8, 1, 0]
    assert counts(images, split.train) == [80, 32, 1, 1]  # n_max is 80
    split = make_split(images, validation="none", test_fraction=0.3)
    assert counts(images, split.test) == [30, 12, 1, 0]


def test_a_set_that_cannot_give_a_test_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no test image can be cut"):
        make_split(image_set([1, 1]))


def test_own_validation_images_are_used_unless_none_are_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = image_set([20, 10], val=4, test=2)
    with caplog.at_level("INFO"):
        for validation in ("stratified", "balanced:per_class=50"):
            split = make_split(images, validation=validation)
            assert split.val.tolist() == images.val.tolist()
            assert counts(images, split.train) == [20, 10]
    assert "8 validation images of its own" in caplog.text
    split = make_split(images, validation="none")
    assert len(split.val) == 0
    assert counts(images, split.train) == [20, 10]


def test_a_class_without_training_images_is_named() -> None:
    with pytest.raises(ValueError, match="class 'class 1' has no training image"):
        make_split(image_set([5, 0, 5]))


def test_remedies_meet_on_the_same_images_and_seeds_differ() -> None:
    images = image_set([200] * 4, test=1)
    first, again, other = (
        make_split(images, imbalance="exponential:ratio=10", data_seed=seed) for seed in (3, 3, 4)
    )
    for name in ("train", "val"):
        assert (getattr(first, name) == getattr(again, name)).all()
        assert getattr(first, name).tolist() != getattr(other, name).tolist()


def test_images_at_a_high_ratio_are_among_those_at_a_low_one() -> None:
    images = image_set([500] * 5)
    for validation in ("none", "balanced:per_class=20"):
        few, many = (
            make_split(images, imbalance=f"exponential:ratio={ratio}", validation=validation)
            for ratio in (100, 10)
        )
        assert set(few.train) < set(many.train)
        assert few.test.tolist() == many.test.tolist()
        assert few.val.tolist() == many.val.tolist()


def test_the_subset_is_drawn_and_not_the_first_images() -> None:
    images = image_set([1000, 1000], test=1)
    split = make_split(images, imbalance="exponential:ratio=10", validation="none")
    drawn = split.train[images.labels[split.train] == 1] - 1000
    assert 400 < drawn.mean() < 600


def test_the_class_order_decides_which_class_is_frequent() -> None:
    images = image_set([100, 400, 200], test=1)

    def of(order: str, seed: int = 0) -> list[int]:
        split = make_split(
            images, imbalance="exponential:ratio=4", validation="none",
            class_order=order, data_seed=seed,  # type: ignore[arg-type]
        )  # fmt: skip
        return counts(images, split.train)

    assert of("label") == [100, 200, 100]
    assert of("size") == [100, 400, 200]
    drawn = {tuple(of("random", seed)) for seed in range(30)}
    assert drawn == {
        (100, 200, 100), (100, 100, 200), (100, 400, 100), (100, 400, 200), (100, 200, 200),
    }  # fmt: skip
    assert of("random", 7) == of("random", 7)
    with pytest.raises(ValueError, match="class_order must be one of label, size, random, got 'x'"):
        of("x")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="data_seed must be at least 0, got -1"):
        make_split(image_set([5, 5]), data_seed=-1)


def test_choices_may_come_as_functions() -> None:
    images = image_set([100, 100], test=1)
    split = make_split(images, imbalance=IMBALANCES["exponential"], validation=VALIDATIONS["none"])
    assert counts(images, split.train) == [100, 1]


LABELS = st.lists(st.integers(1, 40), min_size=2, max_size=7)
CHOICES = {
    "imbalance": st.sampled_from(["none", "exponential:ratio=5", "step:ratio=3,fraction=0.4"]),
    "validation": st.sampled_from(["none", "stratified:fraction=0.3", "balanced:per_class=2"]),
    "class_order": st.sampled_from(["label", "size", "random"]),
    "data_seed": st.integers(0, 2**40),
}


@settings(max_examples=at_most(150))
@given(sizes=LABELS, own_test=st.booleans(), choices=st.fixed_dictionaries(CHOICES), data=st.data())
def test_any_label_distribution_is_split_soundly_or_refused(
    sizes: list[int], own_test: bool, choices: dict[str, str], data: st.DataObject
) -> None:
    total = sum(sizes) + own_test * 3 * len(sizes)
    grouped = not own_test and data.draw(st.booleans())
    groups = data.draw(st.lists(st.integers(0, 9), min_size=total, max_size=total)) * grouped
    images = image_set(sizes, test=3 * own_test, groups=groups)
    try:
        split = make_split(images, **choices)  # type: ignore[arg-type]
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "must be at most" in refused or "must be below" in refused or "no test" in refused
        assert grouped or min(sizes) < 8 or max(sizes) < 20
        return
    used = np.concatenate(split)
    assert len(set(used.tolist())) == len(used)
    assert all((np.diff(part) > 0).all() for part in split)
    assert min(counts(images, split.train)) >= 1
    assert set(split.test) == set(images.test) or not own_test
    if grouped:
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert not set(images.groups[split[one]]) & set(images.groups[split[other]])
        return
    if choices["validation"].startswith("balanced"):
        assert counts(images, split.val) == [2] * len(sizes)
    elif choices["validation"].startswith("stratified"):
        for train, val in zip(counts(images, split.train), counts(images, split.val), strict=True):
            assert val == min(max(1, int(0.3 * (train + val) + 0.5)), train + val - 1)
    else:
        assert len(split.val) == 0
