import io
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tiny import train

from imbalance_study.tracking import artifacts

OPTIONS = {
    "image_size": "8",
    "epochs": "2",
    "analyses": "predictions+intervals+confusion+errors+pca+gradcam",
    "figure_every": "2",
}


@pytest.fixture(scope="module")
def left(tmp_path_factory, make_store):
    """A run, its record, and the folder of what it left."""
    folder = tmp_path_factory.mktemp("store")
    made = train(make_store(folder), folder, **OPTIONS)
    place = Path(made.client.download_artifacts(made.run_id, "", str(folder)))
    return made.result, made.record, place, made.store


def test_the_test_predictions_are_a_parquet_file_that_gives_the_accuracy_again(left):
    result, record, place, _ = left
    frame = pd.read_parquet(place / "predictions" / "test.parquet")
    assert len(frame) == len(result.data.split.test)
    assert list(frame.columns[:5]) == ["index", "file", "label", "prediction", "confidence"]
    right = (frame.label == frame.prediction).mean()
    assert right == pytest.approx(record.data.metrics["test/accuracy"])
    probs = frame[[f"p_{name}" for name in result.data.image_set.class_names]].to_numpy()
    np.testing.assert_array_equal(probs.argmax(1), frame.prediction)
    np.testing.assert_allclose(probs.max(1), frame.confidence, atol=1e-6)


def test_coordinates_are_a_parquet_file(left):
    _, _, place, _ = left
    frame = pd.read_parquet(place / "features" / "coordinates.parquet")
    assert {"index", "file", "label", "prediction", "pca_1", "pca_2"} <= set(frame.columns)


def test_tables_are_where_the_ui_shows_them(left):
    result, record, _, store = left
    mlflow.set_tracking_uri(store)
    assert "mlflow.loggedArtifacts" in record.data.tags
    for name, columns in result.tables.items():
        assert name in record.data.tags["mlflow.loggedArtifacts"]
        table = mlflow.MlflowClient().load_table(
            record.info.experiment_id, f"{name}.json", run_ids=[record.info.run_id]
        )
        assert list(table.columns) == list(columns)
        assert len(table) == len(next(iter(columns.values())))


def test_every_figure_is_there_in_full_size_and_overlays_by_themselves(left):
    result, _, place, _ = left
    for name in result.figures:
        with Image.open(place / "figures" / f"{name}.png") as image:
            assert max(image.size) <= 2400
    assert (place / "figures" / "augmented_samples.png").exists()
    for name, overlay in result.analysis.overlays.items():
        with Image.open(place / "figures" / "overlays" / f"{name}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), overlay)
    kinds = {name.partition("/")[0] for name in result.analysis.overlays}
    assert "gradcam_errors" in kinds


def test_the_image_grid_has_few_keys_and_begins_at_step_0(left):
    _, _, place, _ = left
    steps = {}
    for path in (place / "images").glob("*.png"):
        key, _, step, *_ = path.name.split("+")
        steps.setdefault(key.replace("~", "/"), set()).add(int(step))
    assert steps == {
        "images/val_predictions": {0, 2},
        "images/val_gradcam": {0, 2},
        "images/confusion_matrix": {0},
        "images/misclassified": {0},
        "images/gradcam": {0},
        "images/features": {0},
    }


def test_both_ends_of_the_intervals_stand_in_the_description_and_the_headline_is_a_metric(left):
    result, record, place, _ = left
    interval = result.analysis.intervals["balanced_accuracy"]
    low = record.data.metrics["test_ci/balanced_accuracy_low"]
    assert low == pytest.approx(interval.low, rel=1e-6)  # rounded when it is logged
    assert f"{interval.low:.4f} to {interval.high:.4f}" in record.data.tags["mlflow.note.content"]
    metrics = mlflow.artifacts.load_dict((place / "metrics.json").as_uri())
    assert metrics["test_ci/macro_f1_high"] == result.analysis.intervals["macro_f1"].high
    assert len([name for name in record.data.metrics if name.startswith("test_ci/")]) == 2


def test_options_that_only_draw_are_no_params(left):
    _, record, _, _ = left
    assert not {"analyses", "figure_every", "colormap"} & set(record.data.params)


def test_a_large_figure_is_reduced_to_256_colours_and_a_small_one_is_not():
    def noise(side):
        figure = Figure(figsize=(side, side), dpi=100)
        pixels = np.random.default_rng(0).random((100 * side, 100 * side, 3))
        figure.figimage(pixels)
        return figure

    small, large = (Image.open(io.BytesIO(artifacts.png(noise(side), 100))) for side in (2, 6))
    assert small.mode == "RGBA"
    assert large.mode == "P"
    assert large.size == (600, 600)
    assert len(artifacts.png(noise(6), 100)) < 400_000
    photographs = Image.open(io.BytesIO(artifacts.png(noise(12))))
    assert photographs.size == (1200, 1200)  # and not 2400, which would be four times as large


def test_the_small_print_stands_below_the_figure_at_200_dots_per_inch():
    figure = Figure(figsize=(2, 1), dpi=100, facecolor="white")
    plain = Image.open(io.BytesIO(artifacts.png(figure)))
    assert plain.size == (400, 200)
    figure.set_label("digits · resnet20 · run 0123")
    signed = Image.open(io.BytesIO(artifacts.png(figure)))
    assert signed.width == 400
    foot = np.asarray(signed.convert("L"))[200:]
    assert 20 <= len(foot) <= 60
    assert (foot < 200).any()
    assert (np.asarray(signed.convert("L"))[:200] == 255).all()


def test_a_long_small_print_stays_in_the_figure():
    figure = Figure(figsize=(1, 1), dpi=100, facecolor="white")
    figure.set_label("a model with a name that is long " * 9)
    signed = np.asarray(Image.open(io.BytesIO(artifacts.png(figure))).convert("L"))
    assert signed.shape[1] == 200
    assert (signed[:, -1] == 255).all()
