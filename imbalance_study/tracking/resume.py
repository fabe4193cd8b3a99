"""Continuation of an interrupted run as the same run of MLflow."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
from mlflow.exceptions import MlflowException

from imbalance_study.config import fields
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import Config
from imbalance_study.experiment.result import TrainingResult
from imbalance_study.tracking import process, run, run_folder, store, sync
from imbalance_study.tracking.journal import Journal
from imbalance_study.training import checkpointing, distributed


class _Interrupted(NamedTuple):
    """An interrupted run on this machine."""

    state: dict[str, Any]  # content of its newest complete checkpoint
    folder: Path  # the current folder at its start
    uri: str  # its store


def resume(
    run_id: str,
    *,
    tracking_uri: str = "auto",
    tracking: str = "auto",
    cache_dir: str = "auto",
    show_progress: bool = True,
) -> TrainingResult | None:
    """Continue a run from its newest complete checkpoint, in the folder where it was started.

    If its training was finished, and only its upload was interrupted, the rest is uploaded; then
    there is no result.

    Args:
        run_id: The run, or ``runs:/<id>``.
        tracking_uri: The store; ``auto``: the one that the run began with.
        tracking: ``online``, ``offline``, or ``auto``: as the run began.
        cache_dir: Folder of its checkpoints; see `run_folder.folder_of`.
        show_progress: Show progress and, at the end, results and links.

    Raises:
        ValueError: There is no such run or no complete checkpoint of it, it is finished or still
            running, or the data, the versions or the machine have changed since its start.
    """
    run_id = run_id.removeprefix("runs:/").strip("/")
    first = not distributed.is_secondary_rank()
    if first and tracking != "offline":
        message = _upload_rest(run_id, tracking_uri, cache_dir)
        if message:
            print(message, file=sys.stderr, flush=True)
            return None
    interrupted = _find(run_id, tracking_uri, cache_dir)
    resolved = _resolved(interrupted, tracking, cache_dir)
    with contextlib.chdir(interrupted.folder):
        online = resolved.config.tracking == "online" and not run_id.startswith(run_folder.OFFLINE)
        if first and online:
            _check_store(run_id, interrupted.uri)
        if first and show_progress:
            epoch = interrupted.state["fit"]["history"][-1]["epoch"]
            print(f"going on with run {run_id} after epoch {epoch}", file=sys.stderr, flush=True)
        return run.train(
            resolved,
            run.Recording(run_id=run_id, state=interrupted.state),
            show_progress=show_progress,
        )


def _upload_rest(run_id: str, tracking_uri: str, cache_dir: str) -> str:
    """Upload the rest of a run whose training is finished; return a message, empty for others."""
    folder = run_folder.folder_of(run_id, cache_dir)
    if not (folder / run_folder.JOURNAL).is_dir():
        return ""
    journal = Journal(folder)
    only_upload_left = (
        journal.status == "FINISHED" and journal.pending(1) and journal.state["store"]
    )
    journal.close()
    if not only_upload_left:
        return ""
    (outcome,) = sync.sync([run_id], tracking_uri=tracking_uri, cache_dir=cache_dir)
    if not outcome.uploaded:
        raise ValueError(f"the training of run {run_id} is finished, but it {outcome.message}")
    checkpointing.discard(folder / run_folder.CHECKPOINTS)
    return f"the training of run {run_id} was finished: {outcome.message}"


def _find(run_id: str, tracking_uri: str, cache_dir: str) -> _Interrupted:
    """Find a run on this machine that no other process records."""
    folder = run_folder.folder_of(run_id, cache_dir)
    if not (folder / run_folder.CHECKPOINTS).is_dir():
        raise _no_checkpoint(run_id, tracking_uri, folder)
    uri = tracking_uri
    if not distributed.is_secondary_rank():  # the first process has the journal
        journal = Journal(folder)
        uri, status = sync.intended_store(journal, tracking_uri), journal.status
        journal.close()
        if status == "FINISHED":
            raise ValueError(f"run {run_id} is FINISHED: there is nothing to resume")
    state = checkpointing.newest(
        folder / run_folder.CHECKPOINTS, lambda line: print(line, file=sys.stderr)
    )
    if state is None:
        raise _no_checkpoint(run_id, tracking_uri, folder)
    return _Interrupted(state, Path(state["started_in"]), _absolute(uri))


def _no_checkpoint(run_id: str, tracking_uri: str, folder: Path) -> ValueError:
    """Make the error for a run without a checkpoint, with the reason that the store knows."""
    record = None
    with contextlib.suppress(Exception):
        store.connect(tracking_uri)
        record = mlflow.MlflowClient().get_run(run_id)
    if record is None:
        return ValueError(
            f"there is no checkpoint of run {run_id!r} in {folder}; check the id, the cache_dir "
            "and the machine"
        )
    if record.info.status == "FINISHED":
        return ValueError(f"run {run_id} is FINISHED: there is nothing to resume")
    host = process.recorded(record.data.tags, process.HOST)
    return ValueError(
        f"run {run_id} is {record.info.status} and has no checkpoint in {folder}: it began on "
        f"{host}, is a child of a comparison or study, or ended before its first epoch did"
    )


def _resolved(interrupted: _Interrupted, tracking: str, cache_dir: str) -> Resolved:
    config = interrupted.state["config"] | {"tracking_uri": interrupted.uri}
    if tracking != "auto":
        config["tracking"] = tracking
    if cache_dir != "auto":
        config["cache_dir"] = str(Path(cache_dir).expanduser().absolute())
    stored = fields.renamed(Config, interrupted.state["origins"], note=False)
    names = [field.name for field in dataclasses.fields(Config)]
    return Resolved(Config.from_dict(config), {name: stored.get(name, "default") for name in names})


def _check_store(run_id: str, uri: str) -> None:
    shown = store.without_password(store.connect(uri))
    try:
        record = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        raise ValueError(f"unknown run {run_id!r} in {shown}") from error
    if record.info.status == "FINISHED":
        raise ValueError(f"run {run_id} is FINISHED: there is nothing to resume")
    if record.info.lifecycle_stage == "deleted":
        raise ValueError(f"run {run_id} is deleted; restore it first")


def _absolute(uri: str) -> str:
    """Make the address of a sqlite file independent of the current folder."""
    path = store.sqlite_file(uri)
    if path is None or path.is_absolute() or not path.exists():
        return uri
    return store.sqlite_address(path)
