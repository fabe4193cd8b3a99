import dataclasses
import hashlib
import json

import pytest

from imbalance_study.config import identity as identity_module
from imbalance_study.config.fields import option
from imbalance_study.config.identity import former_identity, identity
from imbalance_study.config.resolve import make
from imbalance_study.config.schema import Config

# Options that say where a run is recorded and what is looked at: written out, so that one more is a
# decision and not an accident.
WITHOUT_EFFECT = {
    *("data_dir", "cache_dir", "decode_workers", "analyses", "gradcam_layers", "colormap"),
    *("figure_every", "tracking_uri", "experiment", "run_name", "output_dir", "system_metrics"),
    *("recipe", "tracking", "per_class_metrics"),
}


def test_every_option_changes_the_result_but_those_that_say_where_and_what_is_recorded():
    quiet = {f.name for f in dataclasses.fields(Config) if not f.metadata["changes_result"]}
    assert quiet == WITHOUT_EFFECT


def test_a_new_option_is_part_of_the_identity_unless_it_says_otherwise():
    @dataclasses.dataclass(frozen=True)
    class Extended(Config):
        loud: int = option(0, "Training", "A new one.")
        quiet: int = option(0, "Training", "Another one.", changes_result=False)

    assert identity(Extended(loud=1)) != identity(Extended())
    assert identity(Extended(quiet=1)) == identity(Extended())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"loss": "focal:gamma=1"}, {"loss": "focal: gamma = 1"}),
        ({"imbalance": "step:ratio=5,fraction=0.2"}, {"imbalance": "step:fraction=0.2,ratio=5"}),
        ({"experiment": "a", "run_name": "b"}, {}),
        ({"recipe": "paper_ce"}, {"recipe": "paper_ce", "analyses": "none"}),
    ],
)
def test_what_differs_in_spelling_or_place_alone_is_the_same(one, other):
    assert identity(make(**one)) == identity(make(**other))


@pytest.mark.parametrize(
    "given", [{"seed": 1}, {"loss": "focal"}, {"lr": 0.1}, {"data_seed": 1}, {"max_minutes": 1}]
)
def test_what_changes_a_result_changes_the_identity(given):
    assert identity(make(**given)) != identity(make())


# The defaults that the hash leaves out. Never change a value here: where a default has changed,
# its first one belongs into identity._FIRST_DEFAULTS, so that the hash of a configuration stays.
FIRST_DEFAULTS = {
    **{"dataset": "cifar10", "image_size": "auto", "on_bad_image": "error", "imbalance": "auto"},
    **{"imbalance_ratio": "auto", "class_order": "label", "test_fraction": "auto"},
    **{"validation": "stratified:fraction=0.1", "data_seed": 0, "model": "efficientnet_b0"},
    **{"stem": "auto", "head": "auto", "weights": "none", "freeze": "none", "backbone_lr": 1.0},
    **{"normalisation": "auto", "autoencoder": "off", "loss": "cross_entropy"},
    **{"label_smoothing": 0.0, "class_weights": "none", "sampler": "shuffle", "defer": 0.0},
    **{"mix": "none", "resample": "none", "augment": "auto", "tail_augment": "none"},
    **{"hard_fraction": 1.0, "supcon": 0.0, "stage2": "none", "allow_double_correction": False},
    **{"epochs": 30, "batch_size": 128, "steps_per_epoch": 0, "optimizer": "adamw", "lr": 0.002},
    **{"weight_decay": 0.01, "schedule": "cosine:warmup=1", "early_stopping": "none"},
    **{"select_by": "val/balanced_accuracy", "ema": False, "ema_decay": 0.999, "grad_clip": 0.0},
    **{"max_minutes": 0.0, "seed": 0, "device": "auto", "precision": "auto"},
    **{"memory_format": "auto", "auto_precision": True, "compile": False, "resident": "auto"},
}
LDAM_DRW = {
    **{"dataset": "digits", "model": "resnet20", "loss": "ldam:s=10,max_m=0.4", "defer": 0.8},
    **{"class_weights": "effective", "seed": 3, "auto_precision": False},
    **{"device": "cpu", "precision": "fp32"},
}


def test_the_hash_leaves_out_the_first_defaults_for_ever():
    left_out = {
        field.name: field.default
        for field in dataclasses.fields(Config)
        if field.metadata["changes_result"]
    } | identity_module._FIRST_DEFAULTS
    assert {name: left_out[name] for name in FIRST_DEFAULTS} == FIRST_DEFAULTS


def test_a_new_option_at_its_default_leaves_both_hashes():
    @dataclasses.dataclass(frozen=True)
    class Extended(Config):
        new: int = option(0, "Training", "A new one.")

    config = Extended(**dataclasses.asdict(make(**LDAM_DRW)))
    assert identity(config) == identity(make(**LDAM_DRW))
    assert former_identity(config) == former_identity(make(**LDAM_DRW))
    used = dataclasses.replace(config, new=1)
    assert identity(used) != identity(config)
    assert former_identity(used) == ""


def test_the_hash_is_that_of_the_options_that_differ_from_their_defaults():
    values = json.dumps({"dataset": "digits", "loss": "focal:gamma=1"}, sort_keys=True).encode()
    expected = hashlib.sha256(values).hexdigest()[:16]
    assert identity(Config(dataset="digits", loss="focal:gamma=1")) == expected


def test_a_changed_default_changes_no_hash(monkeypatch):
    before = identity(Config(epochs=10)), identity(Config(epochs=30))

    @dataclasses.dataclass(frozen=True)
    class Later(Config):
        epochs: int = option(50, "Training", "Passes over the training set.")

    monkeypatch.setitem(identity_module._FIRST_DEFAULTS, "epochs", 30)
    assert (identity(Later(epochs=10)), identity(Later(epochs=30))) == before
    assert identity(Later()) not in before


@pytest.mark.parametrize(
    ("given", "stored"), [({}, "fa5209d8f339374a"), (LDAM_DRW, "59414cfe6201fd30")]
)
def test_the_hash_of_the_previous_version_is_known_still(given, stored):
    assert former_identity(make(**given)) == stored
