import io

import numpy as np
import pytest

from imbalance_study.evaluation.figures.search_dimensions import (
    Dimension,
    contour,
    parallel,
    slices,
)

N = 12
DRAW = np.random.default_rng(0)
VALUES = DRAW.uniform(0.5, 0.9, N)
LOSS = Dimension("loss", ["ldam", "focal", "cross_entropy", "vs"] * 3)
LR = Dimension("lr_factor", list(10 ** DRAW.uniform(-1, 1, N)), log=True)
GAMMA = Dimension("gamma", [None, 1.0, None, 2.5] * 3)
SAME = Dimension("q", [0.5] * N)


def drawn(figure):
    """Return the figure after it was written."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_a_dimension_stands_at_its_numbers_or_at_its_names():
    assert LOSS.choices == ["cross_entropy", "focal", "ldam", "vs"]
    assert LOSS.positions[:4].tolist() == [2, 1, 0, 3]
    assert np.isnan(GAMMA.positions[0])
    assert GAMMA.positions[3] == 2.5


def test_slices_leave_out_the_trials_that_do_not_have_the_dimension():
    figure = drawn(slices([LOSS, LR, GAMMA], VALUES, "val/x"))
    shown = [len(axes.collections[0].get_offsets()) for axes in figure.axes]
    assert shown == [N, N, 6]
    assert figure.axes[1].get_xscale() == "log"


@pytest.mark.parametrize("maximize", [True, False])
def test_parallel_coordinates_draw_the_best_trials_last_and_thick(maximize):
    figure = drawn(parallel([LOSS, LR, GAMMA, SAME], VALUES, "val/x", maximize))
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 5]
    assert len(lines) == N
    ends = [line.get_ydata()[-1] for line in lines]
    assert ends == sorted(ends, reverse=not maximize)
    assert [line.get_linewidth() for line in lines[-4:]] == [1, 2.2, 2.2, 2.2]
    foot = np.array([line.get_ydata()[2] for line in lines])
    assert (foot < 0).sum() == 6  # without gamma
    assert "not used" in texts(figure)


def test_parallel_coordinates_of_trials_that_do_not_differ_say_so():
    figure = drawn(parallel([], VALUES[:1], "val/x"))
    assert figure.axes[0].texts[0].get_text() == "nothing varied"


@pytest.mark.parametrize("pair", [(LOSS, LR), (LR, GAMMA), (LR, SAME), (LOSS, LOSS)])
def test_a_contour_is_drawn_of_numbers_and_of_names(pair):
    axes = drawn(contour(*pair, VALUES, "val/x")).axes[0]
    there = np.isfinite(pair[0].positions) & np.isfinite(pair[1].positions)
    assert any(len(one.get_offsets()) == there.sum() for one in axes.collections)


def test_the_shade_of_a_contour_where_trials_meet_is_that_of_their_mean():
    corners = [0.0, 0.0, 1.0, 1.0]
    first, second = Dimension("a", [*corners, 0.0]), Dimension("b", [0.0, 1.0, 0.0, 1.0, 0.0])
    for values in ([0.5, 0.6, 0.6, 0.6, 0.7], [0.7, 0.6, 0.6, 0.6, 0.5]):
        axes = drawn(contour(first, second, np.array(values), "val/x")).axes[0]
        shades = axes.collections[0].get_array()
        (flat,) = [i for i, path in enumerate(axes.collections[0].get_paths()) if len(path)]
        assert abs(shades[flat] - 0.6) < 0.02
