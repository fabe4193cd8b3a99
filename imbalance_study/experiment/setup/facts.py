"""Facts that a run finds out and decides before it trains, for its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from imbalance_study.config.schema import Config

# Facts that some runs have and others lack: they are left out of the record where they are None.
_OPTIONAL = (
    *("decoding", "probe_seconds", "weights", "trainable_from_epoch", "lr", "features"),
    *("tf32", "cuda_graph"),
)


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """Facts about data, model and machine, as ``config.json`` and checkpoints hold them."""

    fingerprint: dict[str, Any]  # of the data, see `longtail.fingerprint`
    class_names: list[str]  # (C,) in label order
    train_counts: list[int]  # (C,)
    images: dict[str, int]  # of each part
    skipped_images: list[str] = dataclasses.field(default_factory=list)
    image_size: int = 0  # side in pixels
    decoding: dict[str, Any] | None = None  # of image files, see `decode.Decoding`
    mean: list[float] = dataclasses.field(default_factory=list)  # (3,) in 0..1
    std: list[float] = dataclasses.field(default_factory=list)
    parameters: int = 0
    trainable_parameters: int = 0
    frozen_parameters: int = 0
    stem: str = ""
    batch_size: int = 0
    processes: int = 1
    device: str = ""
    threads: int = 0  # of torch; 0: unknown
    precision: str = ""
    memory_format: str = ""
    tf32: bool | None = None  # fp32 convolutions multiply with 10 bits; on a GPU alone
    cuda_graph: str | None = None  # whether updates are captured, or why not; on a GPU alone
    probe_seconds: dict[str, float] | None = None  # of an update, by memory format and precision
    weights: dict[str, Any] | None = None  # see `pretrained.describe`
    trainable_from_epoch: dict[str, int] | None = None  # epoch -> weights that train from then on
    lr: float | None = None  # where a range test found it
    features: dict[str, Any] | None = None  # see `setup.features.describe`

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunFacts:
        """Read the record of this or another version: unknown keys are left out."""
        empty: dict[str, Any] = {
            "fingerprint": {},
            "class_names": [],
            "train_counts": [],
            "images": {},
        }
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**empty | {name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the facts that this run lacks."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in _OPTIONAL
        }

    @property
    def digest(self) -> str:
        """Fingerprint of images and split, as hexadecimal digits."""
        return str(self.fingerprint["fingerprint"])


def config_record(config: Config) -> dict[str, Any]:
    """Return all options for a checkpoint, without the store's address: it may hold a password."""
    return dataclasses.asdict(config) | {"tracking_uri": "auto"}
