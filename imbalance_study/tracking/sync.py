"""Upload of journals whose runs MLflow does not have completely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import mlflow

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
    names: Sequence[str] = (), *, tracking_uri: str = "auto", cache_dir: str = "auto"
) -> Iterator[Outcome]:
    """Upload journals; records that were uploaded before are not uploaded again.

    A run whose process ended without a status is marked FAILED. Parents go before their children.

    Args:
        names: Ids of runs, or folders of runs or journals; none: all on this machine.
        tracking_uri: The store; ``auto``: the one that a run was meant for if it began online, else
            that of a training.
        cache_dir: Folder of the journals; see `run_folder.folder_of`.

    Yields:
        The outcome of each journal, when it is done.

    Raises:
        ValueError: There is no such journal, or the store cannot be reached.
    """
    folders = [_folder(name, cache_dir) for name in names]
    if not names:
        found = run_folder.runs_folder(cache_dir).glob(f"*/{run_folder.JOURNAL}")
        folders = [path.parent for path in found]
    journals, busy = [], []
    for folder in folders:
        try:
            journals.append(Journal(folder))
        except ValueError as error:
            busy.append(Outcome(folder.name, str(error), False))
    yield from busy
    for journal in sorted(journals, key=lambda one: one.start.get("time", 0)):
        yield _upload(journal, tracking_uri)


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


def _upload(journal: Journal, tracking_uri: str) -> Outcome:
    if not journal.start:
        journal.close()
        return Outcome(journal.id, "nothing was recorded", True)
    if not journal.pending(1) and journal.status:
        journal.close()
        return Outcome(journal.id, "is uploaded already", True)
    uri = store.connect(intended_store(journal, tracking_uri))
    if not journal.status and process.has_ended(journal.start["tags"]) is not False:
        note = "**Failed**: its process ended without a word."
        journal.note(note)
        journal.end("FAILED")
    count = len(journal.pending(1_000_000))
    uploader = Uploader(journal, uri)
    uploader.start()
    uploaded = uploader.finish(_PATIENCE)
    place = f"run {journal.state['run_id']} in {store.without_password(uri)}"
    if not uploaded:
        problem = store.scrub(" ".join(str(uploader.problem).split()))[:300]
        return Outcome(journal.id, f"cannot be uploaded to {place}: {problem}", False)
    refused = f"; MLflow refused {len(uploader.refused)} records" if uploader.refused else ""
    return Outcome(journal.id, f"{count} records uploaded to {place}{refused}", True)


def intended_store(journal: Journal, tracking_uri: str) -> str:
    """Return the store of a run, with the credentials that the environment has for it."""
    intended = str(journal.state["store"])
    if tracking_uri != "auto" or not intended:
        return tracking_uri
    here = mlflow.get_tracking_uri()
    return here if store.without_password(here) == intended else intended
