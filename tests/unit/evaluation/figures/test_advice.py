import numpy as np
import pytest

from imbalance_study.evaluation.figures import advice

NAMES = ["balanced_softmax", "cross_entropy", "a remedy with a name that is far too long for it"]


def test_a_proven_remedy_is_filled_and_the_baseline_has_no_interval(saved):
    nan = float("nan")
    figure = advice.remedies(
        NAMES, np.array([4.0, 0, -1]), np.array([1.0, nan, -3]), np.array([7.0, nan, 1]),
        [True, False, False], "points",
    )  # fmt: skip
    axes = figure.axes[0]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() != "white" for line in points] == [True, False, False]
    assert sum(len(line.get_xdata()) == 2 and line.get_linewidth() == 2 for line in axes.lines) == 2
    saved(figure)


@pytest.mark.parametrize("classes", [2, 30])
def test_recalls_stand_from_the_frequent_class_to_the_rare_one(classes, saved):
    counts = np.arange(classes) + 1
    recall = np.random.default_rng(0).random((2, classes))
    figure = advice.recalls([f"c{n}" for n in counts], counts, recall, NAMES[:2])
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[0] == f"c{classes} ({classes})"
    assert labels[-1] == "c1 (1)"
    saved(figure)


def test_one_remedy_has_no_lines_between_points(saved):
    figure = advice.recalls(["a", "b"], np.array([3, 2]), np.array([[0.5, 1.0]]), NAMES[:1])
    assert len(figure.axes[0].collections) == 1
    saved(figure)


def test_gains_are_drawn_beside_the_best_remedy(saved):
    gain = np.array([[1.0, 2.0], [3.0, 5.0]])
    figure = advice.more_images(
        ["rare", "rarer"], gain, gain - 1, gain + 1, 2.5, ["20 more", "100 more"], "points"
    )
    assert 2.5 in [line.get_xdata()[0] for line in figure.axes[0].lines]
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["the best remedy", "20 more", "100 more"]
    saved(figure)


def test_a_rejection_curve_begins_with_all_images(saved):
    kept = np.array([1.0, 0.8, 0.5])
    figure = advice.rejection(kept, [np.array([70.0, 80, 90])], ["accuracy, %"])
    low, high = figure.axes[0].get_xlim()
    assert low > high
    saved(figure)
