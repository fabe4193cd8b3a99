"""Where a run keeps on this machine what must outlive its process: its journal, its checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

from imbalance_study.files import default_cache_dir

JOURNAL = "journal"
CHECKPOINTS = "checkpoints"
# How the id of a run begins that MLflow did not know at its start.
OFFLINE = "offline-"


def runs_folder(cache_dir: str = "auto") -> Path:
    """The folder that holds one folder for each run: ``<cache_dir>/runs``."""
    folder = default_cache_dir() if cache_dir == "auto" else Path(cache_dir).expanduser()
    return folder / "runs"


def folder_of(run_id: str, cache_dir: str = "auto") -> Path:
    """The lasting folder of a run: ``<cache_dir>/runs/<run id>``; it is not made.

    ``journal/`` in it holds what MLflow was not told yet, ``checkpoints/`` what a resume needs.

    Args:
        run_id: MLflow's id of the run; of a run that began offline, the id that was printed.
        cache_dir: As the option `cache_dir`; ``auto``: ``$IMBALANCE_STUDY_CACHE``, else
            ``~/.cache/imbalance_study``.

    Raises:
        ValueError: It is no id of a run.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", run_id):
        raise ValueError(f"a run id is made of letters, digits and hyphens, got {run_id!r}")
    return runs_folder(cache_dir) / run_id
