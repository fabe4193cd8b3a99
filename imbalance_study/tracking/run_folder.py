"""The folder of a run on this machine, for its journal and its checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

from imbalance_study.files import default_cache_dir

JOURNAL = "journal"
CHECKPOINTS = "checkpoints"
# Prefix of the id of a run that did not start in MLflow.
OFFLINE = "offline-"


def runs_folder(cache_dir: str = "auto") -> Path:
    """Return the folder that holds one folder for each run: ``<cache_dir>/runs``."""
    folder = default_cache_dir() if cache_dir == "auto" else Path(cache_dir).expanduser()
    return folder / "runs"


def folder_of(run_id: str, cache_dir: str = "auto") -> Path:
    """Return the folder of a run, ``<cache_dir>/runs/<run id>``, without making it.

    Its ``journal/`` holds records that are not uploaded yet, its ``checkpoints/`` the state for a
    resume.

    Args:
        run_id: MLflow's id of the run; for a run that began offline, the id that was printed.
        cache_dir: The option `cache_dir`; ``auto``: ``$IMBALANCE_STUDY_CACHE``, else
            ``~/.cache/imbalance_study``.

    Raises:
        ValueError: `run_id` is no id of a run.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", run_id):
        raise ValueError(f"a run id is made of letters, digits and hyphens, got {run_id!r}")
    return runs_folder(cache_dir) / run_id
