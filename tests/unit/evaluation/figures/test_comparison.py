import numpy as np
import pytest
from figure_checks import SIZES, configurations, texts_inside
from matplotlib.collections import PathCollection

from imbalance_study.evaluation.figures import comparison, comparison_style


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_curves_have_a_line_and_a_band_per_configuration(count, classes, saved):
    steps = np.arange(1.0, 9)
    bands = {
        index: comparison.Band(steps, steps / 9 + index, steps / 9, steps / 8)
        for index in range(count)
    }
    curves = {"val/loss": bands, "train/loss": {0: bands[0]}, "train/accuracy": bands}
    figure = comparison.training_curves_compared(curves, configurations(count))
    assert [len(axes.get_lines()) for axes in figure.axes] == [count, 1, count, 0]
    assert len(figure.legends[0].get_texts()) == count
    saved(figure)


def test_curves_of_one_epoch_are_points(saved):
    band = comparison.Band(*np.ones((4, 1)))
    figure = comparison.training_curves_compared({"val/loss": {0: band}}, ["a"])
    assert figure.axes[0].get_lines()[0].get_marker() == "o"
    saved(figure)


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_bars_carry_means_intervals_and_each_seed(count, classes, saved, laid_out):
    mean = np.linspace(0.2, 0.8, count)
    bars = comparison.Bars(mean, mean - 0.1, mean + 0.2, [np.array([m - 0.05, m]) for m in mean])
    unknown = comparison.Bars(*np.full((3, count), np.nan), [np.array([])] * count)
    figure = comparison.headline_bars({"accuracy": bars, "f1": unknown}, configurations(count))
    axes = figure.axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], mean)
    dots = [one for one in axes.collections if isinstance(one, PathCollection)]
    np.testing.assert_allclose(dots[-1].get_offsets()[:, 0], bars.seeds[-1])
    assert [text.get_text() for text in axes.texts] == [f"{m:.3f}" for m in mean]
    assert {text.get_text() for text in figure.axes[1].texts} == {"–"}
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


def test_differences_are_sorted_filled_where_shown_and_grey_where_marked(saved, laid_out):
    nan = np.nan
    names = comparison_style.labels(["a", "b", "c", "d"], [False, False, True, False])
    figure = comparison.differences_to_baseline(
        np.array([0.1, 0.3, 0.2, nan]),
        np.array([-0.1, 0.25, 0.1, nan]),
        np.array([0.3, 0.35, 0.3, nan]),
        np.array([0.4, 0.001, 0.01, nan]),
        names,
        "title",
    )
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "c †", "a", "d"]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    faces = [line.get_markerfacecolor() for line in dots[:3]]
    assert faces[2] == "white"
    assert faces[0] != faces[1]
    assert [text.get_text() for text in axes.texts] == [
        "+0.300   p = 0.001",
        "+0.200   p = 0.010",
        "+0.100   p = 0.40",
        "no seed in common",
    ]
    assert figure.get_supxlabel() == comparison_style.FOOTNOTE
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


@pytest.mark.parametrize("difference", [0.0, np.nan])
def test_differences_without_a_test_or_of_nothing_are_drawn(difference, saved):
    nan = np.full(1, np.nan)
    figure = comparison.differences_to_baseline(
        np.array([difference]), nan, nan, nan, ["a"], "title"
    )
    saved(figure)


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_costs_stand_on_a_logarithmic_axis_with_plain_numbers(count, classes, saved):
    macs = np.geomspace(4e7, 4e9, count)
    same = np.full(count, 3.0)
    mean = np.linspace(0.3, 0.6, count)
    figure = comparison.metric_against_costs(
        {"MACs": macs, "ms": same, "other": np.full(count, np.nan)},
        mean,
        mean - 0.1,
        mean + 0.1,
        configurations(count),
        "accuracy",
    )
    assert figure.axes[0].get_xscale() == "log"
    texts = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert all("10^" not in text for text in texts)
    assert len(texts) >= 1
    saved(figure)
