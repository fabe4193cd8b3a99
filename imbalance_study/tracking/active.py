"""The run that is being recorded, for the other modules of tracking."""

from __future__ import annotations

import dataclasses

from imbalance_study.tracking.journal import Journal
from imbalance_study.tracking.uploader import Uploader


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """Ids of a run, named as in MLflow; offline, the name of its journal and no experiment."""

    run_id: str
    experiment_id: str


@dataclasses.dataclass(frozen=True)
class Session:
    """A run that is being recorded."""

    info: RunInfo
    journal: Journal
    uploader: Uploader | None  # None: offline
    child: bool  # of another run
