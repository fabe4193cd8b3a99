"""Runs whose head trains on kept features of a frozen backbone, from Config to result."""

import dataclasses

import numpy as np
import pytest
import torch

from imbalance_study.config.identity import identity
from imbalance_study.config.resolve import make
from imbalance_study.experiment import resume
from imbalance_study.experiment import run as experiment
from imbalance_study.inference import load
from imbalance_study.models import checkpoint
from imbalance_study.training import features

SMALL = {
    "dataset": "digits",
    "model": "resnet20",
    "image_size": 8,
    "epochs": 2,
    "analyses": "none",
    "device": "cpu",
    "auto_precision": False,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The file of weights that the frozen backbones have."""
    folder = tmp_path_factory.mktemp("weights")
    config = make(**SMALL | {"epochs": 1, "steps_per_epoch": 20})
    found = experiment.run(config, output_dir=folder, show_progress=False, draw=False)
    return found.checkpoints["best"]


@pytest.fixture(scope="module")
def train(weights, tmp_path_factory):
    """A function that trains a head, with a cache of features that all tests share."""
    cache = tmp_path_factory.mktemp("cache")
    made = {}

    def train_it(again=False, **options):
        options = {"cache_dir": str(cache), "weights": str(weights)} | options
        key = str(sorted(options.items()))
        if again or key not in made:
            config = make(**SMALL | {"freeze": "head_only"} | options)
            folder = tmp_path_factory.mktemp("run")
            made[key] = experiment.run(config, output_dir=folder, show_progress=False, draw=False)
        return made[key]

    return train_it


def _losses(result):
    return [epoch.metrics["train/loss"] for epoch in result.history]


def _states(result, name):
    return checkpoint.load(result.checkpoints[name])["model"]


def test_a_head_on_features_learns_as_on_images(train):
    cached, uncached = train(), train(space="pixels")
    assert cached.config.space == "features"
    np.testing.assert_allclose(_losses(cached), _losses(uncached), atol=1e-4)
    deviation = uncached.test.features.std()
    assert np.abs(cached.test.features - uncached.test.features).max() < 1e-4 * deviation
    differ = cached.test.logits.argmax(1) != uncached.test.logits.argmax(1)
    assert differ.mean() <= 0.001
    scores = ("test/balanced_accuracy", "selected_val/balanced_accuracy", "posthoc/tau_norm_tau")
    assert [cached.metrics[name] for name in scores] == pytest.approx(
        [uncached.metrics[name] for name in scores], abs=0.01
    )


@pytest.mark.parametrize("head", ["mlp:hidden=8,dropout=0", "cosine:scale=16"])
def test_every_head_on_features_learns_as_on_images(train, head):
    cached, uncached = (
        train(head=head, space=space, steps_per_epoch=4) for space in ("features", "pixels")
    )
    np.testing.assert_allclose(_losses(cached), _losses(uncached), atol=1e-4)
    assert cached.test.logits == pytest.approx(uncached.test.logits, abs=1e-3)


@pytest.mark.slow
def test_a_frozen_backbone_drops_nothing_before_its_head_on_images_and_on_features(tmp_path):
    small = SMALL | {"model": "mobilenet_v2", "image_size": 16, "cache_dir": str(tmp_path)}
    small |= {"steps_per_epoch": 3, "epochs": 2}

    def trained(**options):
        config = make(**small | options)
        return experiment.run(config, output_dir=tmp_path, show_progress=False, draw=False)

    first = trained(epochs=1).checkpoints["best"].rename(tmp_path / "weights.pt")
    small |= {"freeze": "head_only", "weights": str(first)}
    cached, uncached = trained(), trained(space="pixels")
    np.testing.assert_allclose(_losses(cached), _losses(uncached), atol=1e-4)


def test_a_run_that_reads_features_equals_the_one_that_made_them(train, tmp_path):
    maker = train(cache_dir=str(tmp_path), again=True)
    reader = train(cache_dir=str(tmp_path), again=True)
    assert not maker.facts.features["read"]
    assert reader.facts.features["read"]
    assert _losses(maker) == _losses(reader)
    assert np.array_equal(maker.test.logits, reader.test.logits)
    for name, value in _states(maker, "last").items():
        assert torch.equal(value, _states(reader, "last")[name]), name


def test_the_whole_network_is_kept_and_predicts_what_its_features_did(train):
    result = train()
    state = _states(result, "best")
    assert {name.partition(".")[0] for name in state} == {"backbone", "classifier"}
    images = np.asarray(result.data.image_set.images[result.data.split.test])
    with torch.inference_mode():
        served = load.from_checkpoint(result.checkpoints["best"]).raw()(torch.from_numpy(images))
    own = torch.from_numpy(result.test.logits).softmax(1)
    torch.testing.assert_close(served, own, atol=1e-4, rtol=0)


def test_other_pixels_weights_or_scale_are_computed_anew(train, weights, tmp_path):
    kept = {"cache_dir": str(tmp_path)}
    assert not train(**kept).facts.features["read"]
    assert not train(**kept, normalisation="imagenet").facts.features["read"]
    assert not train(**kept, data_seed=1).facts.features["read"]
    content = torch.load(weights, weights_only=True)
    content["model"]["backbone.conv1.weight" if "backbone.conv1.weight" in content["model"]
                     else next(iter(content["model"]))] *= 1.01  # fmt: skip
    other = tmp_path / "other.pt"
    torch.save(content, other)
    assert not train(**kept | {"weights": str(other)}).facts.features["read"]


def test_remedies_of_other_seeds_share_the_features(train):
    train()
    for options in (
        {"seed": 1},
        {"loss": "ldam", "class_weights": "effective", "defer": 0.5},
        {"sampler": "class_balanced", "optimizer": "sgd:sam=0.05"},
        {"mix": "mixup", "ema": True, "label_smoothing": 0.1},
        {"mix": "remix", "hard_fraction": 0.5},
        {"resample": "smote:k=2"},
        {"head": "cosine:scale=16", "lr": "auto"},
        {"stage2": "crt:epochs=2"},
        {"stage2": "las:epochs=1"},
    ):
        result = train(**options)
        assert result.facts.features["read"], options
        assert np.isfinite(result.metrics["test/loss"]), options


def test_smote_makes_features_for_the_training_and_leaves_the_images_as_they_are(train):
    plain, made = train(), train(resample="smote:k=2")
    assert made.history[0].drawn.tolist() == [max(plain.data.class_counts)] * 10
    assert made.data.class_counts.tolist() == plain.data.class_counts.tolist()
    assert made.facts.train_counts == plain.facts.train_counts
    assert made.procedure.class_counts.unique().tolist() == [max(plain.data.class_counts)]


def test_each_epoch_picks_one_of_the_views_of_an_image(train):
    one = train(augment="crop:padding=2", feature_views=3)
    assert one.setup.features.parts.train.targets.shape == (3 * len(one.data.train_rows),)
    train_part = one.setup.features.parts.train
    rows = train_part.read(np.arange(3))
    assert not np.allclose(rows[0], rows[1])  # views of one image
    assert one.history[0].drawn.tolist() == one.data.class_counts.tolist()
    again = train(augment="crop:padding=2", feature_views=3, again=True)
    assert _losses(one) == _losses(again)
    other = train(augment="crop:padding=2", feature_views=3, data_seed=1)
    assert _losses(one) != _losses(other)


def test_a_second_stage_on_frozen_features_learns_as_on_images(train, monkeypatch):
    options = {"freeze": "none", "augment": "none", "stage2": "crt:epochs=2", "weights": "none"}
    cached = train(**options)
    assert cached.stage.features is not None
    from imbalance_study.experiment.setup import features as features_setup

    monkeypatch.setattr(features_setup, "second_stage_pays", lambda inputs: False)
    uncached = train(**options, again=True)
    assert uncached.stage.features is None
    np.testing.assert_allclose(_losses(cached), _losses(uncached), atol=1e-4)


def test_the_head_on_a_separate_autoencoder_learns_on_features(train):
    options = {
        "model": "unet:width=4",
        "image_size": 16,
        "freeze": "none",
        "augment": "none",
        "autoencoder": "separate",
        "head": "linear",
        "weights": "none",
    }
    result = train(**options)
    assert result.stage.features is not None
    assert np.isfinite(result.metrics["test/loss"])


def test_the_identity_of_a_run_on_features_is_its_own():
    options = {"freeze": "head_only", "weights": "imagenet", "augment": "none"}
    on_features, on_images = make(**options), make(**options, space="pixels")
    assert identity(on_features) != identity(on_images)
    assert identity(on_images) == identity(dataclasses.replace(on_features, space="pixels"))


def test_a_run_does_not_go_on_in_another_space(train):
    result = train()
    state = {
        "config": dataclasses.asdict(result.config) | {"space": "pixels"},
        "facts": result.facts.to_dict(),
        "versions": resume.versions(),
    }
    with pytest.raises(ValueError, match="the run began with space=pixels, and here it would be"):
        resume.check(state, result.facts)


def test_an_interrupted_run_goes_on_with_its_features(train, weights, tmp_path):
    kept = []

    def take(epoch):
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    from imbalance_study.training.checkpointing import Keeper, newest

    config = make(
        **SMALL | {"freeze": "head_only", "weights": str(weights), "cache_dir": str(tmp_path)}
    )
    folder = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        experiment.run(
            config, take, output_dir=tmp_path, show_progress=False, draw=False,
            checkpoints=experiment.Checkpoints(Keeper(folder, {})),
        )  # fmt: skip
    state = newest(folder, kept.append)
    assert "backbone" not in str(list(state["fit"]["model"]))  # the head alone
    rest = experiment.run(
        config, output_dir=tmp_path, show_progress=False, draw=False,
        checkpoints=experiment.Checkpoints(state=state),
    )  # fmt: skip
    whole = train(cache_dir=str(tmp_path))
    assert _losses(rest) == _losses(whole)
    assert np.array_equal(rest.test.logits, whole.test.logits)


def test_pictures_of_epochs_show_the_whole_network(train):
    seen = []
    config = make(**SMALL | {"freeze": "head_only", "figure_every": 1, "ema": True,
                             "weights": train().config.weights,
                             "cache_dir": train().config.cache_dir})  # fmt: skip
    folder = train().checkpoints["best"].parent
    experiment.run(config, seen.append, output_dir=folder, show_progress=False, draw=False)
    assert [bool(epoch.images) for epoch in seen] == [True] * 3


def test_a_run_says_where_its_features_came_from(train, capfd, tmp_path):
    options = {"weights": train().config.weights, "cache_dir": str(tmp_path)}

    def said(**more):
        config = make(**SMALL | {"freeze": "head_only", "epochs": 1} | options | more)
        found = experiment.run(config, output_dir=tmp_path, draw=False)
        lines = capfd.readouterr().err.splitlines()
        return found, " ".join(line for line in lines if line.startswith("features  "))

    made, line = said()
    assert "features        computed and kept in " in line
    assert made.metrics["time/features_seconds"] == made.facts.features["seconds"]
    assert "features        read from the cache in " in said()[1]
    _, line = said(augment="crop:padding=2")
    assert "as augment=crop:padding=2 and tail_augment=none draw images anew; augment=none" in line


def test_batches_have_one_size(train):
    assert features.batch_size(torch.device("cpu")) == 16
    assert features.batch_size(torch.device("cuda")) == 256
