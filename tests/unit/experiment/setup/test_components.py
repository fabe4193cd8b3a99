import sys

import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment.setup.components import bind, bind_loss, head_spec
from imbalance_study.training import losses, schedules


def test_a_component_keeps_the_name_and_binds_the_options():
    choices = bind(make(dataset="digits", loss="focal:gamma=3", optimizer="sgd:momentum=0.5"))
    assert (choices.loss.name, choices.optimizer.name) == ("focal", "sgd")
    assert choices.loss.function.func is losses.focal
    assert choices.loss.function.keywords == {"gamma": 3.0}


def test_what_is_none_is_left_out():
    choices = bind(make(dataset="digits"))
    assert (choices.mix, choices.tail_augment, choices.resample) == (None, None, None)
    assert (choices.early_stopping, choices.stage2, choices.freeze) == (None, None, None)
    assert not choices.has_second_stage
    assert not choices.corrected


def test_early_stopping_is_named_by_its_metric():
    choices = bind(make(dataset="digits", early_stopping="val/loss:patience=3"))
    assert choices.early_stopping.name == "val/loss"
    assert choices.early_stopping.function.func is schedules.should_stop


def test_a_chain_of_augmentations_keeps_the_names_of_its_links():
    choices = bind(make(dataset="digits", augment="crop:padding=2+flip"))
    assert choices.augment.names == ("crop", "flip")
    images = torch.arange(2 * 3 * 8 * 8).view(2, 3, 8, 8).to(torch.uint8)
    assert choices.augment.function(images, torch.Generator().manual_seed(0)).shape == images.shape
    assert bind(make(dataset="digits", augment="none")).augment.names == ()


@pytest.mark.parametrize(
    ("options", "corrected"),
    [
        ({}, False),
        ({"loss": "focal"}, False),
        ({"loss": "balanced_softmax"}, True),
        ({"class_weights": "balanced"}, True),
        ({"sampler": "class_balanced"}, True),
        ({"resample": "smote"}, True),
        ({"stage2": "crt"}, False),
    ],
)
def test_a_correction_for_the_class_frequencies_is_known(options, corrected):
    assert bind(make(dataset="digits", **options)).corrected is corrected


@pytest.mark.parametrize(
    "options", [{"stage2": "lws"}, {"autoencoder": "separate", "model": "unet"}]
)
def test_a_second_stage_is_known(options):
    assert bind(make(dataset="digits", **options)).has_second_stage


def test_the_head_follows_the_loss_unless_it_is_given():
    assert head_spec("auto", "ldam") == "cosine"
    assert head_spec("auto", "focal") == "last"
    assert head_spec("mlp:hidden=8", "focal") == "mlp:hidden=8"


def test_label_smoothing_reaches_the_loss_or_is_refused():
    loss = bind_loss(make(dataset="digits", label_smoothing=0.1))
    logits, targets = torch.tensor([[3.0, 0.0]]), torch.tensor([0])
    plain = bind_loss(make(dataset="digits"))
    counts = torch.ones(2)
    assert loss.function(logits, targets, counts) > plain.function(logits, targets, counts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "focal:gama=2"}, "loss focal has no option 'gama'; it takes: gamma"),
        ({"mix": "mixup:alpha=-1"}, "alpha"),
        ({"augment": "crop:padding=-1"}, "padding"),
        ({"model": "unet", "autoencoder": "joint:weight=0"}, "must be larger than 0, got 0"),
        ({"optimizer": "sgd:momentum=2"}, "momentum"),
    ],
)
def test_a_mistake_in_an_option_is_found_before_anything_is_loaded(options, message):
    with pytest.raises(ValueError, match=message):
        bind(make(dataset="digits", **options))


OWN = """
import torch
from imbalance_study.data import augment, longtail, mixing, samplers
from imbalance_study.training import losses, optim, schedules, second_stage

imbalance, validation = longtail.exponential, longtail.balanced
loss, sampler, mix = losses.focal, samplers.power, mixing.mixup
augment, tail_augment = augment.flip, lambda images, targets, counts, generator: images
optimizer, schedule, stage2 = optim.sgd, schedules.step, second_stage.crt


def class_weights(counts, *, power: float = 1.0):
    return counts**-power


def resample(images, labels, seed):
    return images, labels
"""


@pytest.mark.parametrize(
    "option",
    [
        *("imbalance", "validation", "loss", "class_weights", "sampler", "mix", "augment"),
        *("tail_augment", "resample", "optimizer", "schedule", "stage2"),
    ],
)
def test_every_choice_may_be_a_function_in_a_file_of_the_current_folder(
    option, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ownchoices.py").write_text(OWN)
    found = getattr(bind(make(**{option: f"ownchoices:{option}"})), option)
    names = found.names if option == "augment" else (found.name,)
    assert names == (f"ownchoices:{option}",)
    assert sys.modules.pop("ownchoices").__file__ == str(tmp_path / "ownchoices.py")
