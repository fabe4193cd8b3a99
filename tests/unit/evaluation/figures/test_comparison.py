import numpy as np
import pytest
from matplotlib.collections import PathCollection

from imbalance_study.evaluation.bootstrap import p_text
from imbalance_study.evaluation.figures import comparison as compare
from imbalance_study.evaluation.figures import comparison_metrics as profiles
from imbalance_study.evaluation.figures import comparison_panels as panels
from imbalance_study.evaluation.figures import comparison_style as styles

SIZES = [(1, 2), (2, 5), (16, 102)]  # configurations, classes


def configurations(count):
    long = "loss=ldam:max_m=0.5,s=30 class_weights=effective:beta=0.9999 defer=0.8 model=b"
    return styles.labels(
        [f"{long}{index}" if index % 2 else f"loss=l{index}" for index in range(count)]
    )


def texts_inside(figure, renderer):
    """Whether every title, tick and other text of the panels lies within the figure."""
    box = figure.bbox.padded(1)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    texts = [text for axes in shown for text in [axes.title, *axes.texts]]
    for axes in shown:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            texts += [label for at, label in ticks if low <= at <= high]
    found = [
        text.get_window_extent(renderer) for text in texts if text.get_visible() and text.get_text()
    ]
    return all(
        box.x0 <= one.x0 and one.x1 <= box.x1 and box.y0 <= one.y0 and one.y1 <= box.y1
        for one in found
    )


def test_every_configuration_looks_different_and_the_baseline_is_black():
    looks = styles.looks(19)
    assert looks[0].color == "#000000"
    assert len({(look.color, look.pattern) for look in looks}) == 19
    assert styles.looks(3) == looks[:3]


def test_labels_drop_what_all_share_break_long_names_and_stay_different():
    assert styles.labels(["loss=a", "loss=b:x=1"]) == ["a", "b:x=1"]
    assert styles.labels(["loss=a", "sampler=b"]) == ["loss=a", "sampler=b"]
    assert styles.labels(["loss=a"]) == ["loss=a"]
    assert styles.labels(["a", "b"], [False, True]) == ["a", "b †"]
    long = "x" * 200
    first, second = styles.labels([long, long + "y" + "x" * 40])
    assert first != second
    assert all(len(line) <= styles.LINE + 4 for line in f"{first}\n{second}".split("\n"))
    broken = styles.labels(["loss=focal:gamma=2 class_weights=effective:beta=0.999", "other"])
    assert broken[0] == "loss=focal:gamma=2\nclass_weights=effective:beta=0.999"
    assert styles.labels(["a$b$"]) == [r"a\$b\$"]


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0004, "p < 0.001"),
        (0.0123, "p = 0.012"),
        (0.04999, "p < 0.050"),
        (0.05, "p = 0.050"),
        (0.0504, "p = 0.050"),
        (0.234, "p = 0.23"),
        (1.0, "p = 1.00"),
    ],
)
def test_a_p_value_below_5_percent_never_reads_as_5_percent(p, text):
    assert p_text(p) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6131, "0.613"),
        (0.0, "0"),
        (2.345, "2.35"),
        (23.45, "23.4"),
        (1234.5, "1,234"),
        (23_456, "23.5k"),
        (123_456, "123k"),
        (126_000_513, "126M"),
        (4.1e9, "4.1G"),
        (-0.5, "-0.500"),
        (100, "100"),
        (999.9, "1,000"),
        (999_900, "1M"),
    ],
)
def test_numbers_are_written_in_few_letters(value, text):
    assert styles.short_number(value) == text


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_curves_have_a_line_and_a_band_per_configuration(count, classes, saved):
    steps = np.arange(1.0, 9)
    bands = {
        index: compare.Band(steps, steps / 9 + index, steps / 9, steps / 8)
        for index in range(count)
    }
    curves = {"val/loss": bands, "train/loss": {0: bands[0]}, "train/accuracy": bands}
    figure = compare.training_curves_compared(curves, configurations(count))
    assert [len(axes.get_lines()) for axes in figure.axes] == [count, 1, count, 0]
    assert len(figure.legends[0].get_texts()) == count
    saved(figure)


def test_curves_of_one_epoch_are_points(saved):
    band = compare.Band(*np.ones((4, 1)))
    figure = compare.training_curves_compared({"val/loss": {0: band}}, ["a"])
    assert figure.axes[0].get_lines()[0].get_marker() == "o"
    saved(figure)


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_bars_carry_means_intervals_and_each_seed(count, classes, saved, laid_out):
    mean = np.linspace(0.2, 0.8, count)
    bars = compare.Bars(mean, mean - 0.1, mean + 0.2, [np.array([m - 0.05, m]) for m in mean])
    unknown = compare.Bars(*np.full((3, count), np.nan), [np.array([])] * count)
    figure = compare.headline_bars({"accuracy": bars, "f1": unknown}, configurations(count))
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
    names = styles.labels(["a", "b", "c", "d"], [False, False, True, False])
    figure = compare.differences_to_baseline(
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
    assert figure.get_supxlabel() == styles.FOOTNOTE
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


@pytest.mark.parametrize("difference", [0.0, np.nan])
def test_differences_without_a_test_or_of_nothing_are_drawn(difference, saved):
    nan = np.full(1, np.nan)
    figure = compare.differences_to_baseline(np.array([difference]), nan, nan, nan, ["a"], "title")
    saved(figure)


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_costs_stand_on_a_logarithmic_axis_with_plain_numbers(count, classes, saved):
    macs = np.geomspace(4e7, 4e9, count)
    same = np.full(count, 3.0)
    mean = np.linspace(0.3, 0.6, count)
    figure = compare.metric_against_costs(
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


def shares_of(classes):
    return np.full((classes, classes), 1 / classes)


@pytest.mark.parametrize(("count", "classes"), SIZES)
def test_confusion_cells_are_as_many_as_configurations(count, classes, saved, names_of, laid_out):
    shares = [shares_of(classes) for _ in range(count)]
    shares[0][0] = np.nan
    names = configurations(count)
    figure = panels.confusion_panel(shares, [0.5] * count, names, names_of(classes))
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
    figure = panels.cluster_panel(
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
    figure = panels.recall_compared(counts, recalls, names, names_of(classes))
    lines = figure.axes[0].get_lines()
    assert len(lines) == count
    assert len(lines[0].get_ydata()) == (classes if classes <= 20 else panels.FREQUENCY_BINS)
    if classes == 5:
        np.testing.assert_allclose(lines[1].get_ydata(), recalls[1][::-1])
    if classes == 102:
        assert lines[1].get_ydata()[0] == pytest.approx(recalls[1][-11:].mean())
    saved(figure)


def test_the_heat_map_is_darker_where_better_whichever_way_that_is(saved, laid_out):
    values = np.array([[0.1, 0.5, 0.9], [0.1, 0.5, 0.9], [1, 2, 3], [4, 4, np.nan]])
    figure = profiles.metrics_heatmap(
        values, [1, -1, 0, 1], ["accuracy", "loss", "epoch", "f1"], ["a", "b", "c"]
    )
    axes = figure.axes[0]
    colors = axes.images[0].get_array().filled(np.nan)
    assert (np.diff(colors[0]) > 0).all()
    assert (np.diff(colors[1]) < 0).all()
    assert np.isnan(colors[2]).all()
    assert colors[3, 0] == colors[3, 1]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "accuracy ↑",
        "loss ↓",
        "epoch",
        "f1 ↑",
    ]
    assert axes.texts[-1].get_text() == "–"
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


@pytest.mark.parametrize("count", [1, 16])
def test_the_heat_map_holds_all_its_texts(count, saved, laid_out):
    names = [f"test_calibration/a_rather_long_name_{index}" for index in range(20)]
    values = np.random.default_rng(0).random((20, count)) * 10.0 ** (np.arange(20) % 10)[:, None]
    figure = profiles.metrics_heatmap(values, [1] * 20, names, configurations(count))
    saved(figure)
    assert texts_inside(figure, laid_out(figure))


def test_the_radar_closes_its_rings_and_starts_at_zero(saved):
    values = np.array([[0.5, 0.6, 0.7], [0.1, np.nan, 0.4]])
    figure = profiles.radar(values, ["x", "y", "z"], ["first", "second"], np.array([4, 0]))
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [0.5, 0.6, 0.7, 0.5])
    assert axes.get_lines()[1].get_color() == "#000000"
    assert axes.get_ylim()[0] == 0
    saved(figure)
