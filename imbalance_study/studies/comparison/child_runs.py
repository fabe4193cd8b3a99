"""The children of a comparison in the store: found again, taken over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from imbalance_study import __version__
from imbalance_study.studies.comparison.plan import Child
from imbalance_study.tracking.run import git_commit

# Tags. A child carries its identity; a parent the digest of all that it compares.
IDENTITY = "identity"
CONFIGURATION = "configuration"
COMPARISON = "comparison"
Key = tuple[str, str]  # identity and data fingerprint


def membership(parent_id: str) -> str:
    """The tag that marks the runs of a comparison: a run can belong to several."""
    return f"compared_in_{parent_id[:8]}"


def tags_of(child: Child, parent_id: str) -> dict[str, str]:
    """What a child is known by from its start on."""
    return {
        MLFLOW_PARENT_RUN_ID: parent_id,
        membership(parent_id): child.label,
        CONFIGURATION: child.label,
        IDENTITY: child.identity,
        "data_fingerprint": child.fingerprint,
        "imbalance_study.version": __version__,
    }


def finished(
    client: MlflowClient, experiment_id: str, parent_id: str | None = None
) -> dict[Key, Run]:
    """Finished children in an experiment, the newest of each kind.

    Args:
        client: Of the store.
        experiment_id: Where to look.
        parent_id: Only those that belong to this comparison.
    """
    tag = IDENTITY if parent_id is None else membership(parent_id)
    found: dict[Key, Run] = {}
    for run in search(client, experiment_id, f"status = 'FINISHED' and tags.{tag} LIKE '%'"):
        tags = run.data.tags
        complete = "test/balanced_accuracy" in run.data.metrics
        if complete and tags.get("imbalance_study.version") == __version__ and IDENTITY in tags:
            found.setdefault((tags[IDENTITY], tags.get("data_fingerprint", "")), run)
    return found


def search(client: MlflowClient, experiment_id: str, text: str) -> Iterator[Run]:
    """All runs that a filter finds, the newest first."""
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id], text, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def adopt(client: MlflowClient, runs: Iterable[tuple[Child, Run]], parent: Run) -> None:
    """Make finished children part of another comparison.

    They move below the new parent in the UI, unless their own is a finished comparison of other
    configurations: then they stay there, and the prepared view alone shows them here too.
    """
    left: dict[str, int] = {}
    parents: dict[str, Run | None] = {}
    for child, run in runs:
        run_id, own = run.info.run_id, run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")
        client.set_tag(run_id, membership(parent.info.run_id), child.label)
        if own not in parents:
            parents[own] = _get(client, own)
        if _gives_up(parents[own], parent):
            client.set_tag(run_id, MLFLOW_PARENT_RUN_ID, parent.info.run_id)
            left[own] = left.get(own, 0) + 1
    for own, count in left.items():
        old = parents[own]
        if old is not None:
            note = old.data.tags.get(MLFLOW_RUN_NOTE, "")
            moved = f"{count} finished runs went on to the comparison {parent.info.run_id}."
            client.set_tag(own, MLFLOW_RUN_NOTE, f"{note}\n\n{moved}".strip())


def _gives_up(old: Run | None, new: Run) -> bool:
    if old is None or old.info.status in ("FAILED", "KILLED"):
        return True
    same: bool = old.data.tags.get(COMPARISON) == new.data.tags.get(COMPARISON)
    return same and str(old.info.status) == "FINISHED"


def _get(client: MlflowClient, run_id: str) -> Run | None:
    with contextlib.suppress(MlflowException):
        found = client.get_run(run_id)
        return found if found.info.lifecycle_stage == "active" else None
    return None


def other_commits(runs: Iterable[Run]) -> set[str]:
    """Commits, other than the present one, that runs were made at; seven digits each."""
    present = git_commit()
    made = {run.data.tags.get("git_commit", "") for run in runs}
    return {commit[:7] for commit in made if commit and present and commit != present}
