import numpy as np
import pytest

from imbalance_study.config import resolve
from imbalance_study.evaluation import bootstrap, metrics
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.training.predict import predict


def test_without_the_test_set_a_run_says_what_its_kept_weights_predict_for_validation():
    config = resolve.make(
        dataset="digits",
        model="resnet20",
        image_size=8,
        epochs=4,
        lr=0.3,
        schedule="constant",
        validation="balanced:per_class=10",
        select_by="val/balanced_accuracy",
    )
    result = experiment.run_without_test(config, show_progress=False)
    assert result.fit.best_epoch < 4  # else any epoch's metrics would do
    val = batches_of(result.data, "val", config, result.setup.device_setup.device)
    found = predict(result.model, val, result.procedure.normalise)
    predictions = found.logits.argmax(1)
    scores = metrics.quick_metrics(found.targets, predictions, 10)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert result.metrics[f"selected_val/{name}"] == pytest.approx(scores[name]), name
    error = bootstrap.standard_error_of_balanced_accuracy(found.targets, predictions, 10)
    assert result.metrics["selected_val/balanced_accuracy_standard_error"] == pytest.approx(error)
    assert np.isfinite(error)
    assert result.metrics["selected_val/epoch"] == result.fit.best_epoch
