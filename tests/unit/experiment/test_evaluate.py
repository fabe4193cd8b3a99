import dataclasses

import numpy as np
import pytest
import torch

from imbalance_study.config import resolve
from imbalance_study.evaluation import bootstrap, metrics
from imbalance_study.experiment import evaluate
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.models import checkpoint
from imbalance_study.training.best_epoch import cpu_state
from imbalance_study.training.predict import predict


def test_without_the_test_set_a_run_says_what_its_kept_weights_predict_for_validation():
    config = resolve.make(
        dataset="digits",
        model="small_nets:conv",
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


@pytest.fixture
def two_epochs(make_setup, make_stage, make_model):
    """A run whose first epoch is kept: its weights, and others in the model now."""
    kept = cpu_state(make_model(seed=5))
    setup = make_setup()
    return setup, make_stage(setup, best_epoch=1, best=kept), kept


def _accuracy(setup, state):
    setup.model.load_state_dict(state)
    found = predict(setup.model, setup.parts.test, setup.procedure.normalise)
    return metrics.quick_metrics(found.targets, found.logits.argmax(1), 3)["accuracy"]


def test_the_kept_epoch_and_the_last_one_each_predict_the_test_set(two_epochs, tmp_path):
    setup, stage, kept = two_epochs
    last = cpu_state(setup.model)
    result = evaluate.evaluate_on_test(setup, setup.parts.test, [stage], tmp_path, draw=False)
    assert all(torch.equal(value, kept[name]) for name, value in result.model.state_dict().items())
    assert not result.model.training
    assert result.metrics["test/accuracy"] == pytest.approx(_accuracy(setup, kept))
    assert result.metrics["test_last/accuracy"] == pytest.approx(_accuracy(setup, last))
    assert result.metrics["selected_val/accuracy"] == 0.1
    assert result.metrics["selected_val/epoch"] == 1
    assert result.metrics["train/steps"] == 6
    assert result.figures == {}
    assert list(result.tables) == ["posthoc"]


def test_the_checkpoints_hold_weights_epoch_config_and_facts(two_epochs, tmp_path):
    setup, stage, kept = two_epochs
    result = evaluate.evaluate_on_test(setup, setup.parts.test, [stage], tmp_path, draw=False)
    assert set(result.checkpoints) == {"best", "last"}
    content = checkpoint.load(tmp_path / "best.pt")
    assert list(content) == ["model", "epoch", "config", "facts"]
    assert content["epoch"] == 1
    assert content["facts"] == setup.facts.to_dict()
    assert content["config"]["model"] == setup.config.model
    assert all(torch.equal(value, kept[name]) for name, value in content["model"].items())
    assert checkpoint.load(tmp_path / "last.pt")["epoch"] == 2


def test_two_stages_have_a_score_and_a_checkpoint_of_the_first(make_setup, make_stage, tmp_path):
    setup = make_setup()
    first, second = make_stage(setup, epochs=1, best_epoch=1), make_stage(setup)
    result = evaluate.evaluate_on_test(setup, setup.parts.test, [first, second], tmp_path)
    assert "stage1_test/accuracy" in result.metrics
    assert checkpoint.load(result.checkpoints["stage1"])["epoch"] == 1
    assert {"training_curves", "sampled_classes", "posthoc_tau"} <= set(result.figures)


def test_on_validation_alone_nothing_is_predicted_or_written(two_epochs, tmp_path):
    setup, stage, kept = two_epochs
    unseen = dataclasses.replace(setup, parts=setup.parts._replace(test=None))
    result = evaluate.evaluate_on_validation(unseen, setup.parts.val, [stage])
    assert result.metrics["selected_val/accuracy"] == 0.1
    assert not any(name.startswith("test") for name in result.metrics)
    assert torch.equal(result.model.state_dict()["classifier.bias"], kept["classifier.bias"])


def test_the_context_of_the_analyses_follows_the_configuration(make_setup, make_stage):
    setup = make_setup(seed=3, data_seed=4, analyses="gradcam+pca", colormap="viridis")
    stage = make_stage(setup)
    test = predict(setup.model, setup.parts.test, setup.procedure.normalise, features=True)
    context = evaluate.context_of(setup, stage, test)
    assert (context.seed, context.data_seed) == (3, 4)
    assert context.wanted == {"gradcam", "pca"}
    assert context.heatmaps == ("auto", "viridis")
