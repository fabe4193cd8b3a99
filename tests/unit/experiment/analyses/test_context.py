import numpy as np
import torch

from imbalance_study.experiment.analyses.context import AnalysisResult, HeatmapOptions
from imbalance_study.training.predict import Predictions


def test_probabilities_predictions_and_confusion_are_those_of_the_logits(make_context):
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2]], np.float32))
    test = Predictions(logits, np.empty((3, 0), "f4"), np.array([0, 1, 1]))
    context = make_context(test=test)
    np.testing.assert_allclose(context.probs, np.exp(logits), rtol=1e-6)
    assert context.predictions.tolist() == [0, 2, 1]
    assert context.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_positions_lead_to_rows_images_files_and_an_identity(make_context):
    context = make_context()
    positions = np.array([3, 0])
    rows = context.data.split.test[positions]
    assert context.rows(positions).tolist() == rows.tolist()
    np.testing.assert_array_equal(context.images(positions), context.data.image_set.images[rows])
    assert context.files(positions) == [context.data.image_set.files[row] for row in rows]
    found = context.identity(positions)
    assert found["label"].tolist() == [0, 0]
    np.testing.assert_allclose(found["confidence"], context.probs[positions].max(1))


def test_draws_depend_on_purpose_and_seed_of_the_run_or_of_the_data(make_context):
    def draw(purpose="x", *, by_data=False, **seeds):
        return make_context(**seeds).generator(purpose, by_data=by_data).integers(2**40)

    assert draw(seed=1) == draw(seed=1, data_seed=5)
    assert draw(seed=1) != draw(seed=2)
    assert draw(seed=1) != draw("y", seed=1)
    assert draw(by_data=True, seed=1) == draw(by_data=True, seed=2)
    assert draw(by_data=True, data_seed=1) != draw(by_data=True, data_seed=2)


def test_findings_are_added_without_metrics_that_are_not_finite():
    found = AnalysisResult({"a": 1.0}, notes=["first"], figures={"x": 1})
    found.add(AnalysisResult({"a": 2.0, "b": float("nan")}, notes=["second"], figures={"y": 2}))
    assert found.metrics == {"a": 2.0}
    assert found.notes == ["first", "second"]
    assert found.figures == {"x": 1, "y": 2}


def test_heat_maps_follow_the_configuration(make_setup):
    config = make_setup(analyses="gradcam", gradcam_layers="all", colormap="viridis").config
    assert HeatmapOptions.of(config) == ("all", "viridis")
    assert torch.is_tensor(make_setup().procedure.class_counts)
