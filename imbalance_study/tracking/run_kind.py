"""Kinds of runs: which are trainings of their own, and which belong to or hold others."""

from __future__ import annotations

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_SOURCE_NAME,
)

from imbalance_study.tracking import process

# Tags of a run: its kind, and the data that it trains on.
KIND, DATA = "imbalance_study.kind", "imbalance_study.data"
TRAINING = "training"
CHILD = "child"  # of a comparison, or the winner of a study
TRIAL = "trial"
COMPARISON = "comparison of runs"
STUDY = "study of runs"
PARENTS = "% of runs"  # both of them, for MLflow's LIKE
REPORT = "report"
ADVICE = "advice"
FOREIGN = "foreign"  # of another program

_ENTRIES = {
    "main": TRAINING,
    "distributed": TRAINING,
    "compare": COMPARISON,
    "study": STUDY,
    "report": REPORT,
    "advise": ADVICE,
}


# Tags of earlier versions that show the kind.
_TAGS = (("report", REPORT), ("comparison", COMPARISON), ("trial", TRIAL), ("advice", ADVICE))


def kind_of(run: Run) -> str:
    """Return the kind of a run, also of one that an earlier version recorded.

    A run that ``mlflow run`` began, and that ended before this program did anything, has the kind
    of its entry point.
    """
    tags = run.data.tags
    if KIND in tags:
        return str(tags[KIND])
    if _is_foreign(tags):
        return FOREIGN
    for name, kind in _TAGS:
        if name in tags:
            return kind
    if "study" in tags and "winner_of_trial" not in tags:
        return STUDY
    if MLFLOW_PARENT_RUN_ID in tags:
        return CHILD
    return _ENTRIES.get(tags.get(MLFLOW_PROJECT_ENTRY_POINT, "main"), TRAINING)


def _is_foreign(tags: dict[str, str]) -> bool:
    """Whether another program made a run: it says what made it, and that is nothing of ours."""
    own = ("imbalance_study.version", process.PROCESS, "report")
    if any(mark in tags for mark in own) or MLFLOW_SOURCE_NAME not in tags:
        return False
    return tags.get(MLFLOW_PROJECT_ENTRY_POINT) not in _ENTRIES
