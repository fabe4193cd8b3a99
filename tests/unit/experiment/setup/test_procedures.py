import math

import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.data import samplers
from imbalance_study.experiment.setup import procedures
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.inputs import load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.training import losses

EVERYTHING = {
    "class_weights": "balanced",
    "defer": 0.5,
    "mix": "mixup",
    "tail_augment": "trivial",
    "hard_fraction": 0.5,
    "ema": True,
    "label_smoothing": 0.1,
    "early_stopping": "val/loss:patience=3",
    "grad_clip": 2.0,
    "steps_per_epoch": 7,
}


def _first(**options):
    config = make(dataset="digits", model="resnet20", image_size=8, epochs=30, **options)
    inputs = load_inputs(config)
    with torch.random.fork_rng([]):
        model = build_model(inputs)
    return inputs, model, procedures.first(inputs, model, 0.1)


def test_of_the_first_stage_augmentation_and_the_size_of_the_updates_stay():
    inputs, model, first = _first(stage2="crt", **EVERYTHING)
    assert (first.defer, first.hard_fraction, first.ema_decay) == (0.5, 0.5, 0.999)
    assert first.mix is not None
    assert first.early_stopping is not None
    assert first.class_weights.max() > 2
    second = procedures.second(inputs, first, model, seconds=0.0)
    assert (second.defer, second.hard_fraction, second.ema_decay, second.supcon) == (0, 1, 0, 0)
    assert (second.mix, second.early_stopping) == (None, None)
    assert second.class_weights.tolist() == [1.0] * 10
    assert second.sampler is samplers.class_balanced
    assert second.loss is losses.cross_entropy
    for name in ("augment", "tail_augment", "normalise", "class_counts", "select_by", "precision"):
        assert getattr(second, name) is getattr(first, name), name
    assert (second.batch_size, second.steps_per_epoch, second.grad_clip) == (32, 7, 2.0)
    assert (first.stage, second.stage, second.epochs) == (1, 2, 10)


def test_only_the_head_is_trained():
    inputs, model, first = _first(stage2="las:lr=0.2,head_lr=0.5,weight_decay=0.01")
    second = procedures.second(inputs, first, model, seconds=0.0)
    head, factors = second.optimizer.param_groups
    assert {id(p) for p in head["params"]} == {
        id(p) for p in model.get_classifier().classifier.parameters()
    }
    assert [id(p) for p in factors["params"]] == [id(model.get_classifier().scale)]
    assert (head["weight_decay"], factors["weight_decay"], second.lr) == (0.01, 0.01, 0.2)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        "classifier.scale",
        "classifier.classifier.weight",
        "classifier.classifier.bias",
    }


@pytest.mark.parametrize(
    ("stage2", "epochs"), [("none", 30), ("crt", 40), ("lws:epochs=3", 33), ("las:lr=1", 40)]
)
def test_the_epochs_of_both_stages_are_counted(stage2, epochs):
    config = make(dataset="digits", epochs=30, stage2=stage2)
    assert procedures.all_epochs(config, bind(config)) == epochs


def test_the_stages_share_the_time_by_their_epochs():
    inputs, model, first = _first(stage2="crt:epochs=10", max_minutes=4)
    assert first.max_seconds == pytest.approx(180)
    assert procedures.second(inputs, first, model, 50.0).max_seconds == pytest.approx(190)
    _, _, alone = _first(max_minutes=4)
    assert (alone.max_seconds, alone.stage) == (240, 0)
    inputs, model, first = _first(stage2="crt")
    assert first.max_seconds == math.inf
    assert procedures.second(inputs, first, model, 50.0).max_seconds == math.inf


def test_after_a_sigmoid_or_cosine_loss_the_second_stage_has_a_softmax():
    for loss in ("sigmoid", "ldam"):
        inputs, model, first = _first(loss=loss, stage2="crt")
        second = procedures.second(inputs, first, model, 0.0)
        logits = torch.tensor([[1.0, -2.0, 0.5]])
        assert torch.equal(second.probabilities(logits), logits.softmax(1))
        assert not torch.equal(first.probabilities(logits), logits.softmax(1))
