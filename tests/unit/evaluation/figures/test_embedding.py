import numpy as np
import pytest
from figure_checks import CLASSES

from imbalance_study.evaluation.figures import embedding, style

METHODS = ("pca", "tsne", "umap")


def draw(points, targets, names, methods=METHODS):
    explained = np.array([0.5, 0.25, 0.1])
    return embedding.embedding(dict.fromkeys(methods, points), targets, names, explained)


@pytest.mark.parametrize("count", CLASSES)
def test_three_panels_share_one_legend_and_name_their_clusters(count, saved, names_of):
    targets = np.arange(count).repeat(6)
    generator = np.random.default_rng(0)
    points = generator.normal(size=(count, 2))[targets] * 30 + generator.normal(size=(6 * count, 2))
    figure = draw(points, targets, names_of(count))
    assert [axes.get_title() for axes in figure.axes] == ["PCA", "t-SNE", "UMAP"]
    (legend,) = figure.legends
    assert len(legend.get_texts()) == count
    for axes in figure.axes:
        written = [text.get_text() for text in axes.texts]
        names = [style.shown(name, 14) for name in names_of(count)]
        numbers = [str(label) for label in range(count)]
        assert len(written) == count
        for text, name, number in zip(written, names, numbers, strict=True):
            assert text == name or (count > style.FEW_CLASSES and text == number)
    assert figure.axes[0].get_xlabel() == "50.0% of the variance"
    saved(figure)


def test_names_stand_at_the_centres_of_their_points():
    points = np.array([[0.0, 0], [2, 2], [1, 1], [10, 10], [10, 12], [10, 11]])
    figure = draw(points, np.array([0, 0, 0, 1, 1, 1]), ["a", "b"], ("pca",))
    places = [text.get_position() for text in figure.axes[0].texts]
    np.testing.assert_allclose(places, [(1, 1), (10, 11)], atol=1e-9)


def test_names_of_clusters_in_one_place_are_moved_apart(laid_out):
    targets = np.arange(10).repeat(10)
    points = np.random.default_rng(0).normal(size=(100, 2))
    figure = draw(points, targets, [f"name {label}" for label in range(10)])
    renderer = laid_out(figure)
    for axes in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
        touching = [
            min(a.x1, b.x1) - max(a.x0, b.x0) > 2 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
            for a, b in pairs
        ]
        assert not any(touching)


def test_points_in_one_place_and_a_class_without_points_are_drawn(saved):
    figure = draw(np.zeros((4, 2)), np.array([0, 0, 2, 2]), ["a", "b", "c"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["a", "c"]
    saved(figure)


def test_a_far_point_is_cut_off_only_where_that_is_wanted():
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(500, 2)), [[1e4, 0.0]]])
    low, high = embedding.frame(points, cut_off=True)
    assert high[0] < 10
    assert (low < np.percentile(points, 5, axis=0)).all()
    _, high = embedding.frame(points, cut_off=False)
    assert high[0] > 1e4


def test_the_frame_of_equal_points_is_not_empty():
    low, high = embedding.frame(np.ones((5, 2)), cut_off=True)
    assert (high > low).all()
