import numpy as np
import pytest

from imbalance_study.studies.comparison import figures, grouping
from imbalance_study.studies.comparison.outcome import Curve, StoredEmbedding

METRIC = "test/balanced_accuracy"


@pytest.fixture
def group(outcome):
    """A function that groups runs of configurations, the first one as baseline."""

    def make(names, seeds=3, **fields):
        fields = {"images": 30} | fields
        given = [outcome(name, seed, **fields) for name in names for seed in range(seeds)]
        return grouping.group_outcomes(given, names[0], METRIC)

    return make


def test_a_figure_without_content_is_left_out(group):
    bare = group(["a", "b"], images=0, values={"balanced_accuracy": 0.5})
    assert set(figures.draw_figures(bare)) == {
        "comparison/headline",
        "comparison/differences",
        "comparison/all_metrics",
    }
    assert "comparison/differences" not in figures.draw_figures(group(["a"], seeds=1))


def test_a_band_covers_the_seeds_that_reached_an_epoch():
    long = Curve(np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0]))
    short = Curve(np.array([1, 2]), np.array([3.0, 2.0]))
    band = figures.band([long, short])
    assert band.steps.tolist() == [1, 2, 3]
    assert band.mean.tolist() == [2.0, 2.0, 3.0]
    assert band.high - band.mean == pytest.approx([np.sqrt(2), 0, 0])


def test_embeddings_of_the_same_images_are_shown_for_the_seed_that_most_runs_have(outcome):
    def embedding(first):
        indices = np.arange(first, first + 5)
        return StoredEmbedding(indices, np.arange(5) % 3, np.zeros((5, 2)))

    given = [
        outcome("a", 0, images=30, tsne=embedding(0)),
        outcome("a", 1, images=30, tsne=embedding(10)),
        outcome("b", 0, images=30, tsne=embedding(1)),  # other images
        outcome("b", 1, images=30, tsne=embedding(10)),
    ]
    seed, runs = figures.same_projection(grouping.group_outcomes(given, "a", METRIC))
    assert seed == 1
    assert [run.group.name for run in runs] == ["a", "b"]


def test_few_metrics_make_no_radar(group):
    bare = group(["a", "b"], images=0, values={"balanced_accuracy": 0.5})
    assert figures.radar(bare, figures.labels(bare)) is None
    whole = group(["a", "b"])
    assert figures.radar(whole, figures.labels(whole)) is not None


def test_the_heat_map_shows_what_the_tests_show(outcome):
    rows = {"ce": [0.5, 0.52, 0.51], "up": [0.6, 0.621, 0.612], "same": [0.5, 0.51, 0.53]}
    given = [
        outcome(name, seed, {"balanced_accuracy": value, "loss": value, "head_std": value})
        for name, row in rows.items()
        for seed, value in enumerate(row)
    ]
    given += [
        outcome("long", seed, {"balanced_accuracy": 0.9 + seed / 99}, epochs=9) for seed in range(3)
    ]
    grouped = grouping.group_outcomes(given, "ce", METRIC)
    image = figures.all_metrics(grouped, figures.labels(grouped)).axes[0].images[0]
    assert image.get_array().tolist() == [[0, 1, 0, 0], [0, -1, 0, 0], [0, 0, 0, 0]]


def test_equal_networks_are_drawn_against_the_training_alone(outcome):
    def drawn(macs):
        given = [
            outcome(
                name, 0, {"balanced_accuracy": 0.5, "cost/macs": amount, "cost/parameters": amount}
            )
            for name, amount in macs.items()
        ]
        grouped = grouping.group_outcomes(given, "a", METRIC)
        axes = figures.costs(grouped, figures.labels(grouped)).axes
        return [one.get_xlabel() for one in axes]

    assert drawn({"a": 5.0, "b": 5.0}) == ["training, s"]
    assert drawn({"a": 5.0, "b": 9.0}) == ["multiply-accumulates of an image", "training, s"]
