import warnings

import numpy as np
import pytest
from examples import at_most
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn import metrics as reference

from imbalance_study.evaluation import metrics

SOME = settings(max_examples=at_most(60))


@st.composite
def predictions_of_any_kind(draw):
    """Targets and probabilities: random, with ties, classes absent or never predicted."""
    num_classes = draw(st.integers(2, 8))
    size = draw(st.integers(1, 60))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = generator.permutation(num_classes)[: draw(st.integers(1, num_classes))]
    targets = generator.choice(present, size=size)
    probs = generator.dirichlet(np.full(num_classes, 0.5), size=size)
    kind = draw(st.sampled_from(["random", "rounded", "constant", "one-hot", "never", "right"]))
    if kind == "rounded":
        probs = np.round(probs, 1)
    elif kind == "constant":
        probs[:] = probs[0]
    elif kind == "one-hot":
        probs = np.eye(num_classes)[probs.argmax(1)]
    elif kind == "never":
        probs[:, generator.integers(num_classes)] = 0
    elif kind == "right":
        probs = np.eye(num_classes)[targets]
    counts = generator.integers(1, 1_000, size=num_classes)
    return targets, probs, counts


@given(predictions_of_any_kind())
@SOME
def test_the_metrics_of_counts_are_those_of_scikit_learn_and_imbalanced_learn(case):
    targets, probs, counts = case
    predictions = probs.argmax(1)
    ours = metrics.classification_metrics(targets, probs, counts, loss=0.25)
    present = np.unique(targets)
    every = list(range(probs.shape[1]))
    theirs = {
        "accuracy": reference.accuracy_score(targets, predictions),
        "micro_f1": reference.f1_score(targets, predictions, labels=every, average="micro"),
        "loss": 0.25,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs["balanced_accuracy"] = reference.balanced_accuracy_score(targets, predictions)
        for average, labels in (("macro", present), ("weighted", every)):
            for name, score in (
                ("precision", reference.precision_score),
                ("recall", reference.recall_score),
                ("f1", reference.f1_score),
            ):
                theirs[f"{average}_{name}"] = score(
                    targets, predictions, labels=labels, average=average, zero_division=0
                )
        for name, correction in (("g_mean", 0.0), ("g_mean_corrected", 0.001)):
            theirs[name] = geometric_mean_score(
                targets, predictions, labels=present, correction=correction
            )
        recall = reference.recall_score(
            targets, predictions, labels=present, average=None, zero_division=0
        )
    theirs["worst_recall"] = recall.min()
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-12)


@given(predictions_of_any_kind())
@SOME
def test_the_areas_are_those_of_scikit_learn_over_the_classes_with_both_sides(case):
    targets, probs, counts = case
    ours = metrics.classification_metrics(targets, probs, counts, loss=0.0)
    sides = [targets == label for label in range(probs.shape[1])]
    labels = [label for label, side in enumerate(sides) if side.any() and not side.all()]
    if not labels:
        assert all(np.isnan(ours[name]) for name in metrics.AUC_NAMES)
        return
    roc = [reference.roc_auc_score(sides[label], probs[:, label]) for label in labels]
    pr = [reference.average_precision_score(sides[label], probs[:, label]) for label in labels]
    positives = [sides[label].sum() for label in labels]
    assert ours["roc_auc_macro"] == pytest.approx(np.mean(roc), abs=1e-12)
    assert ours["roc_auc_weighted"] == pytest.approx(np.average(roc, weights=positives), abs=1e-12)
    assert ours["pr_auc_macro"] == pytest.approx(np.mean(pr), abs=1e-12)


def test_with_every_class_present_the_areas_are_the_one_against_rest_averages():
    generator = np.random.default_rng(1)
    probs = generator.dirichlet(np.ones(7), size=400)
    targets = generator.integers(7, size=400)
    ours = metrics.classification_metrics(targets, probs, np.ones(7, int), loss=0.0)
    for average in ("macro", "weighted"):
        theirs = reference.roc_auc_score(targets, probs, multi_class="ovr", average=average)
        assert ours[f"roc_auc_{average}"] == pytest.approx(theirs, abs=1e-12)


@given(predictions_of_any_kind())
@SOME
def test_top5_accuracy_is_that_of_scikit_learn_and_there_only_above_five_classes(case):
    targets, probs, counts = case
    ours = metrics.classification_metrics(targets, probs, counts, loss=0.0)
    num_classes = probs.shape[1]
    if num_classes <= 5:
        assert "top5_accuracy" not in ours
    else:
        theirs = reference.top_k_accuracy_score(targets, probs, k=5, labels=range(num_classes))
        assert ours["top5_accuracy"] == pytest.approx(theirs)


@given(predictions_of_any_kind())
@SOME
def test_the_confusion_matrix_and_the_quick_metrics_agree_with_the_full_ones(case):
    targets, probs, counts = case
    predictions, num_classes = probs.argmax(1), probs.shape[1]
    confusion = metrics.confusion_matrix(targets, predictions, num_classes)
    theirs = reference.confusion_matrix(targets, predictions, labels=range(num_classes))
    np.testing.assert_array_equal(confusion, theirs)
    full = metrics.classification_metrics(targets, probs, counts, loss=0.0)
    quick = metrics.quick_metrics(targets, predictions, num_classes)
    assert list(quick) == ["accuracy", "balanced_accuracy", "macro_f1"]
    assert quick == pytest.approx({name: full[name] for name in quick}, abs=1e-12)


def test_the_names_are_exactly_those_of_the_study():
    probs = np.eye(6)
    names = set(metrics.classification_metrics(np.arange(6), probs, np.ones(6, int), loss=0.0))
    expected = """
        accuracy top5_accuracy balanced_accuracy macro_f1 micro_f1 weighted_f1
        macro_precision macro_recall weighted_precision weighted_recall
        roc_auc_macro roc_auc_weighted pr_auc_macro g_mean g_mean_corrected
        loss worst_recall head_recall medium_recall tail_recall
    """
    assert names == set(expected.split())


def test_a_class_that_is_never_predicted_has_precision_zero():
    scores = metrics.class_scores(np.array([[2, 0], [3, 0]]))
    assert scores.precision.tolist() == [0.4, 0.0]
    assert scores.recall.tolist() == [1.0, 0.0]


def test_a_class_without_test_images_has_no_recall_and_is_left_out_of_every_mean():
    confusion = np.array([[3, 0, 1], [0, 0, 0], [0, 2, 2]])
    scores = metrics.class_scores(confusion)
    np.testing.assert_array_equal(scores.recall, [0.75, np.nan, 0.5])
    found = metrics.count_metrics(confusion, np.array([5, 4, 3]))
    assert found["macro_recall"] == pytest.approx((0.75 + 0.5) / 2)
    assert found["macro_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["worst_recall"] == 0.5
    assert found["g_mean"] == pytest.approx((0.75 * 0.5) ** 0.5)
    assert np.isnan(found["medium_recall"])


def test_one_dead_class_makes_the_g_mean_zero_but_not_the_corrected_one():
    found = metrics.count_metrics(np.array([[4, 0], [4, 0]]), np.array([8, 2]))
    assert found["g_mean"] == 0
    assert found["g_mean_corrected"] == pytest.approx(0.001**0.5)


@pytest.mark.parametrize(
    ("num_classes", "sizes"),
    [(2, (1, 0, 1)), (3, (1, 1, 1)), (5, (2, 1, 2)), (10, (3, 4, 3)), (100, (33, 34, 33))],
)
def test_head_and_tail_are_equal_thirds_of_the_classes(num_classes, sizes):
    counts = np.random.default_rng(0).permutation(num_classes)
    thirds = metrics.frequency_thirds(counts)
    assert tuple(map(len, thirds)) == sizes
    ranked = counts[np.concatenate(thirds)]
    np.testing.assert_array_equal(ranked, np.sort(counts)[::-1])


def test_head_medium_and_tail_recall_follow_the_training_counts_not_the_labels():
    confusion = np.diag([1, 2, 3, 4]) + 4 * np.eye(4, k=1, dtype=int)
    confusion[3, 0] = 6
    found = metrics.count_metrics(confusion, np.array([10, 1_000, 50, 40]))
    assert found["head_recall"] == pytest.approx(2 / 6)
    assert found["medium_recall"] == pytest.approx((3 / 7 + 4 / 10) / 2)
    assert found["tail_recall"] == pytest.approx(1 / 5)


def test_a_stack_of_confusion_matrices_gives_the_metrics_of_each():
    matrices = np.random.default_rng(0).integers(0, 9, size=(3, 5, 4, 4))
    matrices[0, 0, 2] = 0
    counts = np.array([9, 7, 5, 3])
    stacked = metrics.count_metrics(matrices, counts)
    for index in np.ndindex(3, 5):
        single = metrics.count_metrics(matrices[index], counts)
        each = {name: values[index] for name, values in stacked.items()}
        assert single == pytest.approx(each, nan_ok=True)


def test_probabilities_that_are_not_finite_give_no_area_and_no_crash():
    probs = np.full((4, 3), np.nan)
    found = metrics.classification_metrics(np.array([0, 1, 2, 0]), probs, np.ones(3, int), np.nan)
    assert np.isnan(found["roc_auc_macro"])
    assert found["accuracy"] == 0.5


def test_the_table_of_classes_counts_the_errors_of_each_class():
    table = metrics.per_class_table(np.array([[8, 2], [1, 0]]), ["cat", "dog"], np.array([90, 9]))
    columns = "class train_count test_count errors precision recall f1"
    assert list(table) == columns.split()
    assert table["class"] == ["cat", "dog"]
    assert table["test_count"] == [10, 1]
    assert table["errors"] == [2, 1]
    assert table["precision"] == pytest.approx([8 / 9, 0])
    assert table["f1"] == pytest.approx([16 / 19, 0])


def test_a_prefix_goes_before_each_name():
    assert metrics.prefixed({"accuracy": 0.5}, "test") == {"test/accuracy": 0.5}


@pytest.mark.parametrize(
    ("targets", "predictions", "message"),
    [
        ([0, 3], [0, 0], r"targets must be within 0\.\.2, got 0\.\.3"),
        ([0, 1], [0, -1], r"predictions must be within 0\.\.2, got -1\.\.0"),
        ([0, 1], [0], r"one length, got shapes \(2,\) and \(1,\)"),
    ],
)
def test_labels_that_no_class_has_are_refused(targets, predictions, message):
    with pytest.raises(ValueError, match=message):
        metrics.confusion_matrix(np.array(targets), np.array(predictions), 3)


def test_training_counts_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="one entry per column of probs, 3, got 2"):
        metrics.classification_metrics(np.array([0]), np.ones((1, 3)), np.ones(2, int), 0.0)
