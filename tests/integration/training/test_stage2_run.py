"""Runs of two stages, from Config to result.

The learning rate of the first stage is next to nothing, so that only its batch-norm statistics
move, the validation loss rises, and the kept epoch, the first, differs from the last one.
"""

import math

import numpy as np
import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup import seeding
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import batches_of
from imbalance_study.models import checkpoint
from imbalance_study.training.predict import predict

SMALL = {
    "dataset": "digits",
    "model": "small_nets:conv:width=64",
    "image_size": 8,
    "epochs": 2,
    "lr": 1e-9,
    "select_by": "val/loss",
    "analyses": "none",
}


def _run(folder, draw=False, **options):
    seen = []
    config = make(**SMALL | options)
    result = experiment.run(config, seen.append, output_dir=folder, show_progress=False, draw=draw)
    return result, seen


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run and its epochs for each stage, made when first asked for."""
    made = {}

    def run(stage2):
        if stage2 not in made:
            made[stage2] = _run(tmp_path_factory.mktemp("run"), draw=True, stage2=stage2)
        return made[stage2]

    return run


CRT, LWS, LAS, SHIFTED = (
    "crt:epochs=2",
    "lws:epochs=1",
    "las:epochs=1",
    "las:epochs=1,shift_bn=true",
)
each_stage = pytest.mark.parametrize("stage2", [CRT, LWS, LAS])


def _weights(result, name):
    return checkpoint.load(result.checkpoints[name])["model"]


def _untimed(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


@each_stage
def test_the_features_are_those_of_the_kept_epoch_of_the_first_stage_bit_by_bit(runs, stage2):
    result, _ = runs(stage2)
    first = _weights(result, "stage1")
    assert checkpoint.load(result.checkpoints["stage1"])["epoch"] == 1
    backbone = [name for name in first if name.startswith("backbone.")]
    assert sum(name.endswith("running_var") for name in backbone) == 1
    for kept in ("best", "last"):
        after = _weights(result, kept)
        for name in backbone:
            assert torch.equal(first[name], after[name]), name


def test_shifted_batch_norm_moves_its_statistics_and_nothing_else(runs):
    result, _ = runs(SHIFTED)
    first, after = _weights(result, "stage1"), _weights(result, "last")
    for name, value in first.items():
        if name.startswith("backbone."):
            moves = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
            assert torch.equal(value, after[name]) is not moves, name


def test_a_retrained_classifier_is_a_new_one(runs):
    result, _ = runs(CRT)
    first, after = _weights(result, "stage1"), _weights(result, "best")
    assert first.keys() == after.keys()
    # Both heads start small and random: what only goes on learning stays close to its start.
    cosine = torch.cosine_similarity(
        first["classifier.weight"].flatten(), after["classifier.weight"].flatten(), dim=0
    )
    assert abs(cosine) < 0.5


def test_the_new_classifier_is_drawn_from_a_seed_of_its_own(tmp_path):
    result, _ = _run(tmp_path, seed=3, stage2="crt:epochs=1,lr=1e-12")
    with torch.random.fork_rng([]):
        torch.manual_seed(seeding.seeds(3)("stage2/weights"))
        drawn = torch.nn.Linear(64, 10)
    torch.testing.assert_close(_weights(result, "best")["classifier.weight"], drawn.weight.detach())


def test_learnable_weight_scaling_moves_the_factors_alone(runs):
    result, _ = runs(LWS)
    first, after = _weights(result, "stage1"), _weights(result, "best")
    for name in ("weight", "bias"):
        assert torch.equal(first[f"classifier.{name}"], after[f"classifier.classifier.{name}"])
    assert (after["classifier.scale"] != 1).all()


def test_label_aware_smoothing_moves_the_head_of_the_first_stage_and_its_factors(runs):
    result, _ = runs(LAS)
    first, after = _weights(result, "stage1"), _weights(result, "best")
    before, now = first["classifier.weight"], after["classifier.classifier.weight"]
    assert not torch.equal(before, now)
    assert torch.cosine_similarity(before.flatten(), now.flatten(), dim=0) > 0.7
    assert (after["classifier.scale"] != 1).all()


@each_stage
def test_the_second_stage_shows_the_classes_equally_often(runs, stage2):
    result, _ = runs(stage2)
    counts = result.data.class_counts
    assert (result.history[0].drawn == counts).all()
    drawn = sum(epoch.drawn for epoch in result.history[2:])
    expected = drawn.sum() / 10
    assert (abs(drawn - expected) < 4 * math.sqrt(expected * 0.9)).all()
    assert counts.max() > 5 * counts.min()
    assert {"sampled_classes", "sampled_classes_stage2"} <= set(result.figures)


def test_the_history_goes_on_and_the_second_stage_selects_among_its_own_epochs(runs):
    result, seen = runs(CRT)
    assert [epoch.epoch for epoch in seen] == [0, 1, 2, 3, 4]
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4]
    assert [epoch.metrics["train/stage"] for epoch in result.history] == [1, 1, 2, 2]
    names = [set(epoch.metrics) for epoch in result.history]
    assert all(found == names[0] for found in names)
    images = [epoch.metrics["train/images_seen"] for epoch in result.history]
    assert images == [images[0] * n for n in (1, 2, 3, 4)]
    values = [epoch.metrics["val/loss"] for epoch in result.history]
    assert result.fit.best_epoch == 3 + int(np.argmin(values[2:]))
    rates = [epoch.metrics["train/lr"] for epoch in result.history]
    assert rates[2] == pytest.approx(0.1 * (1 + math.cos(math.pi * (14.5 / 15) / 2)) / 2)
    assert rates[3] < 1e-3


def test_the_second_stage_is_kept_even_where_it_is_worse_than_the_first(tmp_path):
    result, _ = _run(tmp_path, stage2="crt:epochs=1,lr=100")
    values = [epoch.metrics["val/loss"] for epoch in result.history]
    assert values[2] > max(values[:2])
    assert result.fit.best_epoch == 3
    assert result.metrics["selected_val/epoch"] == 3


@each_stage
def test_the_test_metrics_are_those_of_both_stages(runs, stage2):
    result, _ = runs(stage2)
    again = predict(
        result.model,
        batches_of(result.data, "test", result.config, result.setup.device_setup.device),
        result.procedure.normalise,
    )
    np.testing.assert_array_equal(again.logits, result.test.logits)
    hits = result.procedure.probabilities(torch.from_numpy(again.logits)).numpy().argmax(1)
    assert result.metrics["test/accuracy"] == pytest.approx(np.mean(hits == again.targets))
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert 0 <= result.metrics[f"stage1_test/{name}"] <= 1
        assert f"test_last/{name}" in result.metrics
    kept = _weights(result, "best")
    assert not result.model.training
    assert all(torch.equal(value, kept[name]) for name, value in result.model.state_dict().items())


def test_the_test_metrics_of_the_first_stage_are_those_of_a_run_without_a_second(runs, tmp_path):
    alone, _ = _run(tmp_path)
    both, _ = runs(CRT)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert both.metrics[f"stage1_test/{name}"] == alone.metrics[f"test/{name}"]
    for one, two in zip(alone.history, both.history[:2], strict=True):
        assert _untimed(two.metrics) == _untimed(one.metrics) | {"train/stage": 1}
    assert "stage1_test/accuracy" not in alone.metrics
    assert set(alone.checkpoints) == {"best", "last"}


def test_the_same_seed_gives_the_same_two_stages(runs, tmp_path):
    one, _ = runs(CRT)
    two, _ = _run(tmp_path, stage2=CRT)
    assert _untimed(one.metrics) == _untimed(two.metrics)
    for first, second in zip(one.history, two.history, strict=True):
        assert _untimed(first.metrics) == _untimed(second.metrics)
    states = _weights(one, "last"), _weights(two, "last")
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@each_stage
def test_the_two_stage_model_can_be_exported(runs, stage2):
    result, _ = runs(stage2)
    images = torch.randn(3, 3, 8, 8)
    batch = torch.export.Dim("batch", min=1)
    example = torch.randn(2, 3, 8, 8)
    exported = torch.export.export(result.model, (example,), dynamic_shapes=[{0: batch}])
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(images), result.model(images))


def test_a_first_stage_with_margins_and_a_moving_average_and_no_validation(tmp_path):
    result, _ = _run(
        tmp_path,
        loss="ldam",
        class_weights="effective",
        defer=0.5,
        mix="mixup",
        ema=True,
        validation="none",
        select_by="last",
        stage2="crt:epochs=1",
    )
    assert result.fit.best_epoch == 3
    assert isinstance(result.model.get_classifier(), torch.nn.Linear)
    first, after = _weights(result, "stage1"), _weights(result, "best")
    for name in first:
        if name.startswith("backbone."):
            assert torch.equal(first[name], after[name])
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.equal(result.procedure.probabilities(logits), logits.softmax(1))


@pytest.mark.parametrize("stage2", ["lws", "las", "las:shift_bn=true"])
@pytest.mark.parametrize("loss", ["ldam", "sigmoid", "sigmoid_focal"])
def test_a_stage_that_keeps_the_head_needs_softmax_logits(stage2, loss):
    with pytest.raises(ValueError, match=r"use stage2=crt, which begins a new head"):
        make(loss=loss, stage2=stage2)
    assert make(loss=loss, stage2="crt").stage2 == "crt"


@pytest.mark.parametrize(
    ("stage2", "message"),
    [
        ("crt:epochs=0", "epochs of stage2 must be at least 1, got 0"),
        ("lws:lr=0", "lr of stage2 must be larger than 0"),
        ("crt:weight_decay=-1", "weight_decay of stage2 must be at least 0, got -1"),
        ("las:head_lr=0", "head_lr of stage2=las must be larger than 0, got 0"),
        ("las:smooth_head=1", "smooth_head must be in"),
        ("las:smooth_tail=0.5", "smooth_head must be in"),
        ("las:shape=wavy", "must be one of concave, linear, convex"),
        ("crt:gamma=2", "gamma"),
    ],
)
def test_a_wrong_option_of_the_stage_is_refused_before_anything_is_loaded(stage2, message):
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        bind(make(stage2=stage2))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_second_stage_counts_as_no_correction():
    make(stage2="crt", class_weights="balanced")
    make(stage2="las", sampler="class_balanced")
    with pytest.raises(ValueError, match=r"correct .* twice"):
        make(stage2="crt", class_weights="balanced", sampler="class_balanced")
