"""Runs with a decoder, from Config to result."""

import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment import run as experiment
from imbalance_study.inference import load as trained
from imbalance_study.models import checkpoint

SMALL = {
    "dataset": "digits",
    "model": "unet:width=4",
    "image_size": 16,
    "epochs": 2,
    "steps_per_epoch": 6,
    "analyses": "none",
    "lr": 0.003,
}


def _run(folder, draw=False, **options):
    config = make(**SMALL | options)
    return experiment.run(config, output_dir=folder, show_progress=False, draw=draw)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = {}

    def run(way):
        if way not in made:
            made[way] = _run(tmp_path_factory.mktemp("run"), draw=True, autoencoder=way)
        return made[way]

    return run


def _state(result, name):
    return checkpoint.load(result.checkpoints[name])["model"]


@pytest.mark.parametrize("way", ["off", "joint:weight=2", "separate"])
def test_the_model_that_leaves_the_lab_has_no_decoder(runs, way):
    result = runs(way)
    assert result.model.decoder is None
    assert not any(name.startswith("decoder") for name in result.model.state_dict())
    assert not any(name.startswith("decoder") for name in _state(result, "best"))
    assert ("reconstructions" in result.figures) is (way != "off")
    assert ("reconstruction/test_mse" in result.metrics) is (way != "off")
    assert result.facts.parameters == sum(w.numel() for w in result.model.parameters())
    ready = trained.from_checkpoint(result.checkpoints["best"])
    images = torch.from_numpy(result.data.image_set.images[result.data.split.test[:4]])
    with torch.inference_mode():
        logits = ready.model(ready.normalise(images.permute(0, 3, 1, 2)))
    torch.testing.assert_close(
        logits, torch.from_numpy(result.test.logits[:4]), atol=1e-4, rtol=1e-4
    )


def test_the_joint_loss_is_that_of_the_classifier_and_of_the_decoder(runs):
    """At the first step the loss is that of ``off`` plus the weighted error of the decoder."""
    first = {way: runs(way).history[0].metrics["train/loss"] for way in ("off", "joint:weight=2")}
    assert first["joint:weight=2"] > first["off"] + 1


def test_the_decoder_learns_in_both_ways(runs, tmp_path):
    untrained = _run(tmp_path, autoencoder="joint", lr=1e-9).metrics["reconstruction/test_mse"]
    for way in ("joint:weight=2", "separate"):
        assert runs(way).metrics["reconstruction/test_mse"] < 0.7 * untrained
    assert runs("separate").metrics["reconstruction/test_variance"] == pytest.approx(1, abs=0.1)


def test_separate_trains_the_autoencoder_then_the_classifier_on_the_frozen_encoder(runs):
    result = runs("separate")
    assert [epoch.metrics["train/stage"] for epoch in result.history] == [1, 1, 2, 2]
    assert ["val/accuracy" in epoch.metrics for epoch in result.history] == [False] * 2 + [True] * 2
    first, last = _state(result, "stage1"), _state(result, "last")
    for name, value in last.items():
        if name.startswith("backbone."):
            assert torch.equal(value, first[name]), name
        else:
            assert not torch.equal(value, first[name]), name
    assert "stage1_test/accuracy" not in result.metrics
    assert result.metrics["train/steps"] == 24


def test_the_first_stage_of_separate_leaves_the_classifier_as_it_was_drawn(runs, tmp_path):
    start = _run(tmp_path, lr=1e-12, autoencoder="off")
    for name in ("classifier.weight", "classifier.bias"):
        torch.testing.assert_close(
            _state(runs("separate"), "stage1")[name], _state(start, "last")[name]
        )


def test_a_second_stage_can_follow_a_joint_training(tmp_path):
    stages = {"autoencoder": "joint", "stage2": "crt:epochs=1"}
    result = _run(tmp_path, draw=True, **stages, ema=True, epochs=1)
    assert result.model.decoder is None
    assert "stage1_test/accuracy" in result.metrics
    assert "reconstructions" in result.figures


@pytest.mark.parametrize("wrong", ["joint:weight=0", "joint:scale=2", "both"])
def test_a_wrong_way_is_refused(wrong, tmp_path):
    with pytest.raises(
        ValueError, match=r"weight of autoencoder joint|has no option|unknown autoenc"
    ):
        _run(tmp_path, autoencoder=wrong)
