"""Session of a run: started or joined in MLflow, recorded in its journal, ended with a status."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import mlflow
from mlflow.tracking import fluent
from mlflow.tracking.context import registry

from imbalance_study.config.schema import Config
from imbalance_study.tracking import (
    delivery,
    description,
    experiments,
    mlflow_run,
    outage,
    process,
    run_folder,
    run_kind,
    run_names,
    store,
)
from imbalance_study.tracking import journal as journals
from imbalance_study.tracking.active import RunInfo, Session
from imbalance_study.tracking.journal import Journal
from imbalance_study.tracking.signals import StopSignals
from imbalance_study.tracking.system_metrics import SHORT, SystemMetrics
from imbalance_study.tracking.uploader import Uploader

# Seconds that the end of a run waits for a store that does not answer; less after a signal, as
# its sender may not wait long.
PATIENCE = 20.0
_HURRY = 5.0

# Exit status of a command whose runs went well, while MLflow does not have all of their records.
INCOMPLETE = 3

_unfinished: list[Session] = []  # ended children that this process still uploads
_incomplete: set[str] = set()  # ids of runs that MLflow does not have completely


class StopRun(Exception):
    """Raised by a callback to stop the run early with status FINISHED, as for a pruned trial."""


@contextlib.contextmanager
def session(
    config: Config,
    tags: Mapping[str, str] | None = None,
    *,
    parent: str = "",
    run_id: str = "",
    name: str = "",
) -> Iterator[Session]:
    """Start a run, or join that of ``mlflow run``, and record its status at the end.

    If a run is active already, the new one becomes its child, in the same experiment. A child is
    recorded even if the store can no longer be reached, and uploaded when it is back;
    `finish_uploads` waits for that.

    A signal to terminate becomes SystemExit, so that the status is written; it and Ctrl-C leave
    the run KILLED, every other error FAILED. A signal during the start or the end of a run waits
    for that, so that no run is left without a status; a second signal does not wait.

    Args:
        config: Its tracking options are used.
        tags: Tags of the run, set from the start on.
        parent: Id of the parent run, if no run is active in this process.
        run_id: An interrupted run that goes on, instead of a new one.
        name: Name of the run where `run_name` does not name it; empty: made of its options.

    Yields:
        The active run.

    Raises:
        ValueError: The store cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        run = _start(config, tags or {}, parent, run_id, name)
        status, patience = "FAILED", PATIENCE
        try:
            stack.enter_context(journals.activate(run.journal))
            with _sampling(config, run):
                signals.release()
                yield run
                signals.hold()
            status = "FINISHED"
        except StopRun:
            status = "FINISHED"
            raise
        except (KeyboardInterrupt, SystemExit):
            status, patience = "KILLED", _HURRY
            raise
        except Exception as error:
            run.journal.strict = False
            if not run.journal.has_note():  # results matter more than the error
                run.journal.note(description.failure_note(store.scrub(str(error))))
            raise store.readable_error(error) or error from error
        finally:
            signals.hold()
            _end(run, status, patience)


def _sampling(config: Config, run: Session) -> contextlib.AbstractContextManager[object]:
    """Sample the use of the machine, if it is to be recorded."""
    wanted = config.system_metrics
    if wanted is False or (wanted == "auto" and run.child):
        return contextlib.nullcontext()
    return SystemMetrics(run.journal, after=0.0 if wanted is True else SHORT)


def _start(
    config: Config, tags: Mapping[str, str], parent_id: str, run_id: str, name: str
) -> Session:
    """Start or join the run in MLflow, open its journal, and begin the upload."""
    if not name or config.run_name != "auto":
        name = run_names.run_name(config)
    parent = journals.active()
    parent_id = parent.id if parent else parent_id
    about = {
        run_kind.KIND: run_kind.CHILD if parent_id else run_kind.TRAINING,
        run_kind.DATA: run_names.data_name(config),
    }
    resolved = registry.resolve_tags(process.tags() | about | dict(tags))
    own = {name: store.scrub(str(text)) for name, text in resolved.items()}
    offline_id = f"{run_folder.OFFLINE}{uuid.uuid4().hex[:20]}"
    run = None
    if config.tracking == "online" and not run_id.startswith(run_folder.OFFLINE):
        # If the answer to the start is lost, the upload finds the run by this tag.
        tag = {delivery.JOURNAL_TAG: offline_id} if parent_id else {}
        run = _try_mlflow_run(config, own | tag, parent_id, run_id, name)
    if run is not None:
        info = RunInfo(run.info.run_id, run.info.experiment_id)
    else:
        info = RunInfo(run_id or offline_id, "")
    try:
        start = _start_entry(config, own, parent, parent_id) | _names(run, parent_id, name)
        start |= _place(config, run)
        journal = _open_journal(config, info, start, joins=bool(run_id))
    except BaseException:
        if run is not None:
            mlflow.end_run("FAILED")
        raise
    return Session(info, journal, _start_upload(config, journal, run), bool(parent_id))


def _try_mlflow_run(
    config: Config, tags: Mapping[str, str], parent_id: str, run_id: str, name: str
) -> mlflow.ActiveRun | None:
    """Start or join the run in MLflow; None for a child whose store does not answer."""
    try:
        store.connect(config.tracking_uri)
        return mlflow_run.begin(config, tags, parent_id=parent_id, run_id=run_id, name=name)
    except Exception as error:
        if parent_id:
            return None
        raise store.readable_error(error) or error from error


def _start_upload(
    config: Config, journal: Journal, run: mlflow.ActiveRun | None
) -> Uploader | None:
    """Note the store and the ids in the journal, and begin its upload; None offline."""
    journal.state |= _place(config, run)
    journal.save_state()
    if config.tracking == "offline":
        return None
    uploader = Uploader(journal, mlflow.get_tracking_uri())
    uploader.start()
    return uploader


def _place(config: Config, run: mlflow.ActiveRun | None) -> dict[str, str]:
    """Return the store of a run, and its ids in MLflow if it was created there."""
    if config.tracking == "offline":
        return {"store": ""}
    ids = (
        {} if run is None else {"run_id": run.info.run_id, "experiment_id": run.info.experiment_id}
    )
    return ids | {"store": store.without_password(mlflow.get_tracking_uri())}


def _open_journal(config: Config, info: RunInfo, start: dict[str, Any], *, joins: bool) -> Journal:
    folder = run_folder.folder_of(info.run_id, config.cache_dir)
    try:
        journal = Journal(folder)
        journal.strict = True
        journal.append("start", start)
    except OSError as error:
        raise OSError(
            f"the journal of the run goes to {folder}, which cannot be written "
            f"({error.strerror or error}); choose another folder with cache_dir=FOLDER or the "
            "variable IMBALANCE_STUDY_CACHE"
        ) from error
    if joins:
        journal.tags(start["tags"])
    if not start["parent"]:
        journal.append("view", {"data": run_names.data_name(config), "time": journals.now()})
    journal.strict = False
    return journal


def _start_entry(
    config: Config, tags: Mapping[str, str], parent: Journal | None, parent_id: str
) -> dict[str, Any]:
    experiment = experiments.named_now(config.experiment)
    return {
        "experiment": parent.start["experiment"] if parent else experiment,
        "time": journals.now(),
        "tags": dict(tags),
        "parent": parent_id,
    }


def _names(run: mlflow.ActiveRun | None, parent_id: str, name: str) -> dict[str, str]:
    """Return the name of a run, and of its experiment if it has no parent to share it with."""
    if run is None:
        return {"name": name}
    names = {"name": str(run.info.run_name)}
    if not parent_id:
        names["experiment"] = mlflow.get_experiment(run.info.experiment_id).name
    return names


def _end(run: Session, status: str, patience: float) -> None:
    """Record the status and wait for the upload, `patience` seconds at most without progress."""
    run.journal.strict = False
    run.journal.end(status)
    _deactivate(run.info.run_id)
    if run.child and any(map(_is_uploading, _unfinished)):
        patience = min(patience, _HURRY / 5)  # the store did not answer the last child either
    until = time.monotonic() + patience
    goes_on = run.child and status != "KILLED"
    uploaded = False
    try:
        if run.uploader is not None:
            uploaded = run.uploader.finish(patience, nested=goes_on)
        if not run.child:
            finish_uploads(max(0.5, until - time.monotonic()))
    finally:
        if run.uploader is None:
            run.journal.close()
        if goes_on and run.uploader is not None and not uploaded:
            _unfinished.append(run)
        else:
            _print_upload(run, uploaded)


def finish_uploads(patience: float = outage.PATIENCE) -> bool:
    """Wait until the children that this process recorded are uploaded.

    Args:
        patience: Seconds of a failing store after which the rest stays in the journals for `sync`.

    Returns:
        Whether the store has all of them.
    """
    runs, _unfinished[:] = list(_unfinished), []
    count = sum(map(_is_uploading, runs))
    if count and patience > PATIENCE:
        line = f"waiting at most {patience:.0f} seconds until MLflow has {count} runs"
        print(line, file=sys.stderr, flush=True)
    complete, until = True, time.monotonic() + patience
    for run in runs:
        assert run.uploader is not None
        uploaded = run.uploader.finish(max(0.5, until - time.monotonic()))
        complete &= uploaded
        _print_upload(run, uploaded)
    return complete


def _is_uploading(run: Session) -> bool:
    return run.uploader is not None and run.uploader.is_alive()


def exit_status() -> int:
    """Return the exit status of a command that went well: `INCOMPLETE` if MLflow lacks records."""
    return INCOMPLETE if _incomplete else 0


def is_incomplete(run_id: str) -> bool:
    """Whether MLflow does not have all records of a run that this process has ended."""
    return run_id in _incomplete


def _print_upload(run: Session, uploaded: bool) -> None:
    lines = description.upload_summary(run, uploaded)
    if lines and run.uploader is not None:
        _incomplete.add(run.info.run_id)
    for line in lines:
        print(store.scrub(line), file=sys.stderr, flush=True)


def _deactivate(run_id: str) -> None:
    """Take the run off MLflow's stack, without the request to the store that `end_run` makes."""
    active = fluent._active_run_stack.get()
    if active and active[-1].info.run_id == run_id:
        active.pop()
