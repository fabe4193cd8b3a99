import io

import numpy as np
import pytest

from imbalance_study.evaluation.figures import search as search_figures
from imbalance_study.evaluation.figures.search import Dimension

N = 12
DRAW = np.random.default_rng(0)
VALUES = DRAW.uniform(0.5, 0.9, N)
LOSS = Dimension("loss", ["ldam", "focal", "cross_entropy", "vs"] * 3)
LR = Dimension("lr_factor", list(10 ** DRAW.uniform(-1, 1, N)), log=True)
GAMMA = Dimension("gamma", [None, 1.0, None, 2.5] * 3)
SAME = Dimension("q", [0.5] * N)


def drawn(figure):
    """The figure, after it could be written."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_a_dimension_stands_at_its_numbers_or_at_its_names():
    assert LOSS.choices == ["cross_entropy", "focal", "ldam", "vs"]
    assert LOSS.positions[:4].tolist() == [2, 1, 0, 3]
    assert np.isnan(GAMMA.positions[0])
    assert GAMMA.positions[3] == 2.5


def test_the_history_shows_every_trial_the_best_so_far_and_the_error():
    best = np.maximum.accumulate(VALUES)
    figure = drawn(
        search_figures.history(np.arange(N), VALUES, best, np.array([20]), "val/x", 0.02, [0])
    )
    (axes,) = figure.axes
    assert sum(len(points.get_offsets()) for points in axes.collections[-2:]) == N
    assert axes.lines[0].get_ydata().tolist() == best.tolist()
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"best ± standard error", "trial", "baseline", "best so far", "pruned"}


def test_importances_are_sorted_with_the_largest_at_the_top():
    (axes,) = drawn(search_figures.importances({"a": 0.1, "b": 0.7, "c": 0.2}, "val/x")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "c", "b"]
    assert texts(drawn(search_figures.importances({}, "val/x"))) == {"too few trials"}


def test_slices_leave_out_the_trials_that_do_not_have_the_dimension():
    figure = drawn(search_figures.slices([LOSS, LR, GAMMA], VALUES, "val/x"))
    shown = [len(axes.collections[0].get_offsets()) for axes in figure.axes]
    assert shown == [N, N, 6]
    assert figure.axes[1].get_xscale() == "log"


@pytest.mark.parametrize("maximize", [True, False])
def test_parallel_coordinates_draw_the_best_trials_last_and_thick(maximize):
    figure = drawn(search_figures.parallel([LOSS, LR, GAMMA, SAME], VALUES, "val/x", maximize))
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 5]
    assert len(lines) == N
    ends = [line.get_ydata()[-1] for line in lines]
    assert ends == sorted(ends, reverse=not maximize)
    assert [line.get_linewidth() for line in lines[-4:]] == [1, 2.2, 2.2, 2.2]
    foot = np.array([line.get_ydata()[2] for line in lines])
    assert (foot < 0).sum() == 6  # without gamma
    assert "not used" in texts(figure)


def test_parallel_coordinates_of_trials_that_do_not_differ_say_so():
    figure = drawn(search_figures.parallel([], VALUES[:1], "val/x"))
    assert figure.axes[0].texts[0].get_text() == "nothing varied"


@pytest.mark.parametrize("pair", [(LOSS, LR), (LR, GAMMA), (LR, SAME), (LOSS, LOSS)])
def test_a_contour_is_drawn_of_numbers_and_of_names(pair):
    axes = drawn(search_figures.contour(*pair, VALUES, "val/x")).axes[0]
    there = np.isfinite(pair[0].positions) & np.isfinite(pair[1].positions)
    assert any(len(one.get_offsets()) == there.sum() for one in axes.collections)


def test_the_shade_of_a_contour_where_trials_meet_is_that_of_their_mean():
    corners = [0.0, 0.0, 1.0, 1.0]
    first, second = Dimension("a", [*corners, 0.0]), Dimension("b", [0.0, 1.0, 0.0, 1.0, 0.0])
    for values in ([0.5, 0.6, 0.6, 0.6, 0.7], [0.7, 0.6, 0.6, 0.6, 0.5]):
        axes = drawn(search_figures.contour(first, second, np.array(values), "val/x")).axes[0]
        shades = axes.collections[0].get_array()
        (flat,) = [i for i, path in enumerate(axes.collections[0].get_paths()) if len(path)]
        assert abs(shades[flat] - 0.6) < 0.02


def test_intermediate_values_end_with_a_cross_where_a_trial_was_pruned():
    curves = [(np.arange(1, 4), np.array([0.1, 0.2, 0.3])), (np.array([1]), np.array([0.1]))]
    figure = drawn(search_figures.intermediate(curves, ["complete", "pruned"], "val/x"))
    ends = [line.get_marker() for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert ends == ["o", "x"]
    assert texts(drawn(search_figures.intermediate([], [], "val/x"))) == {"no values by epoch"}


def test_labels_on_the_front_do_not_lie_on_each_other():
    cost = np.array([1.0, 1.01, 5.0, 6.0])
    metric = np.array([0.5, 0.501, 0.8, 0.4])
    front = np.array([True, True, True, False])
    names = ("val/x", "latency_ms")
    figure = drawn(search_figures.pareto(metric, cost, front, ["a", "b", "c", "d"], names))
    assert texts(figure) == {"b", "c"}
