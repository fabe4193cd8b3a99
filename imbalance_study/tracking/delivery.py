"""Delivery of a journal's entries to MLflow; a second delivery of an entry changes nothing.

Metrics carry the time at which they were recorded: the store keeps one of equal key, step, time and
value. Existing params keep their text, files are overwritten, a run or a model is searched by a tag
before it is created.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking.context import registry
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_LOGGED_IMAGES

from imbalance_study.tracking import experiment_page, experiments, run_folder
from imbalance_study.tracking.event_log import Entry
from imbalance_study.tracking.journal import Journal

# Tag of a run or a model: the journal that it came from.
JOURNAL_TAG = "imbalance_study.journal"
# Tag of a run: what was damaged in its journal.
DAMAGE_TAG = "imbalance_study.damaged_records"
# Tag of a run that has ended, and whose files have not all arrived: the journal that has them.
INCOMPLETE_TAG = "imbalance_study.files_missing"
# Kinds of entries that all others wait for; each of the rest can come later.
IN_ORDER = ("start", "metrics", "params", "tags", "end")
_BATCH = 1000
_LONGEST_KEY, _LONGEST_PARAM, _LONGEST_TAG = 250, 6000, 8000


def start(client: MlflowClient, journal: Journal) -> None:
    """Find or create the run of a journal, and note its ids in the journal's state.

    Raises:
        ValueError: Its parent is not uploaded yet.
    """
    if journal.state["run_id"]:
        return
    fields = journal.start
    experiment = _experiment_of(client, fields)
    run = _own_run(client, experiment, journal.id)
    if run is None:
        tags = dict(fields["tags"]) | {JOURNAL_TAG: journal.id}
        if fields["parent"]:
            tags["mlflow.parentRunId"] = _parent_id(client, experiment, journal, fields["parent"])
        run = client.create_run(experiment, fields["time"], tags, fields["name"]).info.run_id
    journal.state |= {"run_id": run, "experiment_id": experiment}
    journal.save_state()


def _experiment_of(client: MlflowClient, fields: dict[str, Any]) -> str:
    """Return the experiment of a run: that of its parent, else the one named at its start."""
    if fields["parent"] and not fields["parent"].startswith(run_folder.OFFLINE):
        try:
            return str(client.get_run(fields["parent"]).info.experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # the parent is in another store
                raise
    return str(experiments.find_or_create(client, fields["experiment"]).experiment_id)


def _own_run(client: MlflowClient, experiment: str, journal_id: str) -> str | None:
    """Find the run that a journal belongs to, if it was created: its id, or that in its tag."""
    if not journal_id.startswith(run_folder.OFFLINE):
        try:
            return str(client.get_run(journal_id).info.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    return _find_run(client, experiment, journal_id)


def _find_run(client: MlflowClient, experiment: str, journal_id: str) -> str | None:
    found = client.search_runs(
        [experiment], f"tags.`{JOURNAL_TAG}` = '{journal_id}'", max_results=1
    )
    return str(found[0].info.run_id) if found else None


def _parent_id(client: MlflowClient, experiment: str, journal: Journal, parent: str) -> str:
    found = _own_run(client, experiment, parent)
    if found is None:
        raise ValueError(f"{journal.id} is a child of {parent}, which must be uploaded first")
    return found


def deliver(client: MlflowClient, journal: Journal, entries: Sequence[Entry]) -> int:
    """Send the first of these entries, and those after it that fit into the same request.

    Returns:
        Number of delivered entries.
    """
    run_id = journal.state["run_id"]
    entry, files = entries[0], journal.files_of(entries[0])
    if entry.op in ("metrics", "tags", "params"):
        return _deliver_batch(client, run_id, entries)
    if entry.op == "table":
        return _deliver_tables(client, journal, entries)
    if entry.op == "model":
        _deliver_model(client, journal, entry)
    elif entry.op == "input":
        client.log_inputs(run_id, [_dataset(entry.content)])
    elif entry.op == "view":
        data = entry.content.get("data", "")
        experiment_page.write(client, journal.state["experiment_id"], data)
    elif entry.op == "end":
        client.set_terminated(run_id, entry.content["status"], entry.content["time"])
    elif files.exists():  # "files", "table", "image", and those of a "lost" entry
        client.log_artifacts(run_id, str(files))
        if entry.op == "image":
            client.set_tag(run_id, MLFLOW_LOGGED_IMAGES, True)
    if "damage" in entry.content:
        client.set_tag(run_id, DAMAGE_TAG, entry.content["damage"][:_LONGEST_TAG])
    return 1


def shortened(names: Iterable[str]) -> set[str]:
    """Return names as MLflow keeps them."""
    return {name[:_LONGEST_KEY] for name in names}


def _deliver_batch(client: MlflowClient, run_id: str, entries: Sequence[Entry]) -> int:
    """Send the metrics, tags and params at the head of the entries in few requests."""
    metrics: list[Metric] = []
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    count = 0
    for entry in entries:
        content = entry.content
        if entry.op == "metrics":
            if metrics and len(metrics) + len(content["values"]) > _BATCH:
                break
            metrics += [
                Metric(name[:_LONGEST_KEY], value, content["time"], content["step"])
                for name, value in content["values"].items()
            ]
        elif entry.op == "tags":
            tags |= content["values"]
        elif entry.op == "params":
            params = content["values"] | params
        else:
            break
        count += 1
    logged = client.get_run(run_id).data.params if params else {}
    client.log_batch(
        run_id,
        metrics[:_BATCH],
        [
            Param(name[:_LONGEST_KEY], text[:_LONGEST_PARAM])
            for name, text in params.items()
            if name not in logged
        ],
        [RunTag(name[:_LONGEST_KEY], text[:_LONGEST_TAG]) for name, text in tags.items()],
    )
    for at in range(_BATCH, len(metrics), _BATCH):
        client.log_batch(run_id, metrics[at : at + _BATCH])
    return count


def _deliver_tables(client: MlflowClient, journal: Journal, entries: Sequence[Entry]) -> int:
    """Send the tables at the head of the entries, and note them in the UI's tag of tables."""
    run_id = journal.state["run_id"]
    sent = list(itertools.takewhile(lambda entry: entry.op == "table", entries))
    new = []
    for entry in sent:
        files = journal.files_of(entry)
        if files.exists():
            client.log_artifacts(run_id, str(files))
            new.append({"path": entry.content["path"], "type": "table"})
    tables = json.loads(client.get_run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]"))
    new = [table for table in new if table not in tables]
    if new:
        client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*tables, *new]))
    return len(sent)


def _dataset(content: dict[str, Any]) -> DatasetInput:
    tags = [InputTag("mlflow.data.context", content["context"])]
    return DatasetInput(Dataset(**content["dataset"]), tags)


def _deliver_model(client: MlflowClient, journal: Journal, entry: Entry) -> None:
    """Log a saved model with its params and metrics, as `mlflow.pytorch.log_model` would."""
    run_id, files = journal.state["run_id"], journal.files_of(entry)
    if not files.exists():
        return
    run = client.get_run(run_id)
    model = _find_or_create_model(client, journal, entry, run)
    outputs = run.outputs.model_outputs if run.outputs else []
    if all(output.model_id != model.model_id for output in outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    content = entry.content
    if content["values"]:
        metrics = [
            Metric(name, value, content["time"], 0, model.model_id, run_id=run_id)
            for name, value in content["values"].items()
        ]
        client.log_batch(run_id, metrics)
    _write_ids(files / "model", run_id, model)
    client.log_model_artifacts(model.model_id, str(files / "model"))
    client.finalize_logged_model(model.model_id, "READY")


def _find_or_create_model(
    client: MlflowClient, journal: Journal, entry: Entry, run: Run
) -> LoggedModel:
    experiment, origin = journal.state["experiment_id"], f"{journal.id}/{entry.number}"
    found = client.search_logged_models([experiment], f"tags.`{JOURNAL_TAG}` = '{origin}'")
    if found:
        return found[0]
    return client.create_logged_model(
        experiment,
        entry.content["name"],
        run.info.run_id,
        tags=registry.resolve_tags({JOURNAL_TAG: origin}),
        params=run.data.params,
    )


def _write_ids(folder: Path, run_id: str, model: LoggedModel) -> None:
    """Write the ids of its run and of the logged model into a saved model."""
    saved = Model.load(str(folder))
    saved.run_id, saved.model_uuid = run_id, model.model_id
    saved.model_id, saved.artifact_path = model.model_id, model.artifact_location
    saved.save(str(folder / "MLmodel"))
