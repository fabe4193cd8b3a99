import numpy as np
import pytest
from figure_checks import FEW_CLASSES

from imbalance_study.evaluation.attribution import Occlusion
from imbalance_study.evaluation.figures import attribution, style


def some_images(count, height=9, width=12):
    generator = np.random.default_rng(0)
    return generator.integers(0, 255, (count, height, width, 3)).astype(np.uint8)


def texts_of(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_an_overlay_leaves_the_image_where_the_map_is_zero_and_colours_its_peak():
    image = np.full((150, 150, 3), 100, np.uint8)
    saliency = np.zeros((10, 10))
    saliency[5, 5] = 3.0
    shown = attribution.overlay(image, saliency, "viridis")
    assert shown.shape == image.shape
    assert (shown[:60, :60] == 100).all()
    peak = shown[82, 82].astype(float)
    np.testing.assert_allclose(peak, 0.25 * 100 + 0.75 * np.array([253, 231, 37]), atol=2)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_map_that_speaks_for_nothing_leaves_the_image_alone(value):
    image = some_images(1, 120, 120)[0]
    shown = attribution.overlay(image, np.full((4, 4), value))
    np.testing.assert_array_equal(shown, image)


def test_overlays_of_small_images_are_enlarged_by_whole_pixels():
    image = some_images(1, 32, 40)[0]
    shown = attribution.overlay(image, np.zeros((2, 2)))
    assert shown.shape == (128, 160, 3)
    np.testing.assert_array_equal(shown[::4, ::4], image)
    assert attribution.overlay(image[:1, :1], np.ones((1, 1))).shape == (112, 112, 3)


def test_an_unknown_colormap_is_refused_with_examples():
    with pytest.raises(ValueError, match=r"unknown colormap 'rainbows'.*viridis"):
        attribution.overlay(some_images(1)[0], np.ones((2, 2)), "rainbows")


@pytest.mark.parametrize("count", FEW_CLASSES)
def test_errors_show_the_predicted_and_the_true_class_side_by_side(count, saved, names_of):
    generator = np.random.default_rng(0)
    targets = np.resize(np.arange(count), 25)
    probs = generator.dirichlet(np.ones(count), size=25)
    figure = attribution.gradcam_errors(
        some_images(25), generator.random((25, 2, 4, 4)), targets, probs, names_of(count)
    )
    assert len(figure.axes[0].images) == 75
    shares = [text for text in texts_of(figure) if text.endswith("%")]
    assert len(shares) == 50
    for text, share in zip(shares[:2], (probs[0].max(), probs[0, targets[0]]), strict=True):
        assert text.endswith(f" {100 * share:.0f}%")
    saved(figure)


@pytest.mark.parametrize("count", FEW_CLASSES)
def test_right_images_have_a_row_for_each_class(count, saved, names_of):
    targets = np.array([0, 0, *range(2, count)])  # class 1 is never right
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.ones(count), size=len(targets))
    figure = attribution.gradcam_correct(
        some_images(len(targets)),
        generator.random((len(targets), 2, 4, 4)),
        targets,
        probs,
        names_of(count),
    )
    assert len(figure.axes[0].images) == 3 * len(targets)
    rows = [style.shown(name) for name in names_of(count)]
    written = texts_of(figure)
    assert [text for text in written if text in rows][: len(rows)] == rows
    boxes = [image.get_extent() for image in figure.axes[0].images]
    assert boxes[0][2] == boxes[3][2]  # both images of class 0 stand in one row
    saved(figure)


def test_images_without_a_known_class_are_written_in_black(saved):
    probs = np.array([[0.6, 0.3, 0.1]] * 4)
    cams = attribution.ClassMaps(
        some_images(4), np.ones((4, 2, 3, 3)), np.array([[0, 1]] * 4), probs, ["cat", "dog", "eel"]
    )
    figure = attribution.gradcam_of_classes(cams, ["a.png", "b.png", "c.png", "d.png"], title="x")
    texts = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert {"a.png", "d.png", "cat 60%", "dog 30%"} <= texts.keys()
    assert {texts["cat 60%"], texts["dog 30%"]} == {style.BLACK}
    assert len(figure.axes[0].images) == 12
    saved(figure)


def test_the_runner_up_is_the_most_probable_other_class():
    probs = np.array([[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]])
    assert attribution.runner_up(np.array([0, 1]), probs).tolist() == [2, 0]


def test_without_an_image_the_figure_says_so(saved):
    figure = attribution.gradcam_errors(
        some_images(0), np.zeros((0, 2, 4, 4)), np.zeros(0, int), np.zeros((0, 2)), ["a", "b"]
    )
    assert texts_of(figure) == ["no such image"]
    saved(figure)


def test_feature_maps_have_a_row_per_image_and_the_channels_named(saved):
    maps = np.random.default_rng(0).random((4, 3, 5, 5))
    figure = attribution.feature_maps(
        some_images(4), maps, np.array([7, 1, 12]), title="Feature maps of layer3"
    )
    assert len(figure.axes[0].images) == 16
    assert [text for text in texts_of(figure) if text.startswith("channel")] == [
        "channel 7",
        "channel 1",
        "channel 12",
    ]
    first = figure.axes[0].images[1]
    assert first.get_clim() == (maps[:, 0].min(), maps[:, 0].max())
    saved(figure)


def test_constant_feature_maps_are_drawn(saved):
    saved(attribution.feature_maps(some_images(2), np.ones((2, 1, 3, 3)), [0], title="x"))


@pytest.mark.parametrize("count", [1, 7])
def test_occlusion_shows_the_plain_probability_with_one_colour_bar_for_all(count, saved):
    generator = np.random.default_rng(0)
    probability = generator.random((count, 9, 12)) * 0.5
    hidden = Occlusion(0.7 - probability, probability, np.full(count, 0.7))
    figure = attribution.occlusion(some_images(count), hidden, np.zeros(count, int), ["cat"])
    axes, bar = figure.axes
    plain = axes.images[2]
    np.testing.assert_array_equal(plain.get_array(), probability[0])
    ends = (probability.min(), probability.max())
    assert plain.get_clim() == ends
    assert bar.get_ylabel() == "probability of the class"
    assert bar.get_ylim() == ends
    assert "cat 70%" in texts_of(figure)
    saved(figure)


def test_an_occlusion_that_changes_nothing_is_one_colour(saved):
    constant = np.full((1, 9, 12), 0.25)
    zero = np.zeros(1, int)
    hidden = Occlusion(0 * constant, constant, np.full(1, 0.25))
    figure = attribution.occlusion(some_images(1), hidden, zero, ["cat"])
    low, high = figure.axes[1].get_ylim()
    assert low < 0.25 < high
    saved(figure)


def test_deletion_shows_both_falls_of_each_image_and_their_means(saved):
    salient, random = np.array([0.5, 0.3]), np.array([0.1, 0.0])
    figure = attribution.deletion({"Grad-CAM": (salient, random)}, 0.1)
    (axes,) = figure.axes
    pairs = [line.get_ydata().tolist() for line in axes.get_lines()[:2]]
    assert pairs == [[0.5, 0.1], [0.3, 0.0]]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["most salient 10%\nmean 0.400", "same shape elsewhere\nmean 0.050"]
    assert axes.get_title() == "Grad-CAM, 2 images"
    saved(figure)
