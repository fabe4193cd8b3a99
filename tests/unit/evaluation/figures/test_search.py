import io

import numpy as np

from imbalance_study.evaluation.figures import search

N = 12
VALUES = np.random.default_rng(0).uniform(0.5, 0.9, N)


def drawn(figure):
    """Return the figure after it was written."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_the_history_shows_every_trial_the_best_so_far_and_the_error():
    best = np.maximum.accumulate(VALUES)
    figure = drawn(search.history(np.arange(N), VALUES, best, np.array([20]), "val/x", 0.02, [0]))
    (axes,) = figure.axes
    assert sum(len(points.get_offsets()) for points in axes.collections[-2:]) == N
    assert axes.lines[0].get_ydata().tolist() == best.tolist()
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"best ± standard error", "trial", "baseline", "best so far", "pruned"}


def test_importances_are_sorted_with_the_largest_at_the_top():
    (axes,) = drawn(search.importances({"a": 0.1, "b": 0.7, "c": 0.2}, "val/x")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c", "b"]
    assert texts(drawn(search.importances({}, "val/x"))) == {"too few trials"}


def test_intermediate_values_end_with_a_cross_where_a_trial_was_pruned():
    curves = [(np.arange(1, 4), np.array([0.1, 0.2, 0.3])), (np.array([1]), np.array([0.1]))]
    figure = drawn(search.intermediate(curves, ["complete", "pruned"], "val/x"))
    ends = [line.get_marker() for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert ends == ["o", "x"]
    assert texts(drawn(search.intermediate([], [], "val/x"))) == {"no values by epoch"}


def test_labels_on_the_front_do_not_lie_on_each_other():
    cost = np.array([1.0, 1.01, 5.0, 6.0])
    metric = np.array([0.5, 0.501, 0.8, 0.4])
    front = np.array([True, True, True, False])
    names = ("val/x", "latency_ms")
    figure = drawn(search.pareto(metric, cost, front, ["a", "b", "c", "d"], names))
    assert texts(figure) == {"b", "c"}
