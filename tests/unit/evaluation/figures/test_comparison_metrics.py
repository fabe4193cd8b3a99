import numpy as np
import pytest
from figure_checks import configurations, texts_inside

from imbalance_study.evaluation.figures import comparison_metrics


def test_the_heat_map_is_coloured_where_a_difference_is_shown_and_nowhere_else(saved, laid_out):
    values = np.array([[0.1, 0.5, 0.9], [0.1, 0.5, 0.9], [1, 2, 3], [4, 4, np.nan]])
    shown = np.array([[0, 0, 1], [0, -1, 0], [0, 0, 0], [0, 0, 0]])
    figure = comparison_metrics.metrics_heatmap(
        values, shown, [1, -1, 0, 1], ["accuracy", "loss", "epoch", "f1"], ["a", "b", "c"]
    )
    axes = figure.axes[0]
    image = axes.images[0]
    colors = image.to_rgba(image.get_array())[..., :3]
    assert (colors[shown == 0] == 1).all()
    better, worse = colors[0, 2], colors[1, 1]
    assert better[2] > better[0]
    assert worse[0] > worse[2]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "accuracy ↑",
        "loss ↓",
        "epoch",
        "f1 ↑",
    ]
    assert axes.texts[-1].get_text() == "–"
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


@pytest.mark.parametrize("count", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_the_heat_map_holds_all_its_texts(count, saved, laid_out):
    names = [f"test_calibration/a_rather_long_name_{index}" for index in range(20)]
    values = np.random.default_rng(0).random((20, count)) * 10.0 ** (np.arange(20) % 10)[:, None]
    figure = comparison_metrics.metrics_heatmap(
        values, np.zeros((20, count), int), [1] * 20, names, configurations(count)
    )
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


def test_the_radar_closes_its_rings_and_starts_at_zero(saved):
    values = np.array([[0.5, 0.6, 0.7], [0.1, np.nan, 0.4]])
    figure = comparison_metrics.radar(
        values, ["x", "y", "z"], ["first", "second"], np.array([4, 0])
    )
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [0.5, 0.6, 0.7, 0.5])
    assert axes.get_lines()[1].get_color() == "#000000"
    assert axes.get_ylim()[0] == 0
    saved(figure)
