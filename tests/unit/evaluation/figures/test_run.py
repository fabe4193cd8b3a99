import matplotlib
import numpy as np
import pytest
from figure_checks import CLASSES, FEW_CLASSES
from matplotlib.backends.backend_agg import FigureCanvasAgg

from imbalance_study.evaluation.figures import run, style


def labels_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def long_tail(count):
    return np.maximum(500 * 100 ** (-np.arange(count) / (count - 1)), 1).astype(int)


@pytest.mark.parametrize("count", CLASSES)
def test_class_distribution_draws_each_split_on_both_scales(count, saved, names_of):
    counts = {"train": long_tail(count), "val": np.full(count, 5), "test": np.full(count, 9)}
    figure = run.class_distribution(counts, names_of(count))
    linear, log = figure.axes
    assert (linear.get_yscale(), log.get_yscale()) == ("linear", "log")
    assert labels_of(log.xaxis) == [style.shown(name) for name in names_of(count)]
    heights = [bar.get_height() for bar in linear.containers[0]]
    np.testing.assert_array_equal(heights, counts["train"])
    assert {text.get_text() for text in linear.get_legend().get_texts()} == set(counts)
    saved(figure)


def test_class_distribution_draws_classes_without_any_image(saved, names_of):
    saved(run.class_distribution({"train": np.zeros(3, int)}, names_of(3)))


@pytest.mark.parametrize("count", FEW_CLASSES)
def test_augmented_samples_have_a_named_row_per_class_and_the_original_first(
    count, saved, names_of
):
    images = np.random.default_rng(0).integers(0, 255, size=(count, 4, 8, 10, 3)).astype(np.uint8)
    images[:, 0] = 7
    figure = run.augmented_samples(images, names_of(count))
    labels = [label for axes in figure.axes for label in labels_of(axes.yaxis)]
    assert labels == [style.shown(name) for name in names_of(count)]
    for axes in figure.axes:
        assert labels_of(axes.xaxis) == ["original", "augmented"]
        canvas = axes.images[0].get_array()
        assert (canvas[:8, :10] == 7).all()
    saved(figure)


def test_augmented_samples_draw_a_single_one_pixel_image(saved):
    saved(run.augmented_samples(np.zeros((1, 1, 1, 1, 3), np.uint8), ["dot"]))


def test_training_curves_sort_the_columns_into_three_panels(saved):
    history = {
        "train/loss": [2.0, 1.0],
        "val/loss": [2.1, np.nan],
        "train/accuracy": [0.1, 0.4],
        "val/balanced_accuracy": [0.1, 0.3],
        "lr": [0.1, 0.001],
    }
    figure = run.training_curves(history, best_epoch=2)
    drawn = [[line.get_label() for line in axes.get_lines()] for axes in figure.axes]
    assert drawn == [
        ["train/loss", "val/loss", "selected"],
        ["train/accuracy", "val/balanced_accuracy", "selected"],
        ["lr", "selected"],
    ]
    assert figure.axes[0].get_lines()[0].get_xdata().tolist() == [1, 2]
    assert figure.axes[2].get_yscale() == "log"
    saved(figure)


def test_training_curves_of_one_epoch_without_validation_are_points(saved):
    figure = run.training_curves({"train/loss": [1.0], "lr": [0.1]})
    assert figure.axes[0].get_lines()[0].get_marker() == "o"
    assert figure.axes[1].texts[0].get_text() == "not recorded"
    saved(figure)


@pytest.mark.parametrize("count", CLASSES)
def test_confusion_matrices_show_counts_and_shares_with_the_class_names(count, saved, names_of):
    confusion = np.random.default_rng(0).integers(0, 99, size=(count, count))
    confusion[1] = 0
    figure = run.confusion_matrices(confusion, names_of(count))
    counts, shares, *bars = figure.axes
    assert len(bars) == 2
    np.testing.assert_array_equal(counts.images[0].get_array(), confusion)
    values = shares.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(values[0], confusion[0] / confusion[0].sum())
    assert np.isnan(values[1]).all()
    for axes in (counts, shares):
        assert labels_of(axes.xaxis) == labels_of(axes.yaxis)
        assert labels_of(axes.yaxis) == [style.shown(name) for name in names_of(count)]
    assert bool(counts.texts) == (count <= style.FEW_CLASSES)
    saved(figure)


def test_confusion_matrices_write_each_count_into_its_cell():
    figure = run.confusion_matrices(np.array([[12, 3], [0, 5]]), ["a", "b"])
    written = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "12", (1, 0): "3", (1, 1): "5"}
    shares = {text.get_position(): text.get_text() for text in figure.axes[1].texts}
    assert shares == {(0, 0): ".80", (1, 0): ".20", (1, 1): "1.00"}


@pytest.mark.parametrize("count", FEW_CLASSES)
def test_recall_by_frequency_sorts_the_classes_by_training_count(count, saved, names_of):
    counts = np.random.default_rng(0).permutation(count) + 1
    recall = np.linspace(0, 1, count)
    recall[0] = np.nan
    names = names_of(count)
    figure = run.recall_by_frequency(counts, recall, np.full(count, 10), names)
    axes = figure.axes[0]
    order = np.argsort(-counts)
    assert labels_of(axes.xaxis) == [style.shown(names[label]) for label in order]
    drawn = axes.containers[0].lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, recall[order])
    saved(figure)


def test_wilson_intervals_are_those_of_the_published_formula():
    # Newcombe (1998), table I: 81 of 263, and 0 of 20 and 1 of 29.
    low, high = run.wilson_interval(np.array([81 / 263, 0, 1 / 29]), np.array([263, 20, 29]))
    np.testing.assert_allclose(low, [0.2553, 0, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1611, 0.1718], atol=5e-5)


@pytest.mark.parametrize("count", CLASSES)
def test_sampled_classes_compare_shares_not_counts(count, saved, names_of):
    train, sampled = long_tail(count), np.full(count, 3)
    figure = run.sampled_classes(train, sampled, names_of(count))
    axes = figure.axes[0]
    heights = [bar.get_height() for bar in axes.containers[0]]
    np.testing.assert_allclose(heights, 100 * train / train.sum())
    assert labels_of(axes.xaxis) == [style.shown(name) for name in names_of(count)]
    saved(figure)


def test_a_name_is_shown_on_one_line_cut_and_without_formulas():
    assert style.shown("a\n b") == "a b"
    assert style.shown("$x$") == r"\$x\$"
    assert style.shown("") == "(no name)"
    assert len(style.shown("y" * 50)) == 22


@pytest.mark.parametrize("count", [2, 8, 9, 10, 11, 102])
def test_every_class_has_a_colour_of_its_own(count):
    colors = [matplotlib.colors.to_hex(color) for color in style.class_colors(count)]
    assert len(colors) == count
    assert len(set(colors)) == count


def test_the_style_is_not_the_callers_and_leaves_his_alone(names_of):
    with matplotlib.rc_context({"font.size": 31.0, "axes.spines.top": True}):
        figure = run.sampled_classes(long_tail(2), np.ones(2, int), names_of(2))
        assert matplotlib.rcParams["font.size"] == 31.0
    assert figure.axes[0].yaxis.label.get_fontsize() == style.STYLE["axes.labelsize"]
    assert not figure.axes[0].spines["top"].get_visible()


def test_a_mosaic_lays_images_in_rows_with_white_between():
    images = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1).repeat(3, axis=4)
    canvas = style.mosaic(images, 1)[:, :, 0]
    np.testing.assert_array_equal(canvas, [[0, 255, 1, 255, 2], [255] * 5, [3, 255, 4, 255, 5]])


def test_the_labels_of_augmented_samples_lie_inside_the_figure_that_is_saved():
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    figure = run.augmented_samples(np.zeros((10, 8, 32, 32, 3), np.uint8), names)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once, as saving does
    labels = figure.axes[0].get_yticklabels()
    assert min(one.get_window_extent(canvas.get_renderer()).x0 for one in labels) >= 0
