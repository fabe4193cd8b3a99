"""Find the child runs of comparisons in MLflow, and attach finished ones to a new comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Sequence

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from imbalance_study import __version__
from imbalance_study.studies.comparison.plan import PlannedRun
from imbalance_study.tracking import delivery, run_kind
from imbalance_study.tracking.fetch import search_runs
from imbalance_study.tracking.recorder import git_commit

# Tags. A child run carries its identity; a parent the digest of all its children.
IDENTITY = "identity"
CONFIGURATION = "configuration"
COMPARISON = "comparison"
Key = tuple[str, str]  # identity and data fingerprint


def membership_tag(parent_id: str) -> str:
    """Name the tag of a comparison's runs; a run can belong to several comparisons."""
    return f"compared_in_{parent_id[:8]}"


def child_tags(child: PlannedRun, parent_id: str) -> dict[str, str]:
    """Make the tags that a child run has from its start on."""
    return {
        MLFLOW_PARENT_RUN_ID: parent_id,
        membership_tag(parent_id): child.label,
        CONFIGURATION: child.label,
        IDENTITY: child.identity,
        "data_fingerprint": child.fingerprint,
        "imbalance_study.version": __version__,
        run_kind.KIND: run_kind.CHILD,
    }


def finished_runs(
    client: MlflowClient,
    experiment_id: str,
    planned: Sequence[PlannedRun],
    parent_id: str | None = None,
) -> dict[Key, Run]:
    """Find the planned runs that are finished, the newest of each.

    Args:
        client: Client of the store.
        experiment_id: The experiment to search.
        planned: The runs to find; runs that the previous version recorded are among the results.
        parent_id: Restricts the search to the runs of this comparison.
    """
    tag = IDENTITY if parent_id is None else membership_tag(parent_id)
    keys = {child.former_key: child.key for child in planned if child.former_identity}
    keys |= {child.key: child.key for child in planned}
    finished: dict[Key, Run] = {}
    for run in search_runs(client, experiment_id, f"status = 'FINISHED' and tags.{tag} LIKE '%'"):
        tags = run.data.tags
        complete = (
            "test/balanced_accuracy" in run.data.metrics and delivery.INCOMPLETE_TAG not in tags
        )
        key = keys.get((tags.get(IDENTITY, ""), tags.get("data_fingerprint", "")))
        if complete and key and tags.get("imbalance_study.version") == __version__:
            finished.setdefault(key, run)
    return finished


def attach_runs(
    client: MlflowClient,
    runs: Iterable[tuple[PlannedRun, Run]],
    parent: Run,
    digests: Collection[str],
) -> None:
    """Make finished child runs part of another comparison.

    They move below the new parent in the UI, unless their present parent is a finished comparison
    of other configurations: then they stay there, and the prepared view alone shows them here too.

    Args:
        client: Client of the store.
        runs: The planned runs that are finished.
        parent: The parent run of the comparison.
        digests: Digests of a comparison of the same runs.
    """
    moved: dict[str, int] = {}
    old_parents: dict[str, Run | None] = {}
    for child, run in runs:
        run_id, old_id = run.info.run_id, run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")
        client.set_tag(run_id, membership_tag(parent.info.run_id), child.label)
        if old_id not in old_parents:
            old_parents[old_id] = _active_run(client, old_id)
        if _may_leave(old_parents[old_id], digests):
            client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, parent.info.run_id)
            moved[old_id] = moved.get(old_id, 0) + 1
    for old_id, count in moved.items():
        old = old_parents[old_id]
        if old is not None:
            note = old.data.tags.get(MLFLOW_RUN_NOTE, "")
            addition = f"{count} finished runs were moved to the comparison {parent.info.run_id}."
            client.set_tag(old_id, MLFLOW_RUN_NOTE, f"{note}\n\n{addition}".strip())


def _may_leave(old: Run | None, digests: Collection[str]) -> bool:
    """Whether runs may leave their present parent for a comparison with one of the digests."""
    if old is None or old.info.status in ("FAILED", "KILLED"):
        return True
    same = old.data.tags.get(COMPARISON) in digests
    return same and str(old.info.status) == "FINISHED"


def _active_run(client: MlflowClient, run_id: str) -> Run | None:
    """Get a run; None where there is none or it was deleted."""
    with contextlib.suppress(MlflowException):
        run = client.get_run(run_id)
        return run if run.info.lifecycle_stage == "active" else None
    return None


def other_commits(runs: Iterable[Run]) -> set[str]:
    """Find the commits, other than the present one, that runs were made at; seven digits each."""
    present = git_commit()
    made = {run.data.tags.get("git_commit", "") for run in runs}
    return {commit[:7] for commit in made if commit and present and commit != present}
