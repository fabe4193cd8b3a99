"""What tells two configurations apart, as far as their results go."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from imbalance_study.config import spec
from imbalance_study.config.schema import Config


def identity(config: Config) -> str:
    """16 hexadecimal digits, equal for configurations that differ in nothing that counts.

    What counts is every option but those declared with ``changes_result=False``. The data are known
    by their own fingerprint, and the code by its version.
    """
    values = {
        field.name: _canonical(field, getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.metadata["changes_result"]
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _canonical(field: dataclasses.Field[Any], value: Any) -> Any:
    if field.metadata["choices"] is None:
        return value
    chain = spec.parse_chain(value) if field.metadata["chain"] else [spec.parse(value)]
    return "+".join(str(one._replace(options=dict(sorted(one.options.items())))) for one in chain)
