"""Runs that say RUNNING although their process is gone: found, and marked FAILED."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from imbalance_study.tracking import description, process, store

# Seconds without a sign of life after which a process on another machine counts as gone.
SILENCE = 300.0
_NOTE = "mlflow.note.content"


class OrphanedRun(NamedTuple):
    """A run without a process."""

    run_id: str
    name: str
    experiment: str
    why: str


def reap(
    tracking_uri: str = "auto", *, silence: float = SILENCE, dry_run: bool = False
) -> Iterator[OrphanedRun]:
    """Find ghosts, and mark them FAILED with a note and the time of their last sign of life.

    On the machine where a run began its process is looked for. Elsewhere, or after a restart of
    the machine, a run counts as gone that gave no sign of life for `silence` seconds. Runs that are
    not ours carry no such tags and are left alone.

    Args:
        tracking_uri: The store; see `store.connect`.
        silence: In seconds.
        dry_run: Find them alone.

    Yields:
        The ghosts.

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
    """As `reap`, in one experiment; with an infinite `silence` where the process can be told."""
    token: str | None = ""
    while token is not None:
        found = client.search_runs(
            [experiment.experiment_id],
            "attributes.status = 'RUNNING'",
            max_results=1000,
            page_token=token or None,
        )
        for run in found:
            why = reason_orphaned(run, silence)
            if why:
                if not dry_run:
                    mark_failed(client, run, why)
                yield OrphanedRun(run.info.run_id, run.info.run_name, experiment.name, why)
        token = found.token or None


def reason_orphaned(run: Run, silence: float) -> str:
    """Why the process of a run counts as gone; nothing where it does not."""
    tags = run.data.tags
    if process.PROCESS not in tags:
        return ""
    dead = process.has_ended(tags)
    host, pid = tags.get(process.HOST, "?"), tags.get(process.PID, "?")
    if dead is not None:
        return f"process {pid} on {host} is gone" if dead else ""
    seen = _last_seen(run)
    said = datetime.fromtimestamp(seen).astimezone().isoformat(" ", "seconds")
    text = f"process {pid} on {host} gave its last sign of life at {said}"
    return text if time.time() - seen > silence else ""


def _last_seen(run: Run) -> float:
    """Seconds since 1970."""
    try:
        return float(run.data.tags[process.HEARTBEAT])
    except (KeyError, ValueError):
        return float(run.info.start_time) / 1000


def mark_failed(client: MlflowClient, run: Run, why: str) -> None:
    """Mark a run FAILED, with the reason and the time of its last sign of life."""
    note = "\n\n".join(filter(None, [run.data.tags.get(_NOTE, ""), description.failure_note(why)]))
    client.set_tag(run.info.run_id, _NOTE, note)
    client.set_terminated(run.info.run_id, "FAILED", int(_last_seen(run) * 1000))
