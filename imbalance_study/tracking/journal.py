"""The journal of a run: on this machine's disk first, every record that is meant for MLflow.

A folder with ``events.jsonl`` (an entry a line, in order), ``files/<number>/`` (the files of an
entry), ``state.json`` (the position of the upload, and the run in MLflow) and a lock.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from imbalance_study.config.schema import Config
from imbalance_study.files import exclusive_lock, replacing
from imbalance_study.tracking import attachments, event_log
from imbalance_study.tracking.event_log import DamagedLog, Entry, EventLog
from imbalance_study.tracking.run_folder import CHECKPOINTS, JOURNAL

_EVENTS, _STATE, _FILES = "events.jsonl", "state.json", "files"
# Fields of the entry that began a run online: the place of the run in MLflow.
_PLACE = ("run_id", "experiment_id", "store")


class Journal:
    """Appends entries, and remembers which of them are uploaded.

    A full disk does not end a training: lines stay in memory until they can be written, files are
    left out and counted. With `strict`, which is set after the training, it is an error.

    Attributes:
        strict: Raise if an entry cannot be written.
        keeps_files: Keep the files of uploaded entries until the journal is removed.
        lost_files: Number of files that were left out.
        start: Content of the entry that began the run: experiment, name, time, tags, parent.
        status: The final status of the run; empty before its end.
        state: Position of the upload, and ids of the run in MLflow.
        changed: Notified after an entry and after an upload.
        damage: What was damaged, if `salvage` passed over it.

    Args:
        run_folder: Folder of the run.
        salvage: Pass over damaged lines: each becomes an entry that uploads the files of the lost
            one and says what was damaged. The damaged file stays beside the new one.

    Raises:
        ValueError: Another process writes or uploads this journal, or it is damaged.
    """

    def __init__(self, run_folder: Path, *, salvage: bool = False) -> None:
        self.run_folder = run_folder
        self.folder = run_folder / JOURNAL
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self._acquire_lock()
        self.strict = self.keeps_files = False
        self.lost_files = 0
        self.damage = event_log.salvage(self.folder / _EVENTS, self._stand_in) if salvage else ""
        self._log = self._open_log()
        entries = self._log.entries
        self.changed = threading.Condition(threading.RLock())
        self._next = entries[-1].number + 1 if entries else 0
        self.start: dict[str, Any] = {}
        for entry in entries:
            self._note_start(entry)
        self.state = _read_state(self.folder / _STATE, self.start, self._next)
        again = set(self.state["postponed"])
        self._pending = deque(
            e for e in entries if e.number >= self.state["position"] or e.number in again
        )
        self._postponed: list[Entry] = []
        self.status = entries[-1].content["status"] if entries and entries[-1].op == "end" else ""

    @property
    def id(self) -> str:
        """Name of the run's folder."""
        return self.run_folder.name

    def append(
        self,
        op: str,
        content: Mapping[str, Any],
        files: Mapping[str, bytes | Path] | None = None,
    ) -> None:
        """Add an entry.

        Args:
            op: Its kind; `imbalance_study.tracking.delivery` lists them.
            content: For JSON.
            files: Path within the entry to the content, or to a file or folder that is copied.

        Raises:
            OSError: It cannot be written, and `strict` is set.
        """
        with self.changed:
            entry = Entry(self._next, op, dict(content))
            if files and not self._store_files(entry, files):
                return
            self._next += 1  # first: a signal may come between any two of these lines
            try:
                self._log.append(entry.line(), strict=self.strict)
            except OSError:
                self._next = entry.number  # a number that is missing would count as damage
                raise
            self._pending.append(entry)
            self._note_start(entry)
            self.status = str(content["status"]) if op == "end" else ""
            self.changed.notify_all()

    def _note_start(self, entry: Entry) -> None:
        """Remember a start; a resumed run keeps its first time, but has another process."""
        if entry.op == "start":
            earlier = {"time": self.start["time"]} if self.start else {}
            self.start = entry.content | earlier

    def metrics(self, values: Mapping[str, float], step: int) -> int:
        """Record metrics at a step; return their time in milliseconds since 1970."""
        plain, recorded_at = {name: float(value) for name, value in values.items()}, now()
        if plain:
            self.append("metrics", {"step": step, "time": recorded_at, "values": plain})
        return recorded_at

    def params(self, values: Mapping[str, Any]) -> None:
        """Record params; a param that the run has already keeps its text."""
        self.append("params", {"values": {name: str(value) for name, value in values.items()}})

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags."""
        self.append("tags", {"values": {name: str(value) for name, value in values.items()}})

    def note(self, text: str) -> None:
        """Set the description of the run, in Markdown."""
        self.tags({MLFLOW_RUN_NOTE: text})

    def has_note(self) -> bool:
        """Return whether a description was set."""
        tags = [entry.content["values"] for entry in self.entries() if entry.op == "tags"]
        return any(MLFLOW_RUN_NOTE in values for values in tags)

    def files(self, contents: Mapping[str, bytes | Path]) -> None:
        """Record files under their paths among the run's artifacts."""
        if contents:
            self.append("files", {}, contents)

    def dict(self, content: Mapping[str, Any], path: str) -> None:
        """Record a JSON file."""
        text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
        self.files({path: text.encode("utf-8", "replace")})

    def table(self, columns: Mapping[str, Any], path: str) -> None:
        """Record a table (a ``.json`` file) that the UI shows as one."""
        import pandas as pd

        frame = pd.DataFrame(dict(columns))
        text = frame.to_json(orient="split", index=False, date_format="iso")
        self.append("table", {"path": path}, {path: text.encode("utf-8", "replace")})

    def end(self, status: str) -> None:
        """Record the final status; a clock that was set back gives no negative duration."""
        ended_at = max(now(), self.start.get("time", 0))
        self.append("end", {"status": status, "time": ended_at})
        self.flush()

    def flush(self) -> None:
        """Force the written entries to the disk."""
        with self.changed:
            self._log.flush()

    def pending(self, limit: int = 100) -> list[Entry]:
        """Return the next entries to upload, in order."""
        with self.changed:
            return [self._pending[i] for i in range(min(limit, len(self._pending)))]

    def advance(self, entries: int) -> None:
        """Mark the next entries as uploaded, and remove their files unless they are kept."""
        with self.changed:
            done = [self._pending.popleft() for _ in range(entries)]
            self._pass(done[-1])
            numbers = {entry.number for entry in done}
            self.state["postponed"] = [n for n in self.state["postponed"] if n not in numbers]
            self.changed.notify_all()
        self.save_state()
        for entry in () if self.keeps_files else done:
            shutil.rmtree(self.files_of(entry), ignore_errors=True)

    def postpone(self) -> None:
        """Put the next entry behind all others, also those to come; its files stay."""
        with self.changed:
            entry = self._pending.popleft()
            self._postponed.append(entry)
            self._pass(entry)
            self.state["postponed"] = sorted({*self.state["postponed"], entry.number})
        self.save_state()

    def postponed(self) -> list[Entry]:
        """Return the entries that wait behind all others."""
        with self.changed:
            return list(self._postponed)

    def recall(self) -> None:
        """Let the postponed entries be the next ones."""
        with self.changed:
            self._pending.extendleft(reversed(self._postponed))
            self._postponed.clear()

    def _pass(self, entry: Entry) -> None:
        """Move the position behind an entry; a postponed one lies before it already."""
        self.state["position"] = max(self.state["position"], entry.number + 1)

    def begin_anew(self, experiment: str) -> None:
        """Forget the run in MLflow: all entries are uploaded again, to a new run.

        Args:
            experiment: Its experiment; ``auto``: that of the first run.
        """
        with self.changed:
            self.state |= {"run_id": "", "experiment_id": ""}
            if experiment != "auto":
                self.start["experiment"] = experiment
        self.upload_again()

    def upload_again(self) -> None:
        """Mark all entries as not uploaded."""
        with self.changed:
            self.state |= {"position": 0, "postponed": []}
            self._pending = deque(self.entries())
            self._postponed.clear()
        self.save_state()

    def save_state(self) -> None:
        """Write the state; if it cannot be written, a second upload does no harm."""
        with contextlib.suppress(OSError), replacing(self.folder / _STATE) as partial:
            partial.write_text(json.dumps(self.state), "utf-8")

    def files_of(self, entry: Entry) -> Path:
        """Return the folder of an entry's files."""
        return self.folder / _FILES / str(entry.number)

    def entries(self) -> list[Entry]:
        """Return all entries that are on the disk."""
        return self._log.read()

    def recorded_metrics(self) -> set[tuple[int, str]]:
        """Return step and name of every recorded metric."""
        return {
            (entry.content["step"], name)
            for entry in self.entries()
            if entry.op == "metrics"
            for name in entry.content["values"]
        }

    def time_of(self, names: Collection[str], step: int) -> int:
        """Return the time in milliseconds since 1970 of the last record of any of these metrics."""
        times = [
            entry.content["time"]
            for entry in self.entries()
            if entry.op == "metrics" and entry.content["step"] == step
            if not entry.content["values"].keys().isdisjoint(names)
        ]
        return max(times, default=now())

    def last_step(self, prefix: str) -> int:
        """Return the last step at which a metric with this prefix was recorded; -1 for none."""
        steps = [step for step, name in self.recorded_metrics() if name.startswith(prefix)]
        return max(steps, default=-1)

    def close(self) -> None:
        """Release the journal; remove it if nothing is left to do with it.

        The journal of a run that did not finish stays as long as there are checkpoints for resume.
        An empty journal is removed, too.
        """
        with self.changed:
            resumable = any((self.run_folder / CHECKPOINTS).glob("*"))
            over = self.status == "FINISHED" or (self.status and not resumable)
            left = self._pending or self._postponed or self.lost_files
            if not self._next or (over and not left):
                shutil.rmtree(self.folder, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.run_folder.rmdir()
            self._log.close()
            self._lock.close()

    def _acquire_lock(self) -> contextlib.ExitStack:
        """Exclude other processes until the result is closed."""
        lock = contextlib.ExitStack()
        try:
            lock.enter_context(exclusive_lock(self.folder / "lock", wait=False))
        except BlockingIOError:
            raise ValueError(
                f"the run {self.id} is still being recorded or uploaded by another process; wait "
                "for its end, or stop it"
            ) from None
        return lock

    def _open_log(self) -> EventLog:
        try:
            return EventLog(self.folder / _EVENTS)
        except DamagedLog as error:
            self._lock.close()
            raise ValueError(
                f"{error}; nothing was changed; imbalance-study sync --salvage true {self.id} "
                "uploads the records before and behind"
            ) from error
        except BaseException:
            self._lock.close()
            raise

    def _stand_in(self, number: int, damage: str) -> Entry:
        """Make the entry for a lost one; that of a run's start has what is known of it."""
        if number > 0:
            return Entry(number, "lost", {"damage": damage})
        begun = {"experiment": Config().experiment, "name": self.id, "time": now()}
        return Entry(0, "start", begun | {"tags": {}, "parent": "", "damage": damage})

    def _store_files(self, entry: Entry, files: Mapping[str, bytes | Path]) -> bool:
        """Copy the files of an entry; return whether the disk had room."""
        try:
            attachments.store(self.files_of(entry), files)
        except OSError as error:
            if self.strict:
                reason = error.strerror or str(error)
                raise OSError(error.errno, reason, str(self.folder)) from error
            self.lost_files += len(files)
            return False
        return True


def _read_state(path: Path, start: Mapping[str, Any], entries: int) -> dict[str, Any]:
    """Read the state of a journal; what is missing in it is taken from its start."""
    state: dict[str, Any] = {"position": 0, "postponed": []}
    state |= {"run_id": "", "experiment_id": "", "store": ""}
    state |= {name: start[name] for name in _PLACE if name in start}
    with contextlib.suppress(OSError, ValueError, TypeError):
        state |= json.loads(path.read_text("utf-8"))
        state["position"] = min(int(state["position"]), entries)
        state["postponed"] = [int(number) for number in state["postponed"]]
    return state


def now() -> int:
    """Return the time in milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


_thread = threading.local()


def active() -> Journal | None:
    """Return the journal of the innermost run of this thread, if any."""
    stack = getattr(_thread, "stack", [])
    return stack[-1] if stack else None


def current() -> Journal:
    """Return the journal of the innermost run of this thread.

    Raises:
        ValueError: No run is being recorded.
    """
    journal = active()
    if journal is None:
        raise ValueError("no run is being recorded; open one with tracking.session.session")
    return journal


@contextlib.contextmanager
def activate(journal: Journal) -> Iterator[None]:
    """Make a journal the innermost one of this thread."""
    if not hasattr(_thread, "stack"):
        _thread.stack = []
    _thread.stack.append(journal)
    try:
        yield
    finally:
        _thread.stack.pop()
