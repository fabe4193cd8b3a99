"""A run that was broken off and goes on from its checkpoint is the run that never was."""

import copy

import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config
from imbalance_study.experiment import resume as checkpoint_resume
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup.facts import RunFacts
from imbalance_study.training import checkpointing
from imbalance_study.training.checkpointing import Keeper

SMALL = {
    "dataset": "digits",
    "model": "small_nets:conv",
    "image_size": 8,
    "epochs": 3,
    "analyses": "none",
    "steps_per_epoch": 4,
    "device": "cpu",
}
CASES = {
    "mixup and a moving average": {
        "mix": "mixup",
        "ema": True,
        "ema_decay": 0.9,
        "augment": "crop+trivial_augment",
    },
    "sam, plateau, errors": {
        "optimizer": "sgd:sam=0.05",
        "schedule": "plateau:patience=1,factor=0.5",
        "sampler": "error_driven",
        "grad_clip": 1.0,
    },
    "deferral and early stopping": {
        "class_weights": "balanced",
        "defer": 0.5,
        "epochs": 5,
        "lr": 1e-9,
        "early_stopping": "val/accuracy:patience=2",
        "select_by": "val/loss",
    },
    "dropout, no validation": {
        "model": "custom_cnn",
        "epochs": 2,
        "validation": "none",
        "select_by": "last",
        "optimizer": "rmsprop:momentum=0.9",
    },
    "a second stage": {"epochs": 2, "stage2": "crt:epochs=2", "select_by": "val/loss", "ema": True},
    "an autoencoder, then its classifier": {
        "model": "unet:width=4",
        "image_size": 16,
        "epochs": 1,
        "autoencoder": "separate",
    },
    "a learning rate that was looked for": {"epochs": 2, "lr": "auto"},
    "factors on a head": {"epochs": 1, "stage2": "las:epochs=2,shift_bn=true"},
}


class Killed(Exception):
    pass


def _keeper(folder):
    return Keeper(folder / "checkpoints", {"origins": {}})


def _run(folder, config, keeper=None, state=None, stop=lambda result: None):
    return experiment.run(
        config,
        stop,
        output_dir=folder / "out",
        show_progress=False,
        draw=False,
        checkpoints=experiment.Checkpoints(keeper, state),
    )


def _load(folder):
    return checkpointing.newest(folder / "checkpoints", pytest.fail)


def _killed_at_each_epoch(folder, config):
    """Break the run off after every epoch, and resume; its result and the epochs it told of."""
    told, state = [], None

    def stop(result):
        fresh = result.epoch not in told
        told.append(result.epoch)
        if fresh and result.epoch:
            raise Killed

    for _ in range(20):
        try:
            return _run(folder, config, _keeper(folder), state, stop), told
        except Killed:
            state = _load(folder)
            config = Config(**state["config"])
    raise AssertionError("it never ended")


def _same(one, two):
    untimed = [
        {name: repr(value) for name, value in found.items() if not name.startswith("time/")}
        for found in (one.metrics, two.metrics)
    ]
    assert untimed[0] == untimed[1]
    for first, second in zip(one.history, two.history, strict=True):
        for name, value in first.metrics.items():
            if not name.startswith("time/"):
                assert second.metrics[name] == value or value != value, (first.epoch, name)
        assert (first.drawn == second.drawn).all()
    for part in ("best", "last"):
        for name, value in getattr(one.fit, part).items():
            assert torch.equal(value, getattr(two.fit, part)[name]), (part, name)
    assert one.fit.best_epoch == two.fit.best_epoch
    assert (one.fit.steps, one.fit.images_seen) == (two.fit.steps, two.fit.images_seen)
    assert one.fit.stopped == two.fit.stopped


SLOW = {
    "deferral and early stopping",
    "a learning rate that was looked for",
    "factors on a head",
    "an autoencoder, then its classifier",
    "dropout, no validation",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES],
)
def test_broken_off_after_every_epoch_it_ends_bit_by_bit_as_if_it_never_was(tmp_path, name):
    config = make(**SMALL | CASES[name])
    whole = _run(tmp_path / "whole", config)
    resumed, told = _killed_at_each_epoch(tmp_path, config)
    _same(whole, resumed)
    epochs = len(whole.history)
    assert sorted(set(told)) == list(range(epochs + 1))
    assert told.count(0) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("versions", "imbalance_study"), "began with imbalance_study 0.0, here is"),
        (("versions", "torch"), "began with torch 0.0, here is"),
        (("facts", "fingerprint", "fingerprint"), "data have changed since the run began"),
        (("facts", "device"), "began with device=0.0, and here it would be cpu"),
        (("facts", "precision"), "began with precision=0.0, and here it would be fp32"),
        (("facts", "processes"), "began with 0.0 processes, here are 1"),
    ],
)
def test_a_run_does_not_go_on_with_anything_else_than_it_began_with(change, message):
    recorded = {"fingerprint": {"fingerprint": "ab"}, "device": "cpu", "precision": "fp32"}
    recorded["processes"] = 1
    facts = RunFacts.from_dict(copy.deepcopy(recorded))
    state = {"versions": checkpoint_resume.versions(), "facts": recorded, "config": {}}
    checkpoint_resume.check(state, facts)
    part = state
    for name in change[:-1]:
        part = part[name]
    part[change[-1]] = "0.0"
    with pytest.raises(ValueError, match=message):
        checkpoint_resume.check(state, facts)


def test_the_time_before_counts(tmp_path):
    config = make(**SMALL | {"max_minutes": 100, "epochs": 9})

    def stop(result):
        if result.epoch == 1:
            raise Killed

    with pytest.raises(Killed):
        _run(tmp_path, config, _keeper(tmp_path), None, stop)
    state = _load(tmp_path)
    done = len(state["fit"]["history"])
    state["fit"]["seconds"] = 6000.1
    result = _run(tmp_path, config, None, state)
    assert len(result.history) == done
    assert result.fit.stopped == "max_minutes reached"
    assert result.fit.seconds > 6000


@pytest.mark.parametrize(
    "options",
    [
        {"freeze": "gradual:start=0.3,end=0.6", "ema": True, "backbone_lr": 0.5},
        pytest.param(
            {"freeze": "partial:blocks=2", "optimizer": "sgd", "lr": "auto"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_fine_tuning_goes_on_with_what_was_frozen_then(tmp_path, options):
    small = SMALL | {"model": "resnet20"}  # it has blocks
    _run(tmp_path / "source", make(**small | {"epochs": 1, "seed": 3}))
    weights = str(tmp_path / "source" / "out" / "best.pt")
    config = make(**small | options, weights=weights)
    whole = _run(tmp_path / "whole", config)
    resumed, _ = _killed_at_each_epoch(tmp_path, config)
    _same(whole, resumed)
    assert whole.facts.lr == resumed.facts.lr


@pytest.mark.slow
@pytest.mark.parametrize("way", ["joint:weight=2", "separate"])
def test_an_autoencoder_goes_on_in_either_stage(tmp_path, way):
    small = SMALL | {"image_size": 16, "epochs": 2, "model": "unet:width=4"}
    config = make(**small, autoencoder=way)
    whole = _run(tmp_path / "whole", config)
    resumed, _ = _killed_at_each_epoch(tmp_path, config)
    _same(whole, resumed)
    name = "reconstruction/test_mse"
    assert whole.metrics[name] == resumed.metrics[name]
