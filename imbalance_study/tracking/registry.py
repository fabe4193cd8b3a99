"""Promotion of the model of a run to a version in the registry, with a model card and an alias."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from imbalance_study.evaluation.text import number
from imbalance_study.tracking import fetch, model_card
from imbalance_study.tracking.description import HEADLINES

CARD = "model_card.md"
# Largest number of letters in the description of a version.
_LONGEST = 5_000


def promote(run_id: str, name: str, alias: str, tracking_uri: str = "auto") -> list[str]:
    """Register the model of a run, with its metrics and a model card, and set an alias to it.

    The card is the description of the version, shortened if it must be, and an artifact of the run.
    After an error there is no new version, and the alias has not changed.

    Args:
        run_id: The run.
        name: The model's name in the registry; ``auto`` is ``<dataset>_classifier``.
        alias: Alias to set to the new version; the previous version loses it.
        tracking_uri: The store; see `store.connect`.

    Returns:
        Lines with the new version, and its comparison with the previous one on the test set.

    Raises:
        ValueError: The run is unknown, deleted, of another project, did not finish, or has no
            model; or the registry refuses name or alias.
    """
    client = fetch.open_store(tracking_uri)
    run = fetch.find_run(client, run_id)
    model_id = _model_of(client, run)
    evidence = _evidence(client, run)
    if name == "auto":
        name = f"{evidence.config['dataset']}_classifier"
    previous = _version_of(client, name, alias)
    with _rollback_on_error(client, name) as created:
        mlflow.flush_async_logging()
        with contextlib.redirect_stderr(io.StringIO()):  # it prints the same as the lines below
            version = mlflow.register_model(f"models:/{model_id}", name, tags=_tags(run, evidence))
        created.append(version)
        client.update_model_version(name, version.version, model_card.write(evidence, _LONGEST))
        client.log_text(run.info.run_id, model_card.write(evidence), CARD)
        client.set_registered_model_alias(name, alias, version.version)
    constant = model_card.only_class(evidence)
    return [
        f"{name} version {version.version} is @{alias}: run {run.info.run_id}",
        *_comparison(client, run, previous, alias),
        *([f"  Note: it gave all test images the class {constant}"] if constant else []),
        f"Serve it:  mlflow models serve -m models:/{name}@{alias} --env-manager local --port 5001",
    ]


def _model_of(client: mlflow.MlflowClient, run: Run) -> str:
    """Return the id of the logged model of a run, if it can be promoted."""
    run_id = run.info.run_id
    if run.info.lifecycle_stage != "active":
        raise ValueError(f"run {run_id} is deleted; restore it first")
    if run.info.status != "FINISHED":
        raise ValueError(f"run {run_id} did not finish: its status is {run.info.status}")
    if not {"imbalance_study.version", "study"} & run.data.tags.keys():
        raise ValueError(f"run {run_id} was not made by imbalance_study, so it has no model card")
    models = [model.model_id for model in run.outputs.model_outputs] if run.outputs else []
    if not models:
        raise ValueError(f"run {run_id} has no model to promote")
    try:
        client.get_logged_model(models[-1])
        files = {Path(file.path).name for file in client.list_logged_model_artifacts(models[-1])}
    except (MlflowException, OSError):
        files = set()
    if "MLmodel" not in files:
        raise ValueError(f"the model {models[-1]} of run {run_id} has lost its files")
    return str(models[-1])


def _evidence(client: mlflow.MlflowClient, run: Run) -> model_card.Evidence:
    files: dict[str, Any] = {}
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        for name in ("config.json", "metrics.json", "per_class.json"):
            if name in names or name != "per_class.json":
                path = fetch.download(client, run, name, Path(folder))
                files[name] = json.loads(path.read_text())
    table = files.get("per_class.json", {"columns": [], "data": []})
    rows = dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True))
    content = files["config.json"]
    return model_card.Evidence(
        run.info.run_id,
        content["config"],
        content["resolved"],
        files["metrics.json"],
        {name: list(values) for name, values in rows.items()},
        content["environment"],
        content["command"],
    )


def _tags(run: Run, evidence: model_card.Evidence) -> dict[str, str]:
    """Make the tags of a version, which the list of versions shows and searches."""
    options = ("dataset", "model", "loss", "class_weights", "sampler", "seed")
    metrics = {
        name.removeprefix("test/"): number(evidence.metrics[name], ".4f")
        for name in HEADLINES
        if name in evidence.metrics
    }
    copied = ("data_fingerprint", "git_commit", "imbalance_study.version", fetch.HASH_TAG)
    tags = {name: run.data.tags[name] for name in copied if name in run.data.tags}
    return {name: str(evidence.config[name]) for name in options} | metrics | tags


def _version_of(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version of an alias, if there is one."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


@contextlib.contextmanager
def _rollback_on_error(client: mlflow.MlflowClient, name: str) -> Iterator[list[ModelVersion]]:
    """Delete the created versions after an error, and the model if it is new."""
    try:
        client.get_registered_model(name)
        new = False
    except MlflowException:
        new = True
    created: list[ModelVersion] = []
    try:
        yield created
    except BaseException as error:
        with contextlib.suppress(MlflowException):
            for version in created:
                client.delete_model_version(name, version.version)
            if new:
                client.delete_registered_model(name)
        if isinstance(error, MlflowException):
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"the registry refuses {name!r}: {reason}") from error
        raise


def _comparison(
    client: mlflow.MlflowClient, run: Run, previous: ModelVersion | None, alias: str
) -> list[str]:
    """Describe the previous version of the alias, and compare the two on the test set."""
    if previous is None:
        return [f"  @{alias} is a new alias"]
    lines = [f"  @{alias} was version {previous.version}: run {previous.run_id}"]
    try:
        other = client.get_run(str(previous.run_id))
    except MlflowException:
        return [*lines, "  its run was deleted, so there is no comparison"]
    width = max(map(len, HEADLINES.values()))
    for name, text in HEADLINES.items():
        old, new = other.data.metrics.get(name), run.data.metrics.get(name)
        if old is not None and new is not None:
            ends = f"{number(old, '.2%'):>7} -> {number(new, '.2%'):>7}"
            lines.append(f"  {text:{width}}  {ends}  ({number(100 * (new - old), '+.2f')})")
    fingerprints = [one.data.tags.get("data_fingerprint") for one in (other, run)]
    if fingerprints[0] != fingerprints[1]:
        lines.append("  the data differ, so the test images may not be the same")
    return lines
