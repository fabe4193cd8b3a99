"""Upload of journals whose runs MLflow does not have completely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import mlflow
from mlflow.exceptions import MlflowException

from imbalance_study.tracking import process, run_folder, store
from imbalance_study.tracking.journal import Journal
from imbalance_study.tracking.uploader import Uploader

# Seconds that a store may fail before an upload is given up.
_PATIENCE = 20.0


class Outcome(NamedTuple):
    """Result of the upload of one journal."""

    journal: str  # its id
    message: str
    uploaded: bool


def sync(
    names: Sequence[str] = (),
    *,
    tracking_uri: str = "auto",
    cache_dir: str = "auto",
    salvage: bool = False,
    into: str = "none",
) -> Iterator[Outcome]:
    """Upload journals; records that were uploaded before are not uploaded again.

    A run whose process ended without a status is marked FAILED. Parents go before their children.
    A journal that cannot be read or uploaded does not keep the others.

    Args:
        names: Ids of runs, or folders of runs or journals; none: all on this machine.
        tracking_uri: The store; ``auto``: the one that a run was meant for if it began online, else
            that of a training.
        cache_dir: Folder of the journals; see `run_folder.folder_of`.
        salvage: Upload the sound records of a damaged journal, too.
        into: Experiment for a new run of each journal whose run the store does not know any more;
            ``auto``: the run's own, ``none``: an error instead.

    Yields:
        The outcome of each journal, when it is done.

    Raises:
        ValueError: There is no such journal.
    """
    folders = [_folder(name, cache_dir) for name in names]
    if not names:
        found = run_folder.runs_folder(cache_dir).glob(f"*/{run_folder.JOURNAL}")
        folders = [path.parent for path in found]
    journals = []
    for folder in folders:
        try:
            journals.append(Journal(folder, salvage=salvage))
        except (ValueError, OSError) as error:
            yield Outcome(folder.name, str(error), False)
    stores, usual = _Stores(), store.address("auto")
    for journal in sorted(journals, key=lambda one: one.start.get("time", 0)):
        try:
            uri = intended_store(journal, tracking_uri)
            yield _upload(journal, into, stores.connect(usual if uri == "auto" else uri))
        except (ValueError, OSError, MlflowException) as error:
            journal.close()
            message = str(store.readable_error(error) or error)
            yield Outcome(journal.id, store.scrub(message), False)


class _Stores:
    """Connects to stores; one that does not answer is asked once."""

    def __init__(self) -> None:
        self._errors: dict[str, ValueError] = {}

    def connect(self, uri: str) -> str:
        """Make MLflow use a store, and return its address.

        Raises:
            ValueError: It does not answer, or did not before.
        """
        if uri in self._errors:
            raise self._errors[uri]
        try:
            return store.connect(uri)
        except ValueError as error:
            self._errors[uri] = error
            raise


def _folder(name: str, cache_dir: str) -> Path:
    path = Path(name).expanduser()
    if path.name == run_folder.JOURNAL:
        path = path.parent
    folder = path if (path / run_folder.JOURNAL).is_dir() else run_folder.folder_of(name, cache_dir)
    if not (folder / run_folder.JOURNAL).is_dir():
        raise ValueError(
            f"there is no journal of {name} in {run_folder.runs_folder(cache_dir)}: it is uploaded "
            "already, or in another cache_dir"
        )
    return folder


def _upload(journal: Journal, into: str, uri: str) -> Outcome:
    if not journal.start:
        journal.close()
        return Outcome(journal.id, "nothing was recorded", True)
    if not journal.pending(1) and journal.status:
        journal.close()
        return Outcome(journal.id, "is uploaded already", True)
    if not journal.status and process.has_ended(journal.start["tags"]) is not False:
        note = "its process ended without a word"
        if journal.damage:
            note = "its journal is damaged, and whether it finished is not known"
        journal.note(f"**Failed**: {note}.")
        journal.end("FAILED")
    before = _begin_anew(journal, into, uri)
    count = len(journal.pending(1_000_000))
    uploader = Uploader(journal, uri)
    uploader.start()
    uploaded = uploader.finish(_PATIENCE)
    place = f"run {journal.state['run_id']} in {store.without_password(uri)}"
    if not uploaded:
        problem = store.scrub(" ".join(str(uploader.problem).split()))[:300]
        return Outcome(journal.id, f"cannot be uploaded to {place}: {problem}", False)
    message = f"{count} records uploaded to {place}"
    if before:
        message += f"; it replaces run {before}, which the store does not know any more"
    if uploader.refused:
        message += f"; MLflow refused {len(uploader.refused)} records"
    if journal.damage:
        message += f"; damaged: {journal.damage}"
    return Outcome(journal.id, message, True)


def _begin_anew(journal: Journal, into: str, uri: str) -> str:
    """Forget a run that the store does not know any more, so that a new one is created.

    Returns:
        Its id; empty if the run is still there.

    Raises:
        ValueError: The run is gone, and `into` is ``none``.
    """
    run_id = str(journal.state["run_id"])
    try:
        if not run_id or mlflow.MlflowClient(uri).get_run(run_id):
            return ""
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    if into == "none":
        raise ValueError(
            f"the store {store.without_password(uri)} does not know run {run_id} any more; "
            "sync --into auto makes a new run of what this machine still has of it"
        )
    journal.begin_anew(into)
    return run_id


def intended_store(journal: Journal, tracking_uri: str) -> str:
    """Return the store of a run, with the credentials that the environment has for it."""
    intended = str(journal.state["store"])
    if tracking_uri != "auto" or not intended:
        return tracking_uri
    here = mlflow.get_tracking_uri()
    return here if store.without_password(here) == intended else intended
