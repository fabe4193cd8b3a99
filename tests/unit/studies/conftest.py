import numpy as np
import pytest

from imbalance_study.evaluation import metrics
from imbalance_study.evaluation.calibration import negative_log_likelihood
from imbalance_study.studies.comparison.outcome import (
    Curve,
    Outcome,
    StoredEmbedding,
    StoredPredictions,
)


@pytest.fixture(scope="session")
def outcome():
    """A function that makes a finished run; with images, its metrics are those of predictions."""

    def make(configuration, seed, values=None, images=0, classes=3, skill=1.0, **fields):
        names = tuple(f"class {label}" for label in range(classes))
        counts = np.maximum(90 // (np.arange(classes) + 1), 1)
        found = {}
        if images:
            fields = _looked_at(configuration, seed, images, counts, skill) | fields
            test = fields["test"]
            loss = negative_log_likelihood(test.targets, test.probs)
            scores = metrics.classification_metrics(test.targets, test.probs, counts, loss)
            found = metrics.prefixed(scores, "test")
        given = {
            f"test/{name}" if "/" not in name else name: value
            for name, value in (values or {}).items()
        }
        whole = {
            "class_names": names,
            "train_counts": counts,
            "fingerprint": "same",
            "epochs": 5,
            "images_seen": 1000,
            "steps": 50,
            "seconds": 10.0,
        } | fields
        return Outcome(
            f"run-{configuration}-{seed}",
            configuration,
            seed,
            found | given,
            whole.pop("curves", {}),
            **whole,
        )

    return make


def _looked_at(configuration, seed, images, counts, skill):
    generator = np.random.default_rng([seed, *configuration.encode()])
    classes = len(counts)
    targets = np.arange(images) % classes
    logits = generator.normal(size=(images, classes))
    logits[np.arange(images), targets] += skill
    probs = np.exp(logits)
    probs /= probs.sum(1, keepdims=True)
    indices = np.arange(images) + 7
    epochs = np.arange(1, 6)
    return {
        "test": StoredPredictions(indices, targets, probs.astype(np.float32)),
        "tsne": StoredEmbedding(indices, targets, generator.normal(size=(images, 2))),
        "curves": {"val/loss": Curve(epochs, generator.random(5))},
    }
