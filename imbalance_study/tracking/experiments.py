"""The experiment of MLflow that runs are recorded in: found, made, or decided by what is set."""

from __future__ import annotations

import functools
import os
import sys

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.environment_variables import MLFLOW_EXPERIMENT_ID, MLFLOW_EXPERIMENT_NAME
from mlflow.exceptions import MlflowException

AUTO = "auto"
# Id of MLflow's own experiment: `mlflow run` begins its runs there before this program starts, and
# no run can be moved.
DEFAULT = "0"
# The experiment that earlier versions recorded in by themselves.
_FORMER = "imbalance_study"


def find(client: MlflowClient, wanted: str) -> Experiment | None:
    """Find an experiment, and make none.

    Args:
        client: Client of the store.
        wanted: Its id (a number), its name, or ``auto``: see `find_or_create`.

    Returns:
        The experiment, which may be a deleted one; None where there is none.

    Raises:
        ValueError: MLFLOW_EXPERIMENT_ID and MLFLOW_EXPERIMENT_NAME mean two experiments.
    """
    by_id, name = _from_environment(client) if wanted == AUTO else ("", wanted)
    number = by_id or (name if name.isdigit() else "")
    found = _by_id(client, number) if number else None
    return found or (client.get_experiment_by_name(name) if name else None)


def find_or_create(client: MlflowClient, wanted: str) -> Experiment:
    """Find an experiment, or make it; several processes may ask for it at once.

    Args:
        client: Client of the store.
        wanted: Its id (a number), its name, or ``auto``: that of MLFLOW_EXPERIMENT_ID, else of
            MLFLOW_EXPERIMENT_NAME, else MLflow's ``Default``.

    Raises:
        ValueError: There is none of this id, it was deleted, or the variables contradict each
            other.
    """
    found = find(client, wanted)
    if found is None:
        found = _create(client, wanted)
    if found.lifecycle_stage == "deleted":
        raise ValueError(
            f"the experiment {found.name!r} is deleted; restore it by mlflow experiments restore "
            f"--experiment-id {found.experiment_id}, or choose another with experiment=NAME"
        )
    if wanted == AUTO and found.experiment_id == DEFAULT:
        _point_to_former(client, found)
    return found


def of_joined_run(client: MlflowClient, run_id: str, wanted: str) -> Experiment:
    """Return the experiment of the run that ``mlflow run`` began.

    Args:
        client: Client of the store.
        run_id: The run.
        wanted: The option `experiment`.

    Raises:
        ValueError: Another experiment is wanted: a run cannot be moved.
    """
    own = client.get_experiment(client.get_run(run_id).info.experiment_id)
    if wanted == AUTO:
        return own
    other = find(client, wanted)
    if other is None or other.experiment_id != own.experiment_id:
        raise ValueError(
            f"experiment={wanted} comes too late: mlflow run has begun this run in experiment "
            f"{own.name!r} (id {own.experiment_id}), and no run can be moved; leave experiment "
            "out, and give mlflow run --experiment-name NAME before -P"
        )
    return own


def of_next_run(client: MlflowClient, wanted: str) -> Experiment | None:
    """Find the experiment that the next run would be recorded in; None where it is to be made."""
    run_id = joined_run()
    return of_joined_run(client, run_id, wanted) if run_id else find(client, wanted)


def named_now(wanted: str) -> str:
    """Return what names the experiment of a run that is uploaded later, elsewhere maybe."""
    if wanted != AUTO:
        return wanted
    return MLFLOW_EXPERIMENT_ID.get() or MLFLOW_EXPERIMENT_NAME.get() or AUTO


def joined_run() -> str:
    """Return the id of the run that ``mlflow run`` began for this process; empty for none."""
    return os.environ.get("MLFLOW_RUN_ID", "")


def _by_id(client: MlflowClient, number: str) -> Experiment | None:
    try:
        return client.get_experiment(number)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _from_environment(client: MlflowClient) -> tuple[str, str]:
    """Return id and name of the experiment that the environment means; one of them is empty."""
    number, name = MLFLOW_EXPERIMENT_ID.get() or "", MLFLOW_EXPERIMENT_NAME.get() or ""
    if number and name:
        named = client.get_experiment_by_name(name)
        if named is None or named.experiment_id != number:
            other = "none" if named is None else named.experiment_id
            raise ValueError(
                f"MLFLOW_EXPERIMENT_ID={number} and MLFLOW_EXPERIMENT_NAME={name} mean two "
                f"experiments (the id of that name: {other}); unset one of them"
            )
    return (number, "") if number else ("", name) if name else (DEFAULT, "")


def _create(client: MlflowClient, wanted: str) -> Experiment:
    """Make the experiment of a name."""
    number, name = _from_environment(client) if wanted == AUTO else ("", wanted)
    if number == DEFAULT:
        name = "Default"
    elif number or name.isdigit():
        known = ", ".join(f"{e.experiment_id} ({e.name})" for e in client.search_experiments())
        origin = "MLFLOW_EXPERIMENT_ID" if number else "experiment"
        raise ValueError(
            f"{origin}={number or name}: a number is the id of an experiment, and there is none "
            f"with this id; known: {known}; or give a name that is no number"
        )
    try:
        return client.get_experiment(client.create_experiment(name))
    except MlflowException:  # another process may have made it at the same moment
        made = client.get_experiment_by_name(name)
        if made is None:
            raise
        return made


def _point_to_former(client: MlflowClient, default: Experiment) -> None:
    """Say where the runs of earlier versions are, as long as the default has none of its own."""
    former = client.get_experiment_by_name(_FORMER)
    if former is None or former.lifecycle_stage == "deleted":
        return
    if not client.search_runs([default.experiment_id], max_results=1):
        _say_former(former.experiment_id)


@functools.cache
def _say_former(experiment_id: str) -> None:
    print(
        f"Note: runs go to MLflow's experiment Default now, as those of mlflow run do; earlier "
        f"ones are in {_FORMER} (id {experiment_id}), and --experiment {_FORMER} goes on there",
        file=sys.stderr,
        flush=True,
    )
