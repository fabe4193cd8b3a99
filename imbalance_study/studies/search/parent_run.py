"""What MLflow is told of a study: its run, the runs of its trials, and what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from imbalance_study.config.schema import Config
from imbalance_study.tracking import (
    artifacts,
    fetch,
    journal,
    orphans,
    outage,
    process,
    run,
    store,
    ui_view,
)
from imbalance_study.tracking import (
    description as tracking_description,
)

NAME, TRIAL, STATE, WINNER = "study", "trial", "trial_state", "winner_of_trial"
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
        active.journal.params(params)
        yield active.info.run_id


def exists(run_id: str) -> bool:
    """Whether the store has a run, and has not deleted it."""
    try:
        found = outage.PatientClient().get_run(run_id)
        return str(found.info.lifecycle_stage) == "active"
    except MlflowException:
        return False


def point_to(parent: str) -> None:
    """End the run that ``mlflow run`` made for this process, in favour of the study's own."""
    own = os.environ.get("MLFLOW_RUN_ID", "")
    if not parent or not own or own == parent:
        return
    del os.environ["MLFLOW_RUN_ID"]
    client = outage.PatientClient()
    client.set_tag(own, "mlflow.parentRunId", parent)
    client.set_tag(own, "mlflow.note.content", f"Went on with the study of run `{parent}`.")
    client.set_terminated(own, "FINISHED")


def bury(parent: str, failed: Collection[int]) -> None:
    """Runs of trials and winners whose process is gone do not stay RUNNING.

    Args:
        parent: The study's run.
        failed: Trials that the study's storage knows to have failed: a process on another machine,
            of which nothing is known here, has lost such a trial. A winner is trained by the
            process that leads, which is this one.
    """
    for child in children(parent, "attributes.status = 'RUNNING'"):
        tags = child.data.tags
        why = orphans.reason_orphaned(child, math.inf)
        lost = WINNER in tags or int(tags.get(TRIAL, -1)) in failed
        if not why and lost and process.has_ended(tags) is None:
            why = f"process {tags.get(process.PID)} on {tags.get(process.HOST)} is gone"
        if why:
            client = outage.PatientClient()
            client.set_tag(child.info.run_id, STATE, "failed")
            orphans.mark_failed(client, child, why)


def winners(parent: str, trial: int) -> dict[int, Run]:
    """The finished runs of a winner, by their seed."""
    found = children(parent, f"attributes.status = 'FINISHED' and tags.{WINNER} = '{trial}'")
    return {int(child.data.params["seed"]): child for child in found}


def children(parent: str, condition: str) -> list[Run]:
    """The child runs for which a condition holds, in MLflow's search syntax."""
    client = outage.PatientClient()
    experiment = client.get_run(parent).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent}' and {condition}"
    return list(fetch.search_runs(client, experiment, query))


def mark(state: str, problem: str = "") -> None:
    """Say in the run of a trial, which goes on, what became of it, and why."""
    book = journal.current()
    book.tags({STATE: state})
    if problem:
        book.tags({run.NOTE: tracking_description.escape_markdown(store.scrub(problem))})


def best_so_far(parent: str, metric: str, value: float, trial: int) -> None:
    """A point of the curve that the study's run shows while it goes on."""
    name, here = f"best/{metric.replace('/', '_')}", journal.active()
    if here is not None:
        here.metrics({name: value}, trial)
    else:  # another process leads
        outage.PatientClient().log_metric(parent, name, value, journal.now(), trial)


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

    The view has the options in which the trials differ, and the winner's result on the test set.
    """
    book = journal.current()
    book.strict = True
    book.metrics(metrics, 0)
    for title, columns in tables.items():
        book.table(columns, f"{title}.json")
    artifacts.log_figures(figures)
    book.tags({run.NOTE: description})
    ui_view.write_view(
        outage.PatientClient(),
        book.state["experiment_id"],
        key=view_key(name),
        params=_differing(children(book.id, "attributes.status = 'FINISHED'")),
        metrics=(
            f"selected_{objective}",
            objective,  # pruned trials have no selected epoch
            objective.replace("val/", "test/"),
            "time/train_seconds",
        ),
        tags=(STATE,),
        ascending=ascending,
        search=f"tags.mlflow.parentRunId = '{book.id}'",
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
    uri = store.without_password(uri)
    server = tracking_description.server(uri)
    ids = journal.current().state["experiment_id"], journal.current().id
    return [
        *tracking_description.how_to_open(uri),
        f"The study:   {ui_view.run_url(server, *ids)}",
        f"Its trials:  {ui_view.view_url(server, ids[0], view_key(name))}",
    ]
