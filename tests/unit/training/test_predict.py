import numpy as np
import pytest
import torch
from torch import nn

from imbalance_study.data.loader import Batches
from imbalance_study.models.classifier import Classifier
from imbalance_study.training.predict import (
    Predictions,
    predict,
    summary,
)

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(11) % 3
COUNTS = np.array([3, 2])


def _model():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        body = (nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.9), nn.Flatten())
        return Classifier(nn.Sequential(*body, nn.Linear(20, 3)), image_size=4)


def _batches(rows, resident=True):
    return Batches(IMAGES, LABELS, np.asarray(rows), CPU, resident=resident)


def _normalise(images):
    return images.float() / 255


@pytest.mark.parametrize("resident", [True, False])
def test_predictions_are_in_the_order_of_the_part(resident):
    model, rows = _model(), [7, 0, 10, 3, 4]
    found = predict(model, _batches(rows, resident), _normalise, features=True, batch_size=2)
    inputs = torch.from_numpy(IMAGES[rows]).permute(0, 3, 1, 2).float() / 255
    model.eval()
    with torch.no_grad():
        features = model.forward_features(inputs)
        logits = model.forward_head(features)
    np.testing.assert_allclose(found.features, features, atol=1e-6)
    np.testing.assert_allclose(found.logits, logits, atol=1e-6)
    assert found.targets.tolist() == LABELS[rows].tolist()


def test_features_are_left_out_unless_asked_for():
    found = predict(_model(), _batches(range(11)), _normalise)
    assert found.features.shape == (11, 0)
    assert found.logits.shape == (11, 3)


@pytest.mark.parametrize("training", [True, False])
def test_predicting_leaves_the_model_as_it_was(training):
    model = _model().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = predict(model, _batches(range(11)), _normalise)
    second = predict(model, _batches(range(11)), _normalise)
    np.testing.assert_array_equal(first.logits, second.logits)  # no dropout
    assert model.training is training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_logits_and_features_are_float32_in_low_precision_too():
    full = predict(_model(), _batches(range(11)), _normalise, features=True)
    low = predict(_model(), _batches(range(11)), _normalise, "bf16", features=True)
    assert low.logits.dtype == low.features.dtype == np.float32
    assert not np.array_equal(low.logits, full.logits)
    np.testing.assert_allclose(low.logits, full.logits, atol=0.05)


def test_the_summary_looks_at_the_probabilities_not_at_the_logits():
    logits = np.array([[2, 0], [1, 0], [0, 1], [3, 0]], dtype=np.float32)
    found = Predictions(logits, np.empty((4, 0), "f4"), np.array([0, 0, 1, 1]))
    metrics, recall = summary(found, lambda z: z.softmax(1), COUNTS)
    assert recall.tolist() == [1.0, 0.5]
    assert (metrics["accuracy"], metrics["balanced_accuracy"]) == (0.75, 0.75)
    metrics, recall = summary(found, lambda z: (-z).softmax(1), COUNTS)
    assert recall.tolist() == [0.0, 0.5]
    right = np.exp(-logits) / np.exp(-logits).sum(1, keepdims=True)
    expected = -np.log(right[np.arange(4), found.targets]).mean()
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)


class _Roomy(nn.Module):
    """Holds a few images at a time, as a GPU does."""

    def __init__(self, room):
        super().__init__()
        self.room, self.asked = room, []

    def forward(self, images):
        self.asked.append(len(images))
        if len(images) > self.room:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
        return images


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    model, rows = _model(), range(11)
    plain = predict(model, _batches(rows), _normalise)
    roomy = _Roomy(3)
    model.backbone = nn.Sequential(roomy, model.backbone)
    model.train()
    found = predict(model, _batches(rows), _normalise, batch_size=8)
    np.testing.assert_allclose(found.logits, plain.logits, atol=1e-6)
    assert roomy.asked == [8, 4, 2, 2, 2, 2, 2, 1]
    assert model.training
    roomy.room = 0
    with pytest.raises(RuntimeError, match="ALLOC_FAILED"):
        predict(model, _batches(rows), _normalise, batch_size=8)
