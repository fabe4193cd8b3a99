"""The run that is being recorded, as the other modules of tracking see it."""

from __future__ import annotations

import dataclasses

from imbalance_study.tracking.journal import Journal
from imbalance_study.tracking.uploader import Uploader


@dataclasses.dataclass(frozen=True)
class Info:
    """How MLflow names a run; offline, the name of its journal and no experiment."""

    run_id: str
    experiment_id: str


@dataclasses.dataclass(frozen=True)
class Session:
    """A run that is being recorded."""

    info: Info
    journal: Journal
    uploader: Uploader | None  # None: offline
    child: bool
