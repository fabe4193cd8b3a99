import numpy as np
import pytest
from figure_checks import SIZES, configurations, texts_inside

from imbalance_study.evaluation.figures import comparison_panels


def shares_of(classes):
    return np.full((classes, classes), 1 / classes)


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_confusion_cells_are_as_many_as_configurations(count, classes, saved, names_of, laid_out):
    shares = [shares_of(classes) for _ in range(count)]
    shares[0][0] = np.nan
    names = configurations(count)
    figure = comparison_panels.confusion_panel(shares, [0.5] * count, names, names_of(classes))
    drawn = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title().rpartition("\n")[0] for axes in drawn] == names
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_clusters_have_one_legend_and_the_score_under_each(
    count, classes, saved, names_of, laid_out
):
    targets = np.arange(204) % classes
    points = list(np.random.default_rng(0).normal(size=(count, 204, 2)))
    scores = [0.1 + index / 100 for index in range(count)]
    figure = comparison_panels.cluster_panel(
        points, targets, scores, configurations(count), names_of(classes), "title"
    )
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in drawn] == [f"macro F1 {score:.3f}" for score in scores]
    assert len(figure.legends) == 1
    assert len(figure.legends[0].get_texts()) == classes
    saved(figure)
    renderer = laid_out(figure)
    legend = figure.legends[0].get_window_extent(renderer)
    assert legend.y0 >= 0
    assert legend.y1 <= figure.bbox.y1
    assert legend.x0 >= max(axes.get_window_extent().x1 for axes in drawn)
    assert texts_inside(figure, renderer)


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_recalls_go_from_the_most_to_the_fewest_images(count, classes, saved, names_of):
    counts = np.arange(classes) + 1
    recalls = [np.linspace(0.9, 0.1, classes) - index / 100 for index in range(count)]
    recalls[0][0] = np.nan
    names = configurations(count)
    figure = comparison_panels.recall_compared(counts, recalls, names, names_of(classes))
    lines = figure.axes[0].get_lines()
    assert len(lines) == count
    assert len(lines[0].get_ydata()) == (
        classes if classes <= 20 else comparison_panels.FREQUENCY_BINS
    )
    if classes == 5:
        np.testing.assert_allclose(lines[1].get_ydata(), recalls[1][::-1])
    if classes == 102:
        assert lines[1].get_ydata()[0] == pytest.approx(recalls[1][-11:].mean())
    saved(figure)
