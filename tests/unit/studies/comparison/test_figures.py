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
