"""The journal of a run: all that MLflow is to be told, on this machine's disk first.

A folder with ``events.jsonl`` (an entry a line, in order), ``files/<number>/`` (what an entry
uploads), ``state.json`` (how far the upload is, and which run it goes to) and a lock. Lines are
handed to the system at once, so that they outlive a process that is killed; they are forced to the
disk every few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from imbalance_study import files
from imbalance_study.tracking import run_folder as tracking_run_folder

# Seconds between two times that lines are forced to the disk.
_SYNC_EVERY = 5.0
_EVENTS, _STATE, _FILES = "events.jsonl", "state.json", "files"


class Entry(NamedTuple):
    """One line of a journal."""

    number: int  # from 0
    op: str
    content: dict[str, Any]


class Journal:
    """Appends entries, and remembers which of them are uploaded.

    A full disk does not end a training: lines stay in memory until they can be written, files are
    left out and counted. Once `strict` is set, which it is after the training, it is an error.

    Raises:
        ValueError: Another process writes or uploads this journal.
    """

    def __init__(self, run_folder: Path) -> None:
        self.run_folder = run_folder
        self.folder = run_folder / tracking_run_folder.JOURNAL
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self._locked()
        self.strict = False
        self.lost_files = 0
        self.state: dict[str, Any] = {"position": 0, "run_id": "", "experiment_id": "", "store": ""}
        with contextlib.suppress(OSError, ValueError):
            self.state |= json.loads((self.folder / _STATE).read_text("utf-8"))
        entries, length = _read(self.folder / _EVENTS)
        self._file = (self.folder / _EVENTS).open("ab", buffering=0)
        self._file.truncate(length)
        self._length = length
        self._unwritten = b""
        self._synced = time.monotonic()
        self.changed = threading.Condition(threading.RLock())
        self._next = entries[-1].number + 1 if entries else 0
        self.state["position"] = min(self.state["position"], self._next)
        self._pending = deque(e for e in entries if e.number >= self.state["position"])
        self.begun: dict[str, Any] = {}
        for entry in entries:
            self._note_start(entry)
        self.ended = entries[-1].content["status"] if entries and entries[-1].op == "end" else ""

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
            op: What it is; `imbalance_study.tracking.delivery` knows them.
            content: For JSON.
            files: Path within the entry to its content, or to a file or folder that is taken.

        Raises:
            OSError: It cannot be written, and `strict` is set.
        """
        with self.changed:
            entry = Entry(self._next, op, dict(content))
            if files and not self._keep(entry.number, files):
                return
            self._next += 1  # first: a signal may come between any two of these lines
            line = json.dumps({"n": entry.number, "op": op, **entry.content}) + "\n"
            self._write(line.encode("ascii"))
            self._pending.append(entry)
            self._note_start(entry)
            self.ended = str(content["status"]) if op == "end" else ""
            self.changed.notify_all()

    def _note_start(self, entry: Entry) -> None:
        """A run that goes on keeps its time, but has another process."""
        if entry.op == "start":
            earlier = {"time": self.begun["time"]} if self.begun else {}
            self.begun = entry.content | earlier

    def metrics(self, values: Mapping[str, float], step: int) -> int:
        """Record metrics at a step; returns their time."""
        plain, time_ = {name: float(value) for name, value in values.items()}, now()
        if plain:
            self.append("metrics", {"step": step, "time": time_, "values": plain})
        return time_

    def params(self, values: Mapping[str, Any]) -> None:
        """Record params; those that the run has already keep their text."""
        self.append("params", {"values": {name: str(value) for name, value in values.items()}})

    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags."""
        self.append("tags", {"values": {name: str(value) for name, value in values.items()}})

    def files(self, contents: Mapping[str, bytes | Path]) -> None:
        """Record files under the paths that they get among the run's artifacts."""
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
        """Record how the run ended."""
        self.append("end", {"status": status, "time": now()})
        self.flush()

    def flush(self) -> None:
        """Force what was written to the disk."""
        with self.changed, contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def pending(self, limit: int = 100) -> list[Entry]:
        """The next entries that are not uploaded, in order."""
        with self.changed:
            return [self._pending[i] for i in range(min(limit, len(self._pending)))]

    def advance(self, entries: int) -> None:
        """Note that so many more entries are uploaded, and drop their files."""
        with self.changed:
            done = [self._pending.popleft() for _ in range(entries)]
            self.state["position"] = done[-1].number + 1
            self.changed.notify_all()
        self.save_state()
        for entry in done:
            shutil.rmtree(self.files_of(entry), ignore_errors=True)

    def save_state(self) -> None:
        """Write the state; where it cannot be written, uploading twice does no harm."""
        partial = self.folder / f"{_STATE}.partial"
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(self.state), "utf-8")
            partial.replace(self.folder / _STATE)

    def files_of(self, entry: Entry) -> Path:
        """The folder of an entry's files."""
        return self.folder / _FILES / str(entry.number)

    def entries(self) -> list[Entry]:
        """All entries that are on the disk."""
        return _read(self.folder / _EVENTS)[0]

    def recorded(self) -> set[tuple[int, str]]:
        """Step and name of every metric so far."""
        return {
            (entry.content["step"], name)
            for entry in self.entries()
            if entry.op == "metrics"
            for name in entry.content["values"]
        }

    def has_tag(self, name: str) -> bool:
        """Whether a tag was set."""
        tags = [entry.content["values"] for entry in self.entries() if entry.op == "tags"]
        return any(name in values for values in tags)

    def last_step(self, metric: str) -> int:
        """The last step at which a metric was recorded; -1 for none."""
        steps = [
            entry.content["step"]
            for entry in self.entries()
            if entry.op == "metrics" and any(n.startswith(metric) for n in entry.content["values"])
        ]
        return max(steps, default=-1)

    def close(self) -> None:
        """Let other processes have it; remove it where nothing is left to do with it.

        What a run that did not finish leaves stays as long as there are checkpoints to resume from.
        """
        with self.changed:
            resumable = any((self.run_folder / tracking_run_folder.CHECKPOINTS).glob("*"))
            finished = self.ended and (self.ended == "FINISHED" or not resumable)
            if finished and not self._pending and not self.lost_files:
                shutil.rmtree(self.folder, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.run_folder.rmdir()
            self._file.close()
            self._lock.close()

    def _locked(self) -> contextlib.ExitStack:
        """Keep other processes out until the result is closed."""
        lock = contextlib.ExitStack()
        try:
            lock.enter_context(files.exclusive_lock(self.folder / "lock", wait=False))
        except BlockingIOError:
            raise ValueError(
                f"the run {self.id} is still being recorded or uploaded by another process; wait "
                "for its end, or stop it"
            ) from None
        return lock

    def _keep(self, number: int, files: Mapping[str, bytes | Path]) -> bool:
        folder = self.folder / _FILES / str(number)
        try:
            for name, content in files.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, bytes):
                    target.write_bytes(content)
                elif content.is_dir():
                    shutil.copytree(content, target, dirs_exist_ok=True, copy_function=_take)
                else:
                    _take(str(content), str(target))
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if self.strict:
                reason = error.strerror or str(error)
                raise OSError(error.errno, reason, str(self.folder)) from error
            self.lost_files += len(files)
            return False
        return True

    def _write(self, line: bytes) -> None:
        """Write what is due; half a line, which a full disk leaves, is taken back."""
        self._unwritten += line
        try:
            written = self._file.write(self._unwritten) or 0
            if written < len(self._unwritten):
                self._file.write(self._unwritten[written:])  # says why
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._length)
            if self.strict:
                self._unwritten = self._unwritten.removesuffix(line)
                raise
            return
        self._length += len(self._unwritten)
        self._unwritten = b""
        if time.monotonic() - self._synced > _SYNC_EVERY:
            self.flush()


def now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


def _take(source: str, target: str) -> str:
    """Link a file instead of copying it, where the file system can: checkpoints are large."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _read(path: Path) -> tuple[list[Entry], int]:
    """The whole entries of a file, and how many bytes they take; a torn end is left out."""
    entries: list[Entry] = []
    length = 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            try:
                content = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            entries.append(Entry(content.pop("n"), content.pop("op"), content))
            length += len(line)
    return entries, length


_here = threading.local()


def active() -> Journal | None:
    """The journal of the innermost run of this thread."""
    stack = getattr(_here, "stack", [])
    return stack[-1] if stack else None


def current() -> Journal:
    """As `active`.

    Raises:
        ValueError: No run is being recorded.
    """
    found = active()
    if found is None:
        raise ValueError("no run is being recorded; open one with tracking.run.session")
    return found


@contextlib.contextmanager
def activated(journal: Journal) -> Iterator[None]:
    """Make a journal the innermost one of this thread."""
    if not hasattr(_here, "stack"):
        _here.stack = []
    _here.stack.append(journal)
    try:
        yield
    finally:
        _here.stack.pop()
