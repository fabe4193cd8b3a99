"""The hash that identifies a configuration, as far as its results go."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from imbalance_study.config import spec
from imbalance_study.config.schema import Config

# Defaults that have changed since their option was added. The hash leaves an option out at its
# first default for ever, so that a changed default changes no hash: put the first one here.
_FIRST_DEFAULTS: dict[str, Any] = {}

# The options that the previous version hashed, all of them at their values, under these names.
_ALL_HASHED_ONCE = (
    *("dataset", "image_size", "on_bad_image", "imbalance", "imbalance_ratio", "class_order"),
    *("test_fraction", "validation", "data_seed", "model", "stem", "head", "weights", "freeze"),
    *("backbone_lr", "normalisation", "autoencoder", "loss", "label_smoothing", "class_weights"),
    *("sampler", "defer", "mix", "resample", "augment", "tail_augment", "hard_fraction", "supcon"),
    *("stage2", "allow_double_correction", "epochs", "batch_size", "steps_per_epoch", "optimizer"),
    *("lr", "weight_decay", "schedule", "early_stopping", "select_by", "ema", "ema_decay"),
    *("grad_clip", "max_minutes", "seed", "device", "precision", "memory_format", "probe"),
    *("compile", "resident"),
)


def identity(config: Config) -> str:
    """Hash a configuration: 16 hexadecimal digits, equal for equal results on equal data.

    Only options that differ from their default count, so that a new option leaves the hash of each
    finished run as it is; options declared with ``changes_result=False`` never count. The data
    have a fingerprint of their own, the code a version.
    """
    values = _canonical_values(config)
    defaults = _canonical_values(type(config)()) | _FIRST_DEFAULTS
    return _hash({name: v for name, v in values.items() if v != defaults.get(name)})


def former_identity(config: Config) -> str:
    """Hash a configuration as the previous version did, to find the runs that it recorded.

    Returns:
        The hash; empty where an option that the previous version did not know is in use.
    """
    former = {
        field.name: field.metadata["formerly"] or field.name for field in dataclasses.fields(config)
    }
    values, defaults = _canonical_values(config), _canonical_values(type(config)())
    known = {former[name]: value for name, value in values.items()}
    new = [name for name in values if former[name] not in _ALL_HASHED_ONCE]
    if any(values[name] != defaults.get(name) for name in new):
        return ""
    return _hash({name: known[name] for name in _ALL_HASHED_ONCE})


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _canonical_values(config: Config) -> dict[str, Any]:
    """Return the options that count; specs with their options sorted."""
    return {
        field.name: _canonical(field, getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.metadata["changes_result"]
    }


def _canonical(field: dataclasses.Field[Any], value: Any) -> Any:
    if field.metadata["choices"] is None:
        return value
    chain = spec.parse_chain(value) if field.metadata["chain"] else [spec.parse(value)]
    return "+".join(str(one._replace(options=dict(sorted(one.options.items())))) for one in chain)
