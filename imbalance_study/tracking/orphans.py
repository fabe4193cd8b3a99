"""Orphaned runs: RUNNING in MLflow although their process no longer exists."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from imbalance_study.tracking import description, process, store
from imbalance_study.tracking.fetch import search_runs

# Seconds without a heartbeat after which a process on another machine counts as gone.
SILENCE = 300.0


class OrphanedRun(NamedTuple):
    """A run marked RUNNING whose process no longer exists."""

    run_id: str
    name: str
    experiment: str
    reason: str


def reap(
    tracking_uri: str = "auto", *, silence: float = SILENCE, dry_run: bool = False
) -> Iterator[OrphanedRun]:
    """Mark orphaned runs FAILED, with a note and the time of their last heartbeat.

    On the machine where a run began, its process is looked up. On other machines, or after a
    restart, a run counts as orphaned after `silence` seconds without a heartbeat. Runs of other
    programs carry no such tags and are left alone.

    Args:
        tracking_uri: The store; see `store.connect`.
        silence: In seconds.
        dry_run: Find the runs only.

    Yields:
        The orphaned runs.

    Raises:
        ValueError: The store cannot be reached.
    """
    store.connect(tracking_uri)
    client = MlflowClient()
    for experiment in client.search_experiments():
        yield from reap_experiment(client, experiment, silence=silence, dry_run=dry_run)


def reap_experiment(
    client: MlflowClient, experiment: Experiment, *, silence: float, dry_run: bool = False
) -> Iterator[OrphanedRun]:
    """Do as `reap` in one experiment; with an infinite `silence`, heartbeats do not count."""
    running = search_runs(client, experiment.experiment_id, "attributes.status = 'RUNNING'")
    for run in list(running):  # marking one while pages are read would shift the next page
        reason = reason_orphaned(run, silence)
        if reason:
            if not dry_run:
                mark_failed(client, run, reason)
            yield OrphanedRun(run.info.run_id, run.info.run_name, experiment.name, reason)


def reason_orphaned(run: Run, silence: float) -> str:
    """Return why the process of a run counts as gone; empty if it does not."""
    tags = run.data.tags
    if process.PROCESS not in tags:
        return ""
    ended = process.has_ended(tags)
    host, pid = (process.recorded(tags, name) for name in (process.HOST, process.PID))
    if ended is not None:
        return f"process {pid} on {host} is gone" if ended else ""
    heartbeat = _last_heartbeat(run)
    if time.time() - heartbeat <= silence:
        return ""
    moment = datetime.fromtimestamp(heartbeat).astimezone().isoformat(" ", "seconds")
    return f"process {pid} on {host} sent its last heartbeat at {moment}"


def _last_heartbeat(run: Run) -> float:
    """Return the time of the last heartbeat, or of the start, in seconds since 1970."""
    try:
        return float(run.data.tags[process.HEARTBEAT])
    except (KeyError, ValueError):
        return float(run.info.start_time) / 1000


def mark_failed(client: MlflowClient, run: Run, reason: str) -> None:
    """Mark a run FAILED at the time of its last heartbeat, with the reason in its description."""
    old = run.data.tags.get(MLFLOW_RUN_NOTE, "")
    note = "\n\n".join(filter(None, [old, description.failure_note(reason)]))
    client.set_tag(run.info.run_id, MLFLOW_RUN_NOTE, note)
    client.set_terminated(run.info.run_id, "FAILED", int(_last_heartbeat(run) * 1000))
