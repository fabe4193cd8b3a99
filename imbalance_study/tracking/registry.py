"""Promotion: the model of a run becomes a version in the registry, with a card and an alias."""

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

from imbalance_study.tracking import fetch, model_card
from imbalance_study.tracking.description import HEADLINES

CARD = "model_card.md"
# Letters that the registry takes as the description of a version.
_LONGEST = 5_000


def promote(run_id: str, name: str, alias: str, tracking_uri: str = "auto") -> list[str]:
    """Register the model of a run, with its metrics and a model card, and set an alias to it.

    The card is the description of the version, shortened where it must be, and an artifact of the
    run. When anything fails, no version is left behind and the alias stays where it was.

    Args:
        run_id: The run.
        name: The model's name in the registry; ``auto`` is ``<dataset>_classifier``.
        alias: What is set to the new version, taken from the one before.
        tracking_uri: The store; see `store.connect`.

    Returns:
        Lines that say what was done, and how it compares with what the alias stood for before.

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
    before = _holder(client, name, alias)
    with _undone_on_error(client, name) as made:
        mlflow.flush_async_logging()
        with contextlib.redirect_stderr(io.StringIO()):  # it tells what the lines below tell
            version = mlflow.register_model(f"models:/{model_id}", name, tags=_tags(run, evidence))
        made.append(version)
        client.update_model_version(name, version.version, model_card.write(evidence, _LONGEST))
        client.log_text(run.info.run_id, model_card.write(evidence), CARD)
        client.set_registered_model_alias(name, alias, version.version)
    return [
        f"{name} version {version.version} is @{alias}: run {run.info.run_id}",
        *_comparison(client, run, before, alias),
        f"Serve it:  mlflow models serve -m models:/{name}@{alias} --env-manager local",
    ]


def _model_of(client: mlflow.MlflowClient, run: Run) -> str:
    """The id of the logged model of a run that can be promoted."""
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
        there = {Path(file.path).name for file in client.list_logged_model_artifacts(models[-1])}
    except (MlflowException, OSError):
        there = set()
    if "MLmodel" not in there:
        raise ValueError(f"the model {models[-1]} of run {run_id} is gone: its files are not there")
    return str(models[-1])


def _evidence(client: mlflow.MlflowClient, run: Run) -> model_card.Evidence:
    found: dict[str, Any] = {}
    there = {file.path for file in client.list_artifacts(run.info.run_id)}
    with tempfile.TemporaryDirectory(prefix="imbalance_study_") as folder:
        for name in ("config.json", "metrics.json", "per_class.json"):
            if name in there or name != "per_class.json":
                path = fetch.download(client, run, name, Path(folder))
                found[name] = json.loads(path.read_text())
    table = found.get("per_class.json", {"columns": [], "data": []})
    rows = dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True))
    content = found["config.json"]
    return model_card.Evidence(
        run.info.run_id,
        content["config"],
        content["resolved"],
        found["metrics.json"],
        {name: list(values) for name, values in rows.items()},
        content["environment"],
        content["command"],
    )


def _tags(run: Run, evidence: model_card.Evidence) -> dict[str, str]:
    """What the list of versions shows and can be searched by."""
    options = ("dataset", "model", "loss", "class_weights", "sampler", "seed")
    metrics = {
        name.removeprefix("test/"): f"{evidence.metrics[name]:.4f}"
        for name in HEADLINES
        if name in evidence.metrics
    }
    copied = ("data_fingerprint", "git_commit", "imbalance_study.version")
    tags = {name: run.data.tags[name] for name in copied if name in run.data.tags}
    return {name: str(evidence.config[name]) for name in options} | metrics | tags


def _holder(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias stands for, if any."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


@contextlib.contextmanager
def _undone_on_error(client: mlflow.MlflowClient, name: str) -> Iterator[list[ModelVersion]]:
    """Take the versions that were made back when something fails, and the model if it was new."""
    try:
        client.get_registered_model(name)
        new = False
    except MlflowException:
        new = True
    made: list[ModelVersion] = []
    try:
        yield made
    except BaseException as error:
        with contextlib.suppress(MlflowException):
            for version in made:
                client.delete_model_version(name, version.version)
            if new:
                client.delete_registered_model(name)
        if isinstance(error, MlflowException):
            why = str(error).strip().splitlines()[0]
            raise ValueError(f"the registry refuses {name!r}: {why}") from error
        raise


def _comparison(
    client: mlflow.MlflowClient, run: Run, before: ModelVersion | None, alias: str
) -> list[str]:
    """What the alias stood for, and how the two differ on the test set."""
    if before is None:
        return [f"  @{alias} stood for nothing before"]
    lines = [f"  @{alias} was version {before.version}: run {before.run_id}"]
    try:
        other = client.get_run(str(before.run_id))
    except MlflowException:
        return [*lines, "  its run is gone, so that nothing can be compared"]
    width = max(map(len, HEADLINES.values()))
    for name, text in HEADLINES.items():
        old, new = other.data.metrics.get(name), run.data.metrics.get(name)
        if old is not None and new is not None:
            lines.append(f"  {text:{width}}  {old:7.2%} -> {new:7.2%}  ({100 * (new - old):+.2f})")
    prints = [one.data.tags.get("data_fingerprint") for one in (other, run)]
    if prints[0] != prints[1]:
        lines.append("  the data differ, so the test images may not be the same")
    return lines
