"""The run of a study in MLflow, the runs of its trials, and the report."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from imbalance_study.config.schema import Config
from imbalance_study.tracking import (
    artifacts,
    fetch,
    journal,
    orphans,
    outage,
    process,
    run_kind,
    run_names,
    session,
    store,
    ui_view,
)
from imbalance_study.tracking.description import how_to_open
from imbalance_study.tracking.description import server as server_address
from imbalance_study.tracking.markup import escape_markdown

NAME, TRIAL, STATE, WINNER = "study", "trial", "trial_state", "winner_of_trial"
PARAMS = (
    *("loss", "class_weights", "sampler", "defer", "label_smoothing", "mix", "augment"),
    *("optimizer", "lr", "weight_decay", "batch_size", "model"),
)


@contextlib.contextmanager
def study_run(config: Config, name: str, params: Mapping[str, Any], before: str) -> Iterator[str]:
    """Start the run of a study: a new one, that of ``mlflow run``, or the study's earlier one.

    The run of a second ``mlflow run`` on the same study ends at once, with a note on the run that
    continues.

    Args:
        config: Configuration of its trials.
        name: Name of the study.
        params: Params to log, as far as the run lacks them.
        before: Id of the study's earlier run; "" for a new study.

    Yields:
        The id of the run.
    """
    store.refuse_offline(config.tracking, "a study")
    if before and not run_exists(before):
        before = ""
    redirect_project_run(before)
    own = dataclasses.replace(config, system_metrics=False)
    tags = {NAME: name, run_kind.KIND: run_kind.STUDY}
    with session.session(own, tags, run_id=before, name=_title(config, name)) as active:
        active.journal.params(params)
        yield active.info.run_id


def _title(config: Config, name: str) -> str:
    """Name the run of a study, with the data where the study's own name lacks them."""
    data = run_names.data_name(config)
    return f"study {name}" if data in name else f"study {name} on {data}"


def run_exists(run_id: str) -> bool:
    """Whether the store has a run that is not deleted."""
    try:
        run_record = outage.PatientClient().get_run(run_id)
        return str(run_record.info.lifecycle_stage) == "active"
    except MlflowException:
        return False


def redirect_project_run(parent: str) -> None:
    """End the run that ``mlflow run`` made for this process, with a note on the study's run."""
    own = os.environ.get("MLFLOW_RUN_ID", "")
    if not parent or not own or own == parent:
        return
    del os.environ["MLFLOW_RUN_ID"]
    client = outage.PatientClient()
    client.set_tag(own, "mlflow.parentRunId", parent)
    client.set_tag(own, MLFLOW_RUN_NOTE, f"The study continues in run `{parent}`.")
    client.set_terminated(own, "FINISHED")


def fail_orphaned_runs(parent: str, failed: Collection[int]) -> None:
    """Mark child runs FAILED whose process no longer exists.

    Args:
        parent: The study's run.
        failed: Trials that failed according to the study's storage, which also covers processes of
            other machines. A winner is always trained by the leading process, which is this one.
    """
    for child in search_children(parent, "attributes.status = 'RUNNING'"):
        tags = child.data.tags
        reason = orphans.reason_orphaned(child, math.inf)
        lost = WINNER in tags or int(tags.get(TRIAL, -1)) in failed
        if not reason and lost and process.has_ended(tags) is None:
            pid, host = (process.recorded(tags, name) for name in (process.PID, process.HOST))
            reason = f"process {pid} on {host} is gone"
        if reason:
            client = outage.PatientClient()
            client.set_tag(child.info.run_id, STATE, "failed")
            orphans.mark_failed(client, child, reason)


def finished_winner_runs(parent: str, trial: int) -> dict[int, Run]:
    """Find the finished runs of a winner; returns seed to run."""
    condition = f"attributes.status = 'FINISHED' and tags.{WINNER} = '{trial}'"
    finished = search_children(parent, condition)
    return {int(child.data.params["seed"]): child for child in finished}


def search_children(parent: str, condition: str) -> list[Run]:
    """Find the child runs that match a condition in MLflow's search syntax."""
    client = outage.PatientClient()
    experiment = client.get_run(parent).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent}' and {condition}"
    return list(fetch.search_runs(client, experiment, query))


def set_trial_state(state: str, problem: str = "") -> None:
    """Record the state of a trial, and the reason, in its run, which is still active."""
    record = journal.current()
    record.tags({STATE: state})
    if problem:
        record.note(escape_markdown(store.scrub(problem)))


def log_best_value(parent: str, metric: str, value: float, trial: int) -> None:
    """Log a point of the curve of best values to the study's run."""
    name, own = f"best/{metric.replace('/', '_')}", journal.active()
    if own is not None:
        own.metrics({name: value}, trial)
    else:  # another process leads
        outage.PatientClient().log_metric(parent, name, value, journal.now(), trial)


def record_report(
    name: str,
    metrics: Mapping[str, float],
    tables: Mapping[str, Mapping[str, list[Any]]],
    figures: Mapping[str, Any],
    description: str,
    *,
    objective: str,
    ascending: bool = False,
) -> None:
    """Record the results in the active run, and prepare the view of its trials.

    The view has the options in which the trials differ.
    """
    record = journal.current()
    record.strict = True
    record.metrics(metrics, 0)
    for title, columns in tables.items():
        record.table(columns, f"{title}.json")
    artifacts.log_figures(figures, f"study {name} · run {record.id}")
    trials = ui_view.view_url("", record.state["experiment_id"], view_key(name))
    record.note(f"{description}\n\nIts trials: [prepared view]({trials}).")
    view = ui_view.View(
        key=view_key(name),
        params=_differing(search_children(record.id, "attributes.status = 'FINISHED'")),
        metrics=(
            f"selected_{objective}",
            objective,  # pruned trials have no selected epoch
        ),
        tags=(STATE,),
        ascending=ascending,
        search=f"tags.mlflow.parentRunId = '{record.id}' and tags.{TRIAL} LIKE '%'",
    )
    ui_view.write_view(outage.PatientClient(), record.state["experiment_id"], view)


def _differing(runs: Sequence[Run]) -> tuple[str, ...]:
    """Select the PARAMS that differ between runs; all where none differs."""
    differing = tuple(
        name for name in PARAMS if len({run.data.params.get(name) for run in runs}) > 1
    )
    return differing or PARAMS


def view_key(name: str) -> str:
    """Name the view of a study, as its link has it."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return f"study-{kept}"


def links(name: str, uri: str) -> list[str]:
    """Write the links to a study for the terminal."""
    uri = store.without_password(uri)
    server = server_address(uri)
    ids = journal.current().state["experiment_id"], journal.current().id
    return [
        *how_to_open(uri),
        f"The study:   {ui_view.run_url(server, *ids)}",
        f"Its trials:  {ui_view.view_url(server, ids[0], view_key(name))}",
    ]
