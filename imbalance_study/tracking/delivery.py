"""Entries of a journal told to MLflow, each in a way that telling it twice changes nothing.

Metrics are told with the time at which they were recorded: the store keeps one of equal key, step,
time and value. Params that are there keep their text, files are overwritten, a run and a model
are looked for by a tag before they are made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking.context import registry
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_LOGGED_IMAGES

from imbalance_study.tracking import run_folder, ui_view
from imbalance_study.tracking.journal import Entry, Journal

# Tag of a run or a model: the journal that it came from.
JOURNAL_TAG = "imbalance_study.journal"
_METRICS_AT_ONCE = 1000
_LONGEST_KEY, _LONGEST_PARAM, _LONGEST_TAG = 250, 6000, 8000


def start(client: MlflowClient, journal: Journal) -> None:
    """Find or make the run that a journal is for; its state then names it.

    Raises:
        ValueError: It is a child of a run that is not there yet.
    """
    if journal.state["run_id"]:
        return
    begun = journal.begun
    experiment = _home(client, begun)
    run = _run_of(client, experiment, journal.id)
    if run is None:
        tags = dict(begun["tags"]) | {JOURNAL_TAG: journal.id}
        if begun["parent"]:
            tags["mlflow.parentRunId"] = _parent(client, experiment, journal, begun["parent"])
        run = client.create_run(experiment, begun["time"], tags, begun["name"]).info.run_id
    journal.state |= {"run_id": run, "experiment_id": experiment}
    journal.save_state()


def _home(client: MlflowClient, begun: dict[str, Any]) -> str:
    """The experiment of a run: that of its parent, wherever that was put."""
    if begun["parent"] and not begun["parent"].startswith(run_folder.OFFLINE):
        try:
            return str(client.get_run(begun["parent"]).info.experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # it is, in another store
                raise
    return _experiment(client, begun["experiment"])


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another run was faster, or it fails again
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _run_of(client: MlflowClient, experiment: str, journal_id: str) -> str | None:
    found = client.search_runs(
        [experiment], f"tags.`{JOURNAL_TAG}` = '{journal_id}'", max_results=1
    )
    return str(found[0].info.run_id) if found else None


def _parent(client: MlflowClient, experiment: str, journal: Journal, parent: str) -> str:
    if not parent.startswith(run_folder.OFFLINE):
        return parent
    found = _run_of(client, experiment, parent)
    if found is None:
        raise ValueError(f"{journal.id} is a part of {parent}, which is to be uploaded first")
    return found


def deliver(client: MlflowClient, journal: Journal, entries: Sequence[Entry]) -> int:
    """Tell MLflow the first of these entries, and those after it that go into the same call.

    Returns:
        How many entries that were.
    """
    run_id = journal.state["run_id"]
    entry, files = entries[0], journal.files_of(entries[0])
    if entry.op in ("metrics", "tags"):
        return _batch(client, run_id, entries)
    if entry.op == "params":
        there = client.get_run(run_id).data.params
        new = {name: text for name, text in entry.content["values"].items() if name not in there}
        params = [Param(name[:_LONGEST_KEY], text[:_LONGEST_PARAM]) for name, text in new.items()]
        client.log_batch(run_id, params=params)
    elif entry.op == "model":
        _model(client, journal, entry)
    elif entry.op == "input":
        client.log_inputs(run_id, [_dataset(entry.content)])
    elif entry.op == "view":
        ui_view.write_view(client, journal.state["experiment_id"])
    elif entry.op == "end":
        client.set_terminated(run_id, entry.content["status"], entry.content["time"])
    elif files.exists():
        client.log_artifacts(run_id, str(files))
        if entry.op == "table":
            _tag_table(client, run_id, entry.content["path"])
        elif entry.op == "image":
            client.set_tag(run_id, MLFLOW_LOGGED_IMAGES, True)
    return 1


def _batch(client: MlflowClient, run_id: str, entries: Sequence[Entry]) -> int:
    metrics: list[Metric] = []
    tags: dict[str, str] = {}
    count = 0
    for entry in entries:
        content = entry.content
        if entry.op == "metrics":
            if metrics and len(metrics) + len(content["values"]) > _METRICS_AT_ONCE:
                break
            metrics += [
                Metric(name[:_LONGEST_KEY], value, content["time"], content["step"])
                for name, value in content["values"].items()
            ]
        elif entry.op == "tags":
            tags |= content["values"]
        else:
            break
        count += 1
    run_tags = [RunTag(name[:_LONGEST_KEY], text[:_LONGEST_TAG]) for name, text in tags.items()]
    client.log_batch(run_id, metrics[:_METRICS_AT_ONCE], tags=run_tags)
    for at in range(_METRICS_AT_ONCE, len(metrics), _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics[at : at + _METRICS_AT_ONCE])
    return count


def _tag_table(client: MlflowClient, run_id: str, path: str) -> None:
    tables = json.loads(client.get_run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    table = {"path": path, "type": "table"}
    if table not in tables:
        client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*tables, table]))


def _dataset(content: dict[str, Any]) -> DatasetInput:
    tags = [InputTag("mlflow.data.context", content["context"])]
    return DatasetInput(Dataset(**content["dataset"]), tags)


def _model(client: MlflowClient, journal: Journal, entry: Entry) -> None:
    """Log a saved model with its params and metrics, as `mlflow.pytorch.log_model` would."""
    state, content = journal.state, entry.content
    files = journal.files_of(entry)
    run_id, origin = state["run_id"], f"{journal.id}/{entry.number}"
    if not files.exists():
        return
    run = client.get_run(run_id)
    there = client.search_logged_models(
        [state["experiment_id"]], f"tags.`{JOURNAL_TAG}` = '{origin}'"
    )
    made = (
        there[0]
        if there
        else client.create_logged_model(
            state["experiment_id"],
            content["name"],
            run_id,
            tags=registry.resolve_tags({JOURNAL_TAG: origin}),
            params=run.data.params,
        )
    )
    outputs = run.outputs.model_outputs if run.outputs else []
    if all(output.model_id != made.model_id for output in outputs):
        client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    if content["values"]:
        metrics = [
            Metric(name, value, content["time"], 0, made.model_id, run_id=run_id)
            for name, value in content["values"].items()
        ]
        client.log_batch(run_id, metrics)
    _name(files / "model", run_id, made)
    client.log_model_artifacts(made.model_id, str(files / "model"))
    client.finalize_logged_model(made.model_id, "READY")


def _name(folder: Path, run_id: str, made: Any) -> None:
    """Write into a saved model which run and which logged model it is."""
    saved = Model.load(str(folder))
    saved.run_id, saved.model_uuid = run_id, made.model_id
    saved.model_id, saved.artifact_path = made.model_id, made.artifact_location
    saved.save(str(folder / "MLmodel"))
