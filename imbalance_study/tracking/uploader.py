"""The thread that uploads a journal to MLflow while the training goes on."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from imbalance_study.tracking import confirmation, delivery, process
from imbalance_study.tracking.event_log import Entry
from imbalance_study.tracking.journal import Journal

# Seconds between two uploads while the training goes on; between two heartbeats; the longest wait
# before a failed upload is repeated; and the longest upload that the end of a run waits for.
_PAUSE = 1.0
_HEARTBEAT = 30.0
_LONGEST_WAIT = 10.0
_HANGS = 180.0
# Seconds after which a wait for the end of an upload is said, again and again.
_SILENT_WAIT = 10.0
# Seconds between two attempts with files that the artifact store did not take; less at the end.
_RETRY, _LAST_RETRY = 30.0, 1.0
# Seconds of a failed attempt after which the other files are not tried for a while.
_SLOW = 2.0
# Errors with which the store refuses an entry for ever.
_REFUSALS = {"INVALID_PARAMETER_VALUE"}


class Uploader(threading.Thread):
    """Uploads a journal in order; a failed upload is repeated until `finish` gives up.

    Files that the artifact store does not take, while MLflow itself answers, wait behind all other
    entries: metrics, status and description do not wait for them.

    Attributes:
        refused: Messages of the entries that the store refused.
        problem: The last error.
    """

    def __init__(self, journal: Journal, uri: str) -> None:
        super().__init__(daemon=True, name=f"upload {journal.id}")
        self.journal = journal
        journal.keeps_files = self._asks = uri.startswith(("http://", "https://"))
        self.refused: list[str] = []
        self._refused_numbers: set[int] = set()
        self._uri = uri
        self._failing_since = 0.0  # monotonic; 0: the last call went well
        self._stuck_since = self._retried = 0.0  # monotonic; 0: no file is waiting
        self._spares_until = 0.0  # monotonic; until then no file is tried
        self._retries = False  # the next entries are those that were put off
        self._marked = bool(journal.state["postponed"])  # as incomplete
        self._succeeded = time.monotonic()
        self._heartbeat = 0.0
        self.problem: Exception | None = None
        self._finishing = self._abandoned = False

    def run(self) -> None:
        """Upload until `finish` was called and nothing is left, or until it gives up."""
        wait = 0.5
        while not self._abandoned:
            self._recall()
            entries = self.journal.pending()
            try:
                if not entries and self._finishing and not self.journal.postponed():
                    self._confirm()
                    break
                self._upload(entries)
                self._failing_since, wait = 0.0, 0.5
                self._succeeded = time.monotonic()
                self._pause()
            except Exception as error:
                self.problem = error
                self._failing_since = self._failing_since or time.monotonic()
                self._sleep(wait)
                wait = min(2 * wait, 1.0 if self._finishing else _LONGEST_WAIT)
        self.journal.close()

    def finish(self, patience: float, *, nested: bool = False) -> bool:
        """Wait for the rest; give up when the store has been failing for `patience` seconds.

        Args:
            patience: In seconds.
            nested: Go on in the background after giving up, as the process goes on, too.

        Returns:
            Whether all entries are uploaded.
        """
        self._finishing = True
        called = time.monotonic()
        with self.journal.changed:
            self.journal.changed.notify_all()
        try:
            said = called
            while self.is_alive() and not self._hopeless(called, patience):
                self.join(0.05)
                if time.monotonic() - said > _SILENT_WAIT:
                    said = time.monotonic()
                    self._print_rest()
        finally:
            self._abandoned = not nested
        return self.is_complete

    @property
    def is_complete(self) -> bool:
        """Whether the upload is over, and nothing is left."""
        return not (self.is_alive() or self.journal.pending(1) or self.journal.postponed())

    def _print_rest(self) -> None:
        """Say what is still being uploaded."""
        waiting = [*self.journal.pending(10_000), *self.journal.postponed()]
        kinds = Counter(entry.op for entry in waiting)
        if kinds:
            counts = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
            line = f"still uploading to MLflow: {kinds.total()} records ({counts})"
            print(line, file=sys.stderr, flush=True)

    def _hopeless(self, called: float, patience: float) -> bool:
        failing = self._failing_since
        if self._retries or not self.journal.pending(1):
            failing = failing or self._stuck_since
        now = time.monotonic()
        return bool(failing and now - max(called, failing) > patience) or (
            now - max(called, self._succeeded) > _HANGS
        )

    def _upload(self, entries: list[Entry]) -> None:
        client = MlflowClient(self._uri)
        delivery.start(client, self.journal)
        while entries and not self._abandoned:
            done = self._deliver_or_postpone(client, entries)
            entries = entries[done:]
            self._failing_since = 0.0
        self._retries = False
        self._mark(client)
        if time.monotonic() - self._heartbeat > _HEARTBEAT and not self.journal.status:
            client.set_tag(self.journal.state["run_id"], process.HEARTBEAT, f"{time.time():.0f}")
            self._heartbeat = time.monotonic()

    def _deliver_or_postpone(self, client: MlflowClient, entries: list[Entry]) -> int:
        """Send the next entries, or put the first behind the others; return how many are done."""
        begun, can_wait = time.monotonic(), entries[0].op not in delivery.IN_ORDER
        if can_wait and begun < self._spares_until:
            self.journal.postpone()
            return 1
        try:
            done = self._deliver(client, entries)
        except Exception as error:
            if not can_wait:
                raise
            client.get_run(self.journal.state["run_id"])  # raises if MLflow itself does not answer
            self.problem, self._retried = error, time.monotonic()
            self._stuck_since = self._stuck_since or self._retried
            if self._retried - begun > _SLOW:
                self._spares_until = self._retried + _RETRY
            self.journal.postpone()
            return 1
        self.journal.advance(done)
        self._succeeded = time.monotonic()
        return done

    def _recall(self) -> None:
        """Let postponed files be tried again when it is time."""
        interval = _LAST_RETRY if self._finishing else _RETRY
        due = max(self._retried + interval, self._spares_until)
        if self.journal.postponed() and time.monotonic() > due:
            self._retries = True
            self.journal.recall()

    def _mark(self, client: MlflowClient) -> None:
        """Tell from a tag of a run that has ended whether files of it are missing."""
        missing = bool(self.journal.postponed())
        if not missing:
            self._stuck_since = 0.0
        if missing == self._marked or not self.journal.status or self.journal.pending(1):
            return
        run_id = self.journal.state["run_id"]
        if missing:
            client.set_tag(run_id, delivery.INCOMPLETE_TAG, self.journal.id)
        else:
            client.delete_tag(run_id, delivery.INCOMPLETE_TAG)
        self._marked = missing

    def _deliver(self, client: MlflowClient, entries: list[Entry]) -> int:
        """Send the next entries; skip one that the store refuses even if it is sent alone."""
        for sent in (entries, entries[:1]):
            try:
                return delivery.deliver(client, self.journal, sent)
            except MlflowException as error:
                if error.error_code not in _REFUSALS:
                    raise
                problem = error
        self.refused.append(f"{entries[0].op}: {problem}")
        self._refused_numbers.add(entries[0].number)
        return 1

    def _confirm(self) -> None:
        """Look for the records on the server, and send once more what it does not show."""
        if not self._asks or not self.journal.state["run_id"]:
            return
        client = MlflowClient(self._uri)
        for entry in self._missing(client):
            self._deliver(client, [entry])
        if missing := self._missing(client):
            self.problem = ValueError(f"it confirmed {len(missing)} records that it does not show")
            self.journal.upload_again()

    def _missing(self, client: MlflowClient) -> list[Entry]:
        found = confirmation.missing_entries(client, self.journal)
        return [entry for entry in found if entry.number not in self._refused_numbers]

    def _pause(self) -> None:
        """Sleep a moment, then until there is an entry or a heartbeat is due."""
        if not self._finishing or self.journal.postponed():
            self._sleep(_PAUSE)
        with self.journal.changed:
            if not self._finishing and not self.journal.pending(1):
                self.journal.changed.wait(min(_HEARTBEAT, _RETRY))

    def _sleep(self, seconds: float) -> None:
        """Sleep, or less if `finish` is called."""
        until = time.monotonic() + seconds
        was_finishing = self._finishing
        with self.journal.changed, contextlib.suppress(RuntimeError):
            while (left := until - time.monotonic()) > 0 and self._finishing == was_finishing:
                self.journal.changed.wait(left)
