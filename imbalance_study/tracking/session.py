"""A run that is being recorded: begun or joined, fed through its journal, ended with the truth."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import mlflow
from mlflow.tracking import fluent
from mlflow.tracking.context import registry

from imbalance_study.config.schema import Config
from imbalance_study.tracking import delivery, description, outage, process, run_folder, store
from imbalance_study.tracking import journal as journals
from imbalance_study.tracking.active import Info, Session
from imbalance_study.tracking.journal import Journal
from imbalance_study.tracking.system_metrics import SystemMetrics
from imbalance_study.tracking.uploader import Uploader

# Seconds that the end of a run waits for a store that does not answer; less after a signal, as
# the sender may not wait long.
PATIENCE = 20.0
_HURRY = 5.0
_NOTE = "mlflow.note.content"


_waiting: list[Session] = []  # children that this process still tells the store of, after their end


class StopRun(Exception):
    """What a hook raises to end a run that is finished all the same: a pruned trial."""


@contextlib.contextmanager
def session(
    config: Config,
    tags: Mapping[str, str] | None = None,
    *,
    parent: str = "",
    run_id: str = "",
) -> Iterator[Session]:
    """Start a run or join that of ``mlflow run``; its status afterwards tells what happened.

    Where a run is active already, the new one becomes its child, in the same experiment. A child
    is recorded even when the store cannot be reached any more, and is told to it when it is back,
    which `catch_up` waits for.

    A signal to terminate becomes SystemExit, so that the status is written; it and Ctrl-C leave
    the run KILLED, every other error FAILED. One that comes while the run is being begun or ended
    waits for that, so that no run is left without its end; a second one does not wait.

    Args:
        config: Its options of tracking count; the store is connected to.
        tags: Of the run, there from its start on.
        parent: Id of the run that it becomes a child of, where none is active in this process.
        run_id: A run of before that goes on, instead of a new one.

    Raises:
        ValueError: The store cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(_Signals())
        begun = _begin(config, tags or {}, parent, run_id)
        status, patience = "FAILED", PATIENCE
        try:
            stack.enter_context(journals.activated(begun.journal))
            sampling = SystemMetrics(begun.journal) if config.system_metrics else None
            with sampling or contextlib.nullcontext():
                signals.release()
                yield begun
                signals.hold()
            status = "FINISHED"
        except StopRun:
            status = "FINISHED"
            raise
        except (KeyboardInterrupt, SystemExit):
            status, patience = "KILLED", _HURRY
            raise
        except Exception as error:
            begun.journal.strict = False
            if not begun.journal.has_tag(_NOTE):  # what was found out matters more
                begun.journal.tags({_NOTE: description.failure_note(store.scrub(str(error)))})
            raise store.readable_error(error) or error from error
        finally:
            signals.hold()
            _end(begun, status, patience)


def _begin(config: Config, tags: Mapping[str, str], above: str, run_id: str) -> Session:
    parent = journals.active()
    above = parent.id if parent else above
    found = registry.resolve_tags(process.tags() | dict(tags))
    own = {name: store.scrub(str(text)) for name, text in found.items()}
    run, offline_id = None, f"{run_folder.OFFLINE}{uuid.uuid4().hex[:20]}"
    if config.tracking == "online" and not run_id.startswith(run_folder.OFFLINE):
        try:
            store.connect(config.tracking_uri)
            # Where the answer to this is lost, the upload finds the run by the tag.
            tag = {delivery.JOURNAL_TAG: offline_id} if above else {}
            run = _mlflow_run(config, own | tag, above, run_id)
        except Exception as error:
            if not above:
                raise store.readable_error(error) or error from error
    if run is not None:
        info = Info(run.info.run_id, run.info.experiment_id)
    else:
        info = Info(run_id or offline_id, "")
    try:
        journal = _journal(config, info, _start(config, own, parent, above), joins=bool(run_id))
    except BaseException:
        if run is not None:
            mlflow.end_run("FAILED")
        raise
    offline = config.tracking == "offline"
    uri = "" if offline else mlflow.get_tracking_uri()
    journal.state["store"] = store.without_password(uri)
    if run is not None:
        journal.state |= {"run_id": info.run_id, "experiment_id": info.experiment_id}
    journal.save_state()
    uploader = None
    if not offline:
        uploader = Uploader(journal, uri)
        uploader.start()
    return Session(info, journal, uploader, bool(above))


def _journal(config: Config, info: Info, start: dict[str, Any], *, joins: bool) -> Journal:
    folder = run_folder.folder_of(info.run_id, config.cache_dir)
    try:
        journal = Journal(folder)
        journal.strict = True
        journal.append("start", start)
    except OSError as error:
        raise OSError(
            f"the journal of the run goes to {folder}, which cannot be written "
            f"({error.strerror or error}); choose another place with cache_dir=FOLDER or the "
            "variable IMBALANCE_STUDY_CACHE"
        ) from error
    if joins:
        journal.tags(start["tags"])
    journal.strict = False
    return journal


def _start(
    config: Config, tags: Mapping[str, str], parent: Journal | None, above: str
) -> dict[str, Any]:
    experiment = parent.begun["experiment"] if parent else config.experiment
    return {
        "experiment": experiment,
        "name": description.run_name(config),
        "time": journals.now(),
        "tags": dict(tags),
        "parent": above,
    }


def _mlflow_run(
    config: Config, tags: Mapping[str, str], above: str, run_id: str
) -> mlflow.ActiveRun:
    """Start the run, or join it; MLflow's own functions then know it as the active one."""
    active = mlflow.active_run()
    parent = active or (mlflow.get_run(above) if above else None)
    joins = "MLFLOW_RUN_ID" in os.environ
    name = None if run_id or (config.run_name == "auto" and joins) else description.run_name(config)

    def begin() -> mlflow.ActiveRun:
        if not (joins or run_id) and parent is None:
            mlflow.set_experiment(config.experiment)
        return mlflow.start_run(
            run_id=run_id or None,
            run_name=name,
            nested=active is not None,
            parent_run_id=parent.info.run_id if parent and not run_id else None,
            experiment_id=parent.info.experiment_id if parent and not run_id else None,
            tags=dict(tags),
            log_system_metrics=False,
        )

    return store.retry_while_busy(begin)


def _end(begun: Session, status: str, patience: float) -> None:
    """Record the end, and wait for the upload: in vain for a bounded time alone."""
    journal, uploader, uploaded = begun.journal, begun.uploader, False
    journal.strict = False
    journal.end(status)
    _leave(begun.info.run_id)
    if begun.child and any(_alive(one) for one in _waiting):
        patience = min(patience, _HURRY / 5)  # the store did not answer the last child either
    until = time.monotonic() + patience
    goes_on = begun.child and status != "KILLED"
    try:
        uploaded = uploader is not None and uploader.finish(patience, nested=goes_on)
        if not begun.child:
            finish_uploads(max(0.5, until - time.monotonic()))
    finally:
        if uploader is None:
            journal.close()
        if goes_on and uploader is not None and not uploaded:
            _waiting.append(begun)
        else:
            _say(begun, uploaded)


def finish_uploads(patience: float = outage.PATIENCE) -> bool:
    """Wait for what the store was not told yet of the children that this process recorded.

    Args:
        patience: Seconds of a failing store after which the rest stays in the journals for `sync`.

    Returns:
        Whether the store has all of them.
    """
    behind, _waiting[:] = list(_waiting), []
    count = sum(map(_alive, behind))
    if count and patience > PATIENCE:
        line = f"waiting {patience:.0f} seconds at the most until MLflow takes {count} runs"
        print(line, file=sys.stderr, flush=True)
    whole, until = True, time.monotonic() + patience
    for one in behind:
        assert one.uploader is not None
        uploaded = one.uploader.finish(max(0.5, until - time.monotonic()))
        whole &= uploaded
        _say(one, uploaded)
    return whole


def _alive(begun: Session) -> bool:
    return begun.uploader is not None and begun.uploader.is_alive()


def _say(begun: Session, uploaded: bool) -> None:
    for line in description.upload_summary(begun, uploaded):
        print(store.scrub(line), file=sys.stderr, flush=True)


def _leave(run_id: str) -> None:
    """Take the run off MLflow's stack, without the call to the store that `end_run` makes."""
    active = fluent._active_run_stack.get()
    if active and active[-1].info.run_id == run_id:
        active.pop()


class _Signals:
    """Signals to stop become exceptions in the main thread: at once, or when they are let through.

    Held at first; the context's end lets through what came meanwhile.
    """

    def __init__(self) -> None:
        self._held = True
        self._waiting = 0  # the number of a signal; 0: none
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)
            usual = {signal.SIGINT: signal.default_int_handler, hang_up: signal.SIG_DFL}
            for number in {signal.SIGTERM, *usual}:
                # Who is told to ignore Ctrl-C or, by nohup, the end of the terminal goes on so.
                if number == signal.SIGTERM or signal.getsignal(number) == usual[number]:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            self.release()

    def hold(self) -> None:
        """From here on signals wait."""
        self._held = True

    def release(self) -> None:
        """Let signals through, the one that waits first.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            SystemExit: Any other signal, with 128 and its number.
        """
        self._held = False
        if self._waiting:
            number, self._waiting = self._waiting, 0
            self._stop(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._held and not self._waiting:
            self._waiting = number
        else:
            self._stop(number)

    def _stop(self, number: int) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)
