"""What MLflow is told of a study: its run, the runs of its trials, and what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from imbalance_study.config import Config
from imbalance_study.tracking import artifacts, journal, run, store, view

NAME, TRIAL, STATE, WINNER = "study", "trial", "trial_state", "winner_of_trial"
_PAGE = 1000
_LOCAL = "http://127.0.0.1:5000"
PARAMS = (
    *("loss", "class_weights", "sampler", "defer", "label_smoothing", "mix", "augment"),
    *("optimizer", "lr", "weight_decay", "batch_size", "model"),
)


@contextlib.contextmanager
def session(config: Config, name: str, params: Mapping[str, Any], before: str) -> Iterator[str]:
    """The run of a study: a new one, that of ``mlflow run``, or the one that it had before.

    A second ``mlflow run`` of the same study has a run of its own; that one ends at once, and says
    which run goes on.

    Args:
        config: Of its trials.
        name: Of the study.
        params: Logged, as far as they are not there yet.
        before: Id of the run that the study had; "" for a new study.

    Yields:
        The id of the run.
    """
    store.refuse_offline(config.tracking, "a study")
    if before and not exists(before):
        before = ""
    point_to(before)
    own = dataclasses.replace(config, run_name=f"study {name}", system_metrics=False)
    with run.session(own, {NAME: name}, run_id=before) as active:
        there = mlflow.get_run(active.info.run_id).data.params
        mlflow.log_params({key: value for key, value in params.items() if key not in there})
        yield active.info.run_id


def exists(run_id: str) -> bool:
    """Whether the store has a run, and has not deleted it."""
    try:
        return str(mlflow.get_run(run_id).info.lifecycle_stage) == "active"
    except MlflowException:
        return False


def point_to(parent: str) -> None:
    """End the run that ``mlflow run`` made for this process, in favour of the study's own."""
    own = os.environ.get("MLFLOW_RUN_ID", "")
    if not parent or not own or own == parent:
        return
    del os.environ["MLFLOW_RUN_ID"]
    client = MlflowClient()
    client.set_tag(own, "mlflow.parentRunId", parent)
    client.set_tag(own, "mlflow.note.content", f"Went on with the study of run `{parent}`.")
    client.set_terminated(own, "FINISHED")


def close_trials(parent: str, numbers: Sequence[int] | None = None) -> None:
    """Runs of trials whose process is dead do not stay RUNNING.

    Args:
        parent: The study's run.
        numbers: Of the trials; all that are RUNNING where it is None.
    """
    client = MlflowClient()
    for child in children(parent, "attributes.status = 'RUNNING'"):
        number = child.data.tags.get(TRIAL, "")
        if TRIAL in child.data.tags and (numbers is None or int(number) in numbers):
            client.set_tag(child.info.run_id, STATE, "failed")
            client.set_terminated(child.info.run_id, "KILLED")


def close_winners(parent: str) -> None:
    """Runs of the winner that a killed process left RUNNING become KILLED."""
    for child in children(parent, "attributes.status = 'RUNNING'"):
        if WINNER in child.data.tags:
            MlflowClient().set_terminated(child.info.run_id, "KILLED")


def winners(parent: str, trial: int) -> dict[int, Run]:
    """The finished runs of a winner, by their seed."""
    found = children(parent, f"attributes.status = 'FINISHED' and tags.{WINNER} = '{trial}'")
    return {int(child.data.params["seed"]): child for child in found}


def children(parent: str, condition: str) -> list[Run]:
    """The child runs for which a condition holds, in MLflow's search syntax."""
    client = MlflowClient()
    experiment = client.get_run(parent).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent}' and {condition}"
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], query, max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def mark(run_id: str, state: str, status: str = "") -> None:
    """Say what became of a trial; a status corrects that of its run."""
    if run_id:
        client = MlflowClient()
        client.set_tag(run_id, STATE, state)
        if status:
            client.set_terminated(run_id, status)


def active_run_id() -> str:
    """The run that is being recorded in this process."""
    active = mlflow.active_run()
    return active.info.run_id if active else ""


def best_so_far(parent: str, metric: str, value: float, trial: int) -> None:
    """A point of the curve that the study's run shows while it goes on."""
    MlflowClient().log_metric(parent, f"best/{metric.replace('/', '_')}", value, step=trial)


def report(
    name: str,
    metrics: Mapping[str, float],
    tables: Mapping[str, Mapping[str, list[Any]]],
    figures: Mapping[str, Any],
    description: str,
    *,
    objective: str,
    ascending: bool = False,
) -> None:
    """Write what came out into the active run, and prepare the view of its trials.

    The view has the knobs in which the trials differ, and the winner's result on the test set.
    """
    mlflow.log_metrics(dict(metrics), step=0)
    for title, columns in tables.items():
        journal.current().table(columns, f"{title}.json")
    artifacts.log_figures(figures)
    journal.current().tags({run.NOTE: description})
    active = mlflow.active_run()
    assert active is not None
    view.prepare(
        MlflowClient(),
        active.info.experiment_id,
        key=view_key(name),
        params=_differing(children(active.info.run_id, "attributes.status = 'FINISHED'")),
        metrics=(
            f"selected_{objective}",
            objective,  # pruned trials have no selected epoch
            objective.replace("val/", "test/"),
            "time/train_seconds",
        ),
        tags=(STATE,),
        ascending=ascending,
        search=f"tags.mlflow.parentRunId = '{active.info.run_id}'",
    )


def _differing(runs: Sequence[Run]) -> tuple[str, ...]:
    """Of PARAMS those that are not the same in all runs; all where none differs."""
    found = tuple(name for name in PARAMS if len({run.data.params.get(name) for run in runs}) > 1)
    return found or PARAMS


def view_key(name: str) -> str:
    """The name of the view of a study, in its link."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return f"study-{kept}"


def links(name: str, uri: str) -> list[str]:
    """Where to look, as lines for the terminal."""
    active = mlflow.active_run()
    assert active is not None
    server = uri.rstrip("/") if uri.startswith("http") else _LOCAL
    lines = []
    if not uri.startswith("http"):
        lines += ["Open the UI:", f"  mlflow ui --backend-store-uri {store.without_password(uri)}"]
    ids = active.info.experiment_id, active.info.run_id
    return [
        *lines,
        f"The study:   {view.run_address(server, *ids)}",
        f"Its trials:  {view.address(server, ids[0], view_key(name))}",
    ]
