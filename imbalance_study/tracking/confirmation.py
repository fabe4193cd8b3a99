"""A look at what a server has of a run, before the only other copy of it is removed.

MLflow's client believes every answer with status 200, also the login page of a gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from imbalance_study.tracking import delivery
from imbalance_study.tracking.event_log import Entry
from imbalance_study.tracking.journal import Journal


def missing_entries(client: MlflowClient, journal: Journal) -> list[Entry]:
    """Find the entries of an uploaded journal that the store does not show.

    Metrics are looked for by name, params and tags by name, files by path.

    Raises:
        MlflowException: The store does not answer.
    """
    run = client.get_run(journal.state["run_id"])
    if not isinstance(run, Run) or run.info is None:
        raise MlflowException("the server's answer is no run of MLflow")
    folders = _Folders(lambda folder: _list(client, journal.state["run_id"], folder))
    return [entry for entry in journal.entries() if not _is_there(entry, journal, run, folders)]


def _is_there(entry: Entry, journal: Journal, run: Run, folders: _Folders) -> bool:
    names = delivery.shortened(entry.content.get("values", {}))
    if entry.op == "metrics":
        return names <= set(run.data.metrics)
    if entry.op == "params":
        return names <= set(run.data.params)
    if entry.op == "tags":
        return names <= set(run.data.tags)
    if entry.op == "model":
        return bool(run.outputs and run.outputs.model_outputs)
    if entry.op == "end":
        return bool(run.info.status == entry.content["status"])
    root = journal.files_of(entry)
    paths = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    return all(path in folders for path in paths)


class _Folders:
    """The files of a run, listed a folder at a time."""

    def __init__(self, list_folder: Callable[[str], set[str]]) -> None:
        self._list = list_folder
        self._known: dict[str, set[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder = str(PurePosixPath(path).parent)
        folder = "" if folder == "." else folder
        if folder not in self._known:
            self._known[folder] = self._list(folder)
        return path in self._known[folder]


def _list(client: MlflowClient, run_id: str, folder: str) -> set[str]:
    return {file.path for file in client.list_artifacts(run_id, folder or None)}
