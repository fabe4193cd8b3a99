import numpy as np
import pytest
from sklearn import decomposition
from sklearn import metrics as reference

from imbalance_study.evaluation import embedding


def clusters(per_class=20, num_classes=3, width=8, distance=20.0, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(num_classes, width))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    targets = np.arange(num_classes).repeat(per_class)
    return centres[targets] + generator.normal(size=(len(targets), width)), targets


def test_the_sample_takes_equally_many_of_each_class_and_all_of_a_small_one():
    targets = np.array([0] * 500 + [1] * 300 + [2] * 10)
    chosen = embedding.balanced_sample(targets, np.random.default_rng(0), count=110)
    assert np.bincount(targets[chosen]).tolist() == [50, 50, 10]
    assert (np.diff(chosen) > 0).all()


def test_the_sample_of_a_small_set_is_the_whole_set():
    chosen = embedding.balanced_sample(np.array([1, 0, 1]), np.random.default_rng(0))
    assert chosen.tolist() == [0, 1, 2]


def test_principal_components_are_those_of_scikit_learn():
    features, _ = clusters()
    found = embedding.principal_components(features, 3)
    theirs = decomposition.PCA(3).fit(features)
    np.testing.assert_allclose(found.explained, theirs.explained_variance_ratio_)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(theirs.transform(features)))
    largest = np.abs(found.coordinates).argmax(0)
    assert (found.coordinates[largest, range(3)] > 0).all()


@pytest.mark.parametrize(
    "features",
    [
        np.ones((20, 8)),
        np.random.default_rng(0).normal(size=(3, 8)),
        np.random.default_rng(0).normal(size=(2, 8)),
        np.random.default_rng(0).normal(size=(1, 8)),
        np.random.default_rng(0).normal(size=(12, 1)),
        np.vstack([np.zeros((9, 8)), np.ones((1, 8))]),
        np.where(np.arange(40).reshape(10, 4) == 7, np.inf, 1.0),
    ],
    ids=["constant", "3 samples", "2 samples", "1 sample", "1 feature", "2 points", "infinite"],
)
def test_degenerate_features_are_projected_to_finite_points(features):
    found, explained = embedding.project(features, 0, methods=("pca", "tsne"))
    for points in found.values():
        assert points.shape == (len(features), 2)
        assert np.isfinite(points).all()
    assert np.isfinite(explained).all()
    assert explained.sum() == pytest.approx(0 if np.ptp(features) == 0 or len(features) < 2 else 1)


def test_tsne_keeps_clusters_together_and_repeats_itself():
    features, targets = clusters()
    found, _ = embedding.project(features, 3, methods=("tsne",))
    again, _ = embedding.project(features, 3, methods=("tsne",))
    np.testing.assert_array_equal(found["tsne"], again["tsne"])
    assert reference.silhouette_score(found["tsne"], targets) > 0.5


@pytest.mark.slow
def test_umap_after_the_warm_up_keeps_clusters_together_and_takes_degenerate_sets():
    embedding.warm_up_umap().join()
    features, targets = clusters()
    found, explained = embedding.project(features, 0)
    assert list(found) == ["pca", "tsne", "umap"]
    assert reference.silhouette_score(found["umap"], targets) > 0.5
    again, _ = embedding.project(features, 0, methods=("umap",))
    np.testing.assert_array_equal(found["umap"], again["umap"])
    assert explained.shape == (50,)
    for few in (np.ones((20, 8)), features[:4], features[:3], features[:1]):
        points, _ = embedding.project(few, 0, methods=("umap",))
        assert points["umap"].shape == (len(few), 2)
        assert np.isfinite(points["umap"]).all()


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match="some of pca, tsne, umap, got lda"):
        embedding.project(np.ones((3, 3)), 0, methods=("pca", "lda"))


def test_the_separation_is_that_of_scikit_learn():
    features, targets = clusters(distance=3.0)
    found = embedding.separation_metrics(features, targets)
    assert found["silhouette"] == pytest.approx(reference.silhouette_score(features, targets))
    assert found["davies_bouldin"] == pytest.approx(
        reference.davies_bouldin_score(features, targets)
    )
    assert found["calinski_harabasz"] == pytest.approx(
        reference.calinski_harabasz_score(features, targets)
    )


@pytest.mark.parametrize(
    ("features", "targets"),
    [
        (np.ones((6, 3)), [0, 0, 0, 1, 1, 1]),
        (np.arange(12).reshape(4, 3), [2, 2, 2, 2]),
        (np.arange(6).reshape(2, 3), [0, 1]),
    ],
    ids=["constant", "one class", "one sample a class"],
)
def test_the_separation_of_degenerate_sets_is_undefined(features, targets):
    found = embedding.separation_metrics(features, np.array(targets))
    assert np.isnan(found["silhouette"])
    assert np.isnan(found["davies_bouldin"])
    assert np.isnan(found["calinski_harabasz"])


def test_the_nearest_class_mean_leaves_the_sample_itself_out():
    features, targets = clusters(per_class=4, num_classes=4, distance=2.0)
    right = []
    for index in range(len(targets)):
        others = np.arange(len(targets)) != index
        means = [features[others & (targets == label)].mean(0) for label in range(4)]
        distances = np.linalg.norm(np.array(means) - features[index], axis=1)
        right.append(distances.argmin() == targets[index])
    assert 0 < np.mean(right) < 1
    found = embedding.nearest_class_mean_accuracy(features, targets)
    assert found == pytest.approx(np.mean(right))


def test_the_only_sample_of_a_class_counts_as_wrong():
    features = np.array([[0.0], [1.0], [100.0]])
    found = embedding.nearest_class_mean_accuracy(features, np.array([0, 0, 1]))
    assert found == pytest.approx(2 / 3)


def test_norm_and_spread_of_each_class_by_hand():
    features = np.array([[3.0, 4.0], [3.0, -4.0], [0.0, 2.0]])
    table = embedding.class_spread(features, np.array([0, 0, 2]), ["a", "b", "c"])
    assert table["class"] == ["a", "b", "c"]
    assert table["images"] == [2, 0, 1]
    assert table["mean_norm"] == pytest.approx([5, np.nan, 2], nan_ok=True)
    assert table["spread"] == pytest.approx([4, np.nan, 0], nan_ok=True)
