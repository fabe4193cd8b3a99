import numpy as np
import pytest
from figure_checks import CLASSES, FEW_CLASSES

from imbalance_study.evaluation import errors
from imbalance_study.evaluation.figures import style
from imbalance_study.evaluation.figures.errors import (
    confused_pairs,
    labelled_images,
    recall_over_epochs,
    roc_pr,
)


def some_predictions(count, size=60):
    generator = np.random.default_rng(0)
    targets = np.resize(np.arange(count), max(size, count))
    return targets, generator.dirichlet(np.ones(count), size=len(targets))


@pytest.mark.parametrize("count", FEW_CLASSES)
def test_images_carry_their_label_prediction_and_confidence(count, saved, names_of):
    targets, probs = some_predictions(count)
    chosen = errors.misclassified(targets, probs.argmax(1), np.random.default_rng(0))
    images = np.random.default_rng(0).integers(0, 255, (len(chosen), 9, 12, 3)).astype(np.uint8)
    guesses, confidence = probs.argmax(1)[chosen], probs.max(1)[chosen]
    names = names_of(count)
    figure = labelled_images(
        images, targets[chosen], guesses, confidence, names, "Misclassified images"
    )
    axes = figure.axes[0]
    assert len(axes.images) == len(chosen) <= 25
    written = [text.get_text() for text in axes.texts]
    assert written[0] == "Misclassified images"
    first = next(text for text in axes.texts if text.get_text().startswith("→"))
    assert f"{100 * confidence[0]:.0f}%" in first.get_text()
    assert style.shown(names[guesses[0]], 4)[:3] in first.get_text()
    assert first.get_color() == style.RED
    saved(figure)


def test_right_predictions_are_green():
    figure = labelled_images(
        np.zeros((1, 1, 1, 3), np.uint8), [1], [1], [0.4], ["cat", "dog"], "Least certain"
    )
    texts = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert texts["→ dog 40%"] == style.GREEN
    assert texts["dog"] == "black"


def test_without_an_image_the_figure_says_so(saved):
    none = np.zeros(0, int)
    figure = labelled_images(
        np.zeros((0, 8, 8, 3), np.uint8), none, none, none, ["a"], "Misclassified"
    )
    assert figure.axes[0].texts[0].get_text() == "no such image"
    saved(figure)


@pytest.mark.parametrize("count", FEW_CLASSES)
def test_confused_pairs_are_bars_with_both_names(count, saved, names_of):
    confusion = np.random.default_rng(0).integers(0, 30, size=(count, count))
    table = errors.most_confused(confusion, names_of(count))
    figure = confused_pairs(table)
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.containers[0]] == table["images"]
    label = axes.get_yticklabels()[0].get_text()
    assert label == f"{style.shown(table['true'][0])} → {style.shown(table['predicted'][0])}"
    saved(figure)


def test_without_an_error_there_is_no_pair(saved):
    figure = confused_pairs(errors.most_confused(np.eye(3, dtype=int), "abc"))
    assert figure.axes[0].texts[0].get_text() == "no error"
    saved(figure)


@pytest.mark.parametrize("count", CLASSES)
def test_each_class_has_its_curve_in_both_panels(count, saved, names_of):
    targets, probs = some_predictions(count, 300)
    targets[targets == 1] = 0  # no positives
    counts = np.arange(count) * 7
    curves = errors.class_curves(targets, probs)
    figure = roc_pr(curves, names_of(count), counts)
    drawn = [curve for curve in curves if curve is not None]
    roc, recall = figure.axes[:2]
    assert len(roc.get_lines()) == len(drawn) + 1
    assert len(recall.get_lines()) == len(drawn)
    if drawn:
        np.testing.assert_array_equal(roc.get_lines()[0].get_ydata(), drawn[0].true_positive_rate)
        np.testing.assert_array_equal(recall.get_lines()[0].get_ydata()[1:], drawn[0].precision)
    else:
        assert roc.texts[0].get_text() == "no class with both sides"
    if count == 5:
        label = figure.legends[0].get_texts()[0].get_text()
        assert f"{drawn[0].roc_auc:.3f}   {drawn[0].average_precision:.3f}" in label
    saved(figure)


@pytest.mark.parametrize("count", CLASSES)
def test_recall_over_epochs_sorts_the_classes_and_averages_thirds(count, saved, names_of):
    recall = np.random.default_rng(0).random((6, count))
    recall[:, 1] = np.nan
    counts = np.arange(count) + 1
    figure = recall_over_epochs(recall, counts, names_of(count))
    classes, thirds = figure.axes[:2]
    values = classes.images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(values, recall[:, ::-1].T)
    first = classes.get_yticklabels()[0].get_text()
    assert first == f"{style.shown(names_of(count)[-1])}  {count}"
    tail = thirds.get_lines()[-1]
    if count % 3 == 0:
        third = recall[:, : count // 3]
        np.testing.assert_allclose(tail.get_ydata(), np.nanmean(third, axis=1))
    assert tail.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    saved(figure)


def test_recall_of_a_single_epoch_is_drawn(saved):
    figure = recall_over_epochs(np.full((1, 2), 0.5), np.ones(2, int), ["a", "b"])
    assert [line.get_label() for line in figure.axes[1].get_lines()] == ["head", "tail"]
    saved(figure)
