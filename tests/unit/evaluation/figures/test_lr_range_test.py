import numpy as np
import pytest

from imbalance_study.evaluation.figures.lr_range_test import range_test


def test_the_curve_is_drawn_raw_and_smoothed_with_the_suggestion(saved):
    lrs = np.geomspace(1e-5, 1, 60)
    smoothed = 2 + np.log10(lrs / 0.05) ** 2 / 10
    figure = range_test(lrs, smoothed + 0.1, smoothed, 0.02)
    raw, smooth, line = figure.axes[0].get_lines()
    np.testing.assert_array_equal(raw.get_ydata(), smoothed + 0.1)
    np.testing.assert_array_equal(smooth.get_ydata(), smoothed)
    assert line.get_xdata()[0] == pytest.approx(0.02)
    assert line.get_label() == "suggested: 0.02"
    assert figure.axes[0].get_xscale() == "log"
    saved(figure)


def test_a_loss_that_explodes_does_not_flatten_the_curve(saved):
    lrs = np.geomspace(1e-5, 10, 60)
    smoothed = np.append(np.linspace(2, 1, 59), 1e6)
    figure = range_test(lrs, smoothed, smoothed, 0.1)
    low, high = figure.axes[0].get_ylim()
    assert low < 1
    assert high < 4
    saved(figure)
