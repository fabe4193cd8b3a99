import time

import numpy as np
import pytest
from scipy import stats

from imbalance_study.evaluation import intervals, metrics


def some_predictions(size, num_classes, seed=0, strength=1.5):
    generator = np.random.default_rng(seed)
    targets = generator.integers(num_classes, size=size)
    logits = generator.normal(size=(size, num_classes))
    logits[np.arange(size), targets] += strength
    probs = np.exp(logits)
    return targets, probs / probs.sum(1, keepdims=True)


def of(targets, probs, **more):
    counts = np.arange(probs.shape[1])[::-1] + 1
    return intervals.metric_intervals(targets, probs, counts, np.random.default_rng(0), **more)


def test_jeffreys_interval_is_that_of_the_beta_distribution():
    low, high = intervals.jeffreys(np.array([0, 3, 7]), np.array([5, 5, 7]))
    assert low == pytest.approx(
        [0, stats.beta.ppf(0.025, 3.5, 2.5), stats.beta.ppf(0.025, 7.5, 0.5)]
    )
    assert high == pytest.approx(
        [stats.beta.ppf(0.975, 0.5, 5.5), stats.beta.ppf(0.975, 3.5, 2.5), 1]
    )


def test_the_interval_of_one_proportion_has_nearly_its_own_number_of_images():
    confusion = np.array([[700, 300], [300, 700]])
    found = intervals.count_intervals(confusion, np.array([2, 1]), np.random.default_rng(0), 20_000)
    low, high = intervals.jeffreys(1400, 2000)
    assert found["accuracy"].low == pytest.approx(low, abs=5e-4)
    assert found["accuracy"].high == pytest.approx(high, abs=5e-4)


def test_every_interval_holds_its_metric_and_stays_between_0_and_1():
    targets, probs = some_predictions(2_000, 40, strength=1.0)
    found = of(targets, probs)
    values = metrics.classification_metrics(targets, probs, np.arange(40)[::-1] + 1, 0.0)
    assert set(found) == set(values) - {"loss", "top5_accuracy"}
    for name, (low, high) in found.items():
        assert 0 <= low <= values[name] <= high <= 1, name


@pytest.mark.parametrize("sizes", [(30, 10, 3), (2, 2), (1, 1, 1), (1000, 2)])
def test_a_perfect_result_has_an_interval_that_says_how_few_images_it_rests_on(sizes):
    targets = np.repeat(np.arange(len(sizes)), sizes)
    found = of(targets, np.eye(len(sizes))[targets])
    for name, (low, high) in found.items():
        if name == "medium_recall" and len(sizes) == 2:
            continue
        assert high == 1, name
        assert 0 < low < 1, name
    smallest = stats.beta.ppf(0.025, min(sizes) + 0.5, 0.5)
    assert found["worst_recall"].low == pytest.approx(smallest)


def test_a_model_that_gives_all_images_one_class_has_intervals_of_some_width():
    targets = np.repeat([0, 1, 2], [24, 8, 3])
    found = of(targets, np.tile([0.6, 0.3, 0.1], (35, 1)))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "head_recall", "tail_recall"):
        low, high = found[name]
        assert high - low > 0.05, name


def test_the_interval_widens_with_fewer_images_of_the_rarest_class():
    widths = []
    for rare in (200, 20, 2):
        targets = np.repeat([0, 1], [200, rare])
        low, high = of(targets, np.eye(2)[targets])["balanced_accuracy"]
        widths.append(high - low)
    assert widths[0] < widths[1] / 2 < widths[2] / 4


@pytest.mark.parametrize(
    ("sizes", "recall"),
    [((100, 60, 30, 15, 8, 4), 0.95), ((100, 30, 10, 2), 0.9), ((50, 5), 0.95)],
    ids=str,
)
def test_intervals_cover_the_truth_about_as_often_as_they_say(sizes, recall):
    generator = np.random.default_rng(0)
    classes = len(sizes)
    rows = np.full((classes, classes), (1 - recall) / (classes - 1))
    np.fill_diagonal(rows, recall)
    counts = np.arange(classes)[::-1] + 1
    truth = metrics.count_metrics(rows * np.array(sizes)[:, None] * 1e6, counts)
    hits = {"balanced_accuracy": 0, "macro_f1": 0, "accuracy": 0}
    for _ in range(300):
        drawn = np.stack(
            [generator.multinomial(n, row) for n, row in zip(sizes, rows, strict=True)]
        )
        found = intervals.count_intervals(drawn, counts, generator, resamples=100)
        for name in hits:
            hits[name] += found[name].low <= truth[name] <= found[name].high
    for name, count in hits.items():
        assert count / 300 > 0.9, name


def test_equally_hard_classes_do_not_pull_the_interval_of_the_worst_below_the_truth():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        right = generator.binomial(1000, 0.7, 10)
        confusion = np.diag(right)
        confusion[np.arange(10), (np.arange(10) + 1) % 10] = 1000 - right
        low, high = intervals.worst_recall_interval(confusion)
        covered += low <= 0.7 <= high
    assert covered >= 186


def test_the_same_generator_state_gives_the_same_intervals():
    targets, probs = some_predictions(200, 3)
    assert of(targets, probs) == of(targets, probs)


def test_metrics_that_are_undefined_have_undefined_intervals():
    found = of(np.zeros(9, int), np.eye(2)[np.zeros(9, int)])
    assert np.isnan(found["roc_auc_macro"]).all()
    assert np.isnan(found["medium_recall"]).all()
    assert found["accuracy"].high == 1
    assert found["accuracy"].low < 0.9


def test_areas_of_separated_classes_have_an_interval_of_some_width():
    targets = np.repeat([0, 1], [50, 5])
    low, high = of(targets, np.eye(2)[targets])["roc_auc_macro"]
    assert high == 1
    assert 0.7 < low < 0.97


def test_ten_thousand_predictions_take_less_than_two_seconds():
    targets, probs = some_predictions(10_000, 10)
    start = time.process_time()
    of(targets, probs)
    assert time.process_time() - start < 2


def test_a_confidence_of_95_percent_written_as_95_is_refused():
    targets, probs = some_predictions(10, 2)
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        of(targets, probs, confidence=95)


def test_classes_with_fewer_than_twenty_test_images_are_named_the_fewest_first():
    said = intervals.few_images(np.array([40, 19, 3, 20]), ["a", "b", "c", "d"])
    assert said.startswith("fewer than 20 test images: c 3, b 19; ")
    assert intervals.few_images(np.array([20, 50]), ["a", "b"]) == ""
    assert "rust" not in intervals.few_images(np.array([40, 0, 3]), ["a", "rust", "c"])
    many = intervals.few_images(np.full(7, 5), list("abcdefg"))
    assert "a 5, b 5, c 5 and 4 more classes" in many
