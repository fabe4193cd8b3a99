"""Long-tailed experiments from a set of images: class counts, subset, validation, test.

The order of the cuts is fixed: test images (where the set has none of its own), a balanced
validation, the long tail, a stratified validation. Each cut draws with a generator of its own from
`data_seed`, so that all remedies meet on the same images, and the images at ratio 100 are among
those at ratio 10.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from imbalance_study.config import choices, spec
from imbalance_study.config.choice import SUPPLIED, Registry
from imbalance_study.data import published_subset
from imbalance_study.data.image_set import ImageSet, Split
from imbalance_study.data.subsets import cut

_LOG = logging.getLogger(__name__)

ClassOrder = Literal["label", "size", "random"]
Choice = str | Callable[..., np.ndarray]


def no_imbalance(available: np.ndarray) -> np.ndarray:
    """Keep all images."""
    return available.copy()


def exponential(available: np.ndarray, *, ratio: float = 100.0) -> np.ndarray:
    """Let the counts fall geometrically, to `ratio` times fewer in the last class.

    ``n_c = min(available_c, int(n_max * ratio ** (-c / (C - 1))))`` with ``n_max`` the most images
    of one class (Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", 2019,
    section 5.1; the published CIFAR counts).

    Args:
        available: Images of each class, the frequent class first, (C,).
        ratio: The first class's share over the last one's.

    Raises:
        ValueError: The ratio is below 1, or leaves a class without an image.
    """
    _check_ratio(ratio, available)
    rank = np.arange(len(available)) / max(1, len(available) - 1)
    counts = _whole(available.max() * float(ratio) ** -rank)
    return counts.clip(max=available)


def published(available: np.ndarray, *, ratio: float = 100.0) -> np.ndarray:
    """Take the counts of `exponential`, and the very images that published code trains on.

    Cao et al.'s LDAM-DRW, MiSLAS and others seed NumPy's generator with 0 and shuffle the images of
    each class in turn, in the order of the CIFAR archive. `make_split` does the same, bit by bit,
    whatever `data_seed` says.

    Args:
        available: Images of each class, (C,).
        ratio: The first class's share over the last one's.

    Raises:
        ValueError: As for `exponential`.
    """
    return exponential(available, ratio=ratio)


def step(available: np.ndarray, *, ratio: float = 100.0, fraction: float = 0.5) -> np.ndarray:
    """Make the last `fraction` of the classes `ratio` times smaller than the others.

    Frequent classes keep all their images, rare ones ``int(n_max / ratio)`` (Buda et al., "A
    systematic study of the class imbalance problem in convolutional neural networks", 2018,
    section 2.1). At least one class is rare and one frequent.

    Args:
        available: Images of each class, the frequent classes first, (C,).
        ratio: A frequent class's share over a rare one's.
        fraction: Share of the classes that are rare.

    Raises:
        ValueError: The ratio is below 1 or leaves a class without an image, or the fraction is not
            between 0 and 1.
    """
    _check_ratio(ratio, available)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction of imbalance step must be between 0 and 1, got {fraction}")
    num_classes = len(available)
    rare = min(max(1, math.floor(fraction * num_classes + 0.5)), num_classes - 1)
    counts = available.copy()
    few = _whole(np.full(rare, available.max() / ratio))
    counts[num_classes - rare :] = np.minimum(available[num_classes - rare :], few)
    return counts


def explicit(available: np.ndarray, *, counts: str, class_names: Sequence[str] = ()) -> np.ndarray:
    """Take the given counts, one a class with slashes between: 4900/4900/2450.

    Args:
        available: Images of each class, (C,).
        counts: As many numbers, in the same order.
        class_names: Names in the same order, for messages.

    Raises:
        ValueError: Not whole numbers, not as many as classes, or one that is below 1 or above the
            images of its class.
    """
    try:
        given = np.array([int(piece) for piece in counts.split("/")], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(
            f"counts of imbalance explicit must be whole numbers with / between, got {counts!r}"
        ) from None
    if len(given) != len(available):
        raise ValueError(
            f"counts of imbalance explicit must be {len(available)}, one a class, got {len(given)}"
        )
    names = class_names or [str(position) for position in range(len(given))]
    for position in np.flatnonzero((given < 1) | (given > available)).tolist():
        raise ValueError(
            f"counts of imbalance explicit must be between 1 and the {available[position]} images "
            f"that class {names[int(position)]} has for training, got {given[position]}"
        )
    return given


def _check_ratio(ratio: float, available: np.ndarray) -> None:
    if not ratio >= 1:
        raise ValueError(f"imbalance_ratio must be at least 1, got {ratio:g}")
    most = int(available.max())
    if ratio > most:
        raise ValueError(
            f"imbalance_ratio must be at most {most}, the images of the largest class, or a class "
            f"is left without an image; got {ratio:g}"
        )


def _whole(counts: np.ndarray) -> np.ndarray:
    """Round down, but not a whole number that rounding errors left a hair below itself."""
    return np.floor(counts * (1 + 1e-9)).astype(np.int64)


def no_validation(class_counts: np.ndarray, before_tail: bool) -> np.ndarray:
    """Take no validation images, as in the papers."""
    return np.zeros_like(class_counts)


def stratified(class_counts: np.ndarray, before_tail: bool, *, fraction: float = 0.1) -> np.ndarray:
    """Take the same share of each class of the long-tailed training set.

    ``round(fraction * n_c)`` images, at least one, but none of a class with a single image.

    Raises:
        ValueError: The fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(
            f"fraction of validation stratified must be between 0 and 1, got {fraction}"
        )
    if before_tail:
        return np.zeros_like(class_counts)
    return _share(class_counts, fraction)


def balanced(class_counts: np.ndarray, before_tail: bool, *, per_class: int = 50) -> np.ndarray:
    """Take the same number of images of each class, before the tail is cut.

    Raises:
        ValueError: The number is below 1, or a class would keep no training image.
    """
    if per_class < 1:
        raise ValueError(f"per_class of validation balanced must be at least 1, got {per_class}")
    if not before_tail:
        return np.zeros_like(class_counts)
    if class_counts.min() <= per_class:
        raise ValueError(
            f"per_class of validation balanced must be below {class_counts.min()}, the images of "
            f"the smallest class, got {per_class}; or choose validation=stratified:fraction=0.1"
        )
    return np.full_like(class_counts, per_class)


def _share(class_counts: np.ndarray, fraction: float) -> np.ndarray:
    wanted = np.maximum(1, np.floor(fraction * class_counts + 0.5).astype(np.int64))
    return wanted.clip(max=np.maximum(class_counts - 1, 0))


def make_split(
    image_set: ImageSet,
    *,
    imbalance: Choice = "none",
    validation: Choice = "stratified",
    class_order: ClassOrder = "label",
    test_fraction: float = 0.2,
    data_seed: int = 0,
) -> Split:
    """Cut test and validation images off and make the rest long-tailed.

    A set's own test images are used as they are; its own validation images too, in place of
    `validation` (unless that is none: then they are not used). A class's last training image is
    never taken. Images of one group are all on one side, so cuts of a set with
    groups are stratified only as nearly as whole groups allow, and a class in a single group is not
    cut at all.

    Args:
        image_set: Images with labels.
        imbalance: A spec string, or a function of `choices.IMBALANCES` with its options bound.
        validation: A spec string, or a function of `choices.VALIDATIONS` with its options bound.
        class_order: Which class is frequent: the first by label, the largest, or one drawn by
            `data_seed`. Counts of "explicit" are in this order.
        test_fraction: Share of each class that is cut for testing where the set has no test images.
        data_seed: Seed of all draws.

    Raises:
        ValueError: A class without a training image, a fraction outside (0, 1), a negative seed,
            or an option that the imbalance or the validation does not accept.
    """
    if data_seed < 0:
        raise ValueError(f"data_seed must be at least 0, got {data_seed}")
    tail = _bound(choices.IMBALANCES, imbalance, "imbalance", SUPPLIED["imbalance"])
    sizes = _bound(choices.VALIDATIONS, validation, "validation")
    pool, test = _cut_test(image_set, test_fraction, data_seed)
    pool, val, own = _cut_own_or_balanced(image_set, pool, sizes, data_seed)
    train = _long_tail(image_set, pool, tail, class_order, data_seed)
    if not own:
        wanted = sizes(_counts(image_set, train), False)
        cut_off, train = cut(image_set, train, wanted, _generator(data_seed, "stratified"))
        val = np.union1d(val, cut_off)
    return Split(train, val, test)


def _bound(
    registry: Registry, choice: Choice, kind: str, reserved: frozenset[str] = frozenset()
) -> Callable[..., np.ndarray]:
    return spec.bind(registry, choice, kind, reserved) if isinstance(choice, str) else choice


def _generator(data_seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """Return a generator for one purpose, independent of the others."""
    tag = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "little")
    return np.random.default_rng([data_seed, tag, number])


def _counts(image_set: ImageSet, indices: np.ndarray) -> np.ndarray:
    """Count the images of each class (C,)."""
    return np.bincount(image_set.labels[indices], minlength=len(image_set.class_names))


def _cut_test(
    image_set: ImageSet, test_fraction: float, data_seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images left for training, and the test images."""
    counts = _counts(image_set, image_set.train)
    for label in np.flatnonzero(counts == 0):
        raise ValueError(f"class {image_set.class_names[label]!r} has no training image")
    if len(image_set.test):
        return image_set.train, np.sort(image_set.test)
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must be between 0 and 1, got {test_fraction}")
    wanted = _share(counts, test_fraction)
    test, pool = cut(image_set, image_set.train, wanted, _generator(data_seed, "test"))
    if not len(test):
        raise ValueError(
            "no test image can be cut: each class has one image only, or all its images are of one "
            "group; add test images (a test folder, or split=test)"
        )
    return pool, test


def _cut_own_or_balanced(
    image_set: ImageSet, pool: np.ndarray, sizes: Callable[..., np.ndarray], data_seed: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return images left, validation images so far, and whether they are the set's own."""
    if len(image_set.val) and _function(sizes) is not no_validation:
        _LOG.info("%s has %d validation images of its own", image_set.name, len(image_set.val))
        return pool, np.sort(image_set.val), True
    wanted = sizes(_counts(image_set, pool), True)
    val, pool = cut(image_set, pool, wanted, _generator(data_seed, "balanced"))
    return pool, val, False


def _long_tail(
    image_set: ImageSet,
    pool: np.ndarray,
    imbalance: Callable[..., np.ndarray],
    class_order: str,
    data_seed: int,
) -> np.ndarray:
    """Keep the first n_c images of a permutation of each class of the pool."""
    available = _counts(image_set, pool)
    order = _ordered(available, class_order, data_seed)
    counts = np.empty_like(available)
    names = [image_set.class_names[label] for label in order]
    context = {"class_names": names} if spec.takes(imbalance, "class_names") else {}
    counts[order] = imbalance(available[order], **context)
    labels = image_set.labels[pool]
    of_each = [pool[labels == label] for label in range(len(counts))]
    if _function(imbalance) is published:
        published_subset.shuffle(of_each, image_set, class_order)
    else:
        of_each = [
            _generator(data_seed, "tail", label).permutation(rows)
            for label, rows in enumerate(of_each)
        ]
    return np.sort(
        np.concatenate([rows[:count] for rows, count in zip(of_each, counts, strict=True)])
    )


def _function(choice: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return choice.func if isinstance(choice, functools.partial) else choice


def _ordered(available: np.ndarray, class_order: str, data_seed: int) -> np.ndarray:
    """Return the classes (C,), the frequent one first."""
    if class_order == "label":
        return np.arange(len(available))
    if class_order == "size":
        return np.argsort(-available, kind="stable")
    if class_order == "random":
        return _generator(data_seed, "class order").permutation(len(available))
    raise ValueError(f"class_order must be one of label, size, random, got {class_order!r}")
