import io

import numpy as np
import pytest
from PIL import Image
from tiny import SMALLEST, train

from imbalance_study.studies.comparison.load import load_outcome, load_pictures

OPTIONS = SMALLEST | {"epochs": "2", "loss": "balanced_softmax", "seed": "1"}


@pytest.fixture
def record(tmp_path, empty_store):
    """Train and record a small run; what was computed, its client and its id."""

    def recorded(analyses, **more):
        options = OPTIONS | {"analyses": analyses} | more
        made = train(empty_store, tmp_path, brief=True, **options)
        return made.result, made.client, made.run_id

    return recorded


def test_what_is_read_back_is_what_was_computed(record):
    result, client, run_id = record("predictions+pca+tsne")
    found = load_outcome(client, run_id, "a label")
    assert (found.run_id, found.configuration, found.seed) == (run_id, "a label", 1)
    for name, value in result.metrics.items():
        assert found.metrics[name] == pytest.approx(value), name
    assert found.fingerprint == result.data.fingerprint["fingerprint"]
    assert found.class_names == result.data.image_set.class_names
    np.testing.assert_array_equal(found.train_counts, result.data.class_counts)
    assert found.params["loss"] == "balanced_softmax"
    assert (found.epochs, found.steps, found.images_seen) == (2, 6, 192)
    assert found.seconds == pytest.approx(result.fit.seconds)
    for name in ("train/loss", "val/balanced_accuracy"):
        curve = found.curves[name]
        assert curve.steps.tolist() == [1, 2]
        assert curve.values == pytest.approx([epoch.metrics[name] for epoch in result.history])
    np.testing.assert_array_equal(found.test.indices, result.data.split.test)
    np.testing.assert_array_equal(found.test.targets, result.test.targets)
    hits = np.mean(found.test.probs.argmax(1) == found.test.targets)
    assert hits == pytest.approx(result.metrics["test/accuracy"])
    columns = result.analysis.frames["features/coordinates"]
    np.testing.assert_array_equal(found.tsne.indices, columns["index"])
    np.testing.assert_allclose(found.tsne.points[:, 1], columns["tsne_2"])


def test_what_the_analyses_left_out_is_missing(record):
    _, client, run_id = record("pca")
    found = load_outcome(client, run_id, "a label")
    assert found.test is None
    assert found.tsne is None


def test_the_images_of_the_epochs_are_read_small_and_in_order(record):
    _, client, run_id = record("none", figure_every="1")
    found = load_pictures(client, run_id)
    assert list(found) == [0, 1, 2]
    with Image.open(io.BytesIO(found[2])) as image:
        assert image.format == "WEBP"
        assert max(image.size) <= 640


def test_without_images_of_epochs_there_are_none(record):
    _, client, run_id = record("none")
    assert load_pictures(client, run_id) == {}
