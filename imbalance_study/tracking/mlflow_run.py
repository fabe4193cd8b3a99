"""The run in MLflow: begun, gone on with, or joined where ``mlflow run`` has begun it."""

from __future__ import annotations

from collections.abc import Mapping

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from imbalance_study.config.schema import Config
from imbalance_study.tracking import artifact_store, experiments, run_names, store


def begin(
    config: Config, tags: Mapping[str, str], *, parent_id: str = "", run_id: str = "", name: str
) -> mlflow.ActiveRun:
    """Begin a run, or join one; it is then the active one of MLflow's own functions.

    For a run that is no child, the artifact store is tried out first.

    Args:
        config: Its experiment and name count.
        tags: Tags of the run.
        parent_id: The parent, if no run of this process is active.
        run_id: An interrupted run that goes on.
        name: The name of a new run, and of a joined one whose name MLflow made up.

    Raises:
        ValueError: The experiment is not that of the joined run, is deleted, or has no store of
            artifacts that can be used.
    """
    client = MlflowClient()
    active = mlflow.active_run()
    parent = active or (mlflow.get_run(parent_id) if parent_id else None)
    joined = "" if run_id else experiments.joined_run()
    existing = client.get_run(run_id or joined) if run_id or joined else None
    if parent is None:
        place = _place(client, config, existing, joined)
        artifact_store.check(client, place)
        experiment = None if existing else place.experiment_id
    else:
        experiment = None if existing else parent.info.experiment_id
    if existing is not None:
        name = _new_name(config, existing, name) if joined else ""
    nested = parent.info.run_id if parent and not run_id else None

    def start() -> mlflow.ActiveRun:
        return mlflow.start_run(
            run_id=run_id or None,
            run_name=name or None,
            nested=active is not None,
            parent_run_id=nested,
            experiment_id=experiment,
            tags=dict(tags),
            log_system_metrics=False,
        )

    return store.retry_while_busy(start)


def _place(client: MlflowClient, config: Config, existing: Run | None, joined: str) -> Experiment:
    """Return the experiment of a run that is no child."""
    if joined:
        return experiments.of_joined_run(client, joined, config.experiment)
    if existing is not None:
        return client.get_experiment(existing.info.experiment_id)
    # Not by `set_experiment`: it leaves "Default" the active one, without a word, when another
    # process creates the experiment at the same moment.
    return experiments.find_or_create(client, config.experiment)


def _new_name(config: Config, joined: Run, name: str) -> str:
    """Return the new name of a joined run; empty where it keeps one that a person gave it."""
    if config.run_name != "auto":
        return config.run_name
    return name if run_names.is_made_up(str(joined.info.run_name)) else ""
