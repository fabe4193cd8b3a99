"""Read the runs of an experiment as pandas tables.

from imbalance_study.studies.report.frames import history, runs
frame = runs("Default")
frame[frame.status == "FINISHED"].groupby("configuration")["test/macro_f1"].describe()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from imbalance_study.config.schema import AXES
from imbalance_study.files import csv_cell
from imbalance_study.studies.comparison import child_runs, configurations
from imbalance_study.tracking import experiments, run_kind, store
from imbalance_study.tracking.fetch import search_runs

REPORT = "report"  # the tag of a run that holds a report
_TAGS = {"data_fingerprint": "fingerprint", "imbalance_study.version": "version"}
# Options that do not distinguish configurations.
_NOT_VARIED = {"seed", "device", "data_dir"}


def runs(experiment: str, tracking_uri: str = "auto") -> pd.DataFrame:
    """Read all runs of an experiment, the oldest first.

    Args:
        experiment: Its name or id, or ``auto``: see `experiment_of`.
        tracking_uri: The store; ``auto`` is MLFLOW_TRACKING_URI, else ./mlflow.db.

    Returns:
        Columns run_id, name, status, parent, configuration, start (UTC), seconds; then each param
        (text), each final metric, each tag (fingerprint, version, device, ...), missing where a run
        has none. Runs that hold reports are left out. The configuration is the label of a
        comparison, else the params in which the runs differ, without the seed.

    Raises:
        ValueError: There is no such store or experiment.
    """
    client = connect(tracking_uri)
    records = runs_of(client, experiment_of(client, experiment))
    names = labels([run.data.params for run in records])
    return pd.DataFrame([_row(run, name) for run, name in zip(records, names, strict=True)])


def history(run_id: str, tracking_uri: str = "auto") -> pd.DataFrame:
    """Read the metrics of a run over its epochs.

    Args:
        run_id: The run.
        tracking_uri: The store, as for `runs`.

    Returns:
        A row an epoch (the index, named epoch), a column a metric, NaN where it was not recorded.

    Raises:
        ValueError: There is no such store or run.
    """
    client = connect(tracking_uri)
    run = run_of(client, run_id)
    columns = {}
    for name in sorted(run.data.metrics):
        if name.startswith("system/"):
            continue
        points = {point.step: point.value for point in client.get_metric_history(run_id, name)}
        if any(points):  # final ones stand at step 0 alone
            columns[name] = pd.Series({s: v for s, v in points.items() if s}, dtype=float)
    frame = pd.DataFrame(columns).sort_index()
    frame.index.name = "epoch"
    return frame


def connect(tracking_uri: str) -> MlflowClient:
    """Connect to an existing store.

    Raises:
        ValueError: There is no such store, or it cannot be reached.
    """
    store.require_existing(tracking_uri)
    store.connect(tracking_uri)
    return MlflowClient()


def experiment_of(client: MlflowClient, experiment: str) -> Experiment:
    """Find an experiment by its id or name.

    Args:
        client: Client of the store.
        experiment: Id, name, or ``auto``: the one that runs are recorded in, or if it has no runs,
            the only one that has some.

    Raises:
        ValueError: There is none, or several; the message lists them.
    """
    if experiment == experiments.AUTO:
        return _usual_experiment(client)
    match = experiments.find(client, experiment)
    if match is None:
        known = ", ".join(sorted(one.name for one in client.search_experiments()))
        place = store.without_password(mlflow.get_tracking_uri())
        raise ValueError(f"unknown experiment {experiment!r} in {place}; known: {known}")
    return match


def address_of(experiment_id: str) -> str:
    """Return the address of an experiment on the server; empty for a local store."""
    uri = store.without_password(mlflow.get_tracking_uri())
    return f"{uri.rstrip('/')}/#/experiments/{experiment_id}" if uri.startswith("http") else ""


def _usual_experiment(client: MlflowClient) -> Experiment:
    usual = experiments.of_next_run(client, experiments.AUTO)
    if usual is not None and runs_of(client, usual):
        return usual
    others = [one for one in client.search_experiments() if runs_of(client, one)]
    if len(others) == 1:
        return others[0]
    names = ", ".join(sorted(one.name for one in others))
    if names:
        raise ValueError(f"several experiments have runs; choose one with experiment: {names}")
    raise ValueError(
        f"no experiment in {store.without_password(mlflow.get_tracking_uri())} has runs"
    )


def run_of(client: MlflowClient, run_id: str) -> Run:
    """Find a run by its id.

    Raises:
        ValueError: There is none.
    """
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        place = store.without_password(mlflow.get_tracking_uri())
        raise ValueError(f"unknown run {run_id!r} in {place}") from error


def runs_of(client: MlflowClient, experiment: Experiment) -> list[Run]:
    """List all runs of an experiment, the oldest first.

    Without those that hold reports, which the run of ``mlflow run -e report`` is about to do, and
    those of other programs.
    """
    listed = [
        run
        for run in search_runs(client, experiment.experiment_id, "")
        if run_kind.kind_of(run) not in (run_kind.REPORT, run_kind.FOREIGN)
    ]
    return listed[::-1]


def labels(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Label each run by the fewest options whose values distinguish all configurations.

    Args:
        options: Name to value, of each run.

    Returns:
        A label per run, equal for runs that differ in the seed alone; the loss where all are equal.
    """
    varied = _varied(options)
    keys = [tuple(str(one.get(name, "")) for name in varied) for one in options]
    chosen: list[str] = []
    for name in [*_recipe(options, keys), *varied]:
        if _count_classes(options, [*chosen, name]) > _count_classes(options, chosen):
            chosen.append(name)
    for name in chosen[::-1]:
        fewer = [one for one in chosen if one != name]
        if _count_classes(options, fewer) == _count_classes(options, chosen):
            chosen = fewer
    return [_label(one, chosen or ["loss"]) for one in options]


def _varied(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the options that change results and differ, the usual axes first, without the seed."""
    fields = configurations.config_fields_by_name()
    counted = dict.fromkeys(
        name
        for name in (*AXES, *fields)
        if fields[name].metadata["changes_result"] and name not in _NOT_VARIED
    )
    varying = [name for name in counted if len({str(one.get(name, "")) for one in options}) > 1]
    if "data_seed" in varying:
        pairs = {(str(one.get("seed")), str(one.get("data_seed", ""))) for one in options}
        if len({seed for seed, _ in pairs}) == len(pairs):
            varying.remove("data_seed")
    return varying


def _recipe(options: Sequence[Mapping[str, Any]], keys: Sequence[tuple[str, ...]]) -> list[str]:
    """Prefer the recipe, which names many options in a word, where each configuration has one."""
    recipes: dict[tuple[str, ...], set[str]] = {}
    for one, key in zip(options, keys, strict=True):
        recipes.setdefault(key, set()).add(str(one.get("recipe", "none")))
    return ["recipe"] if all(len(names) == 1 for names in recipes.values()) else []


def _count_classes(options: Sequence[Mapping[str, Any]], names: Iterable[str]) -> int:
    """Count the classes of runs that these options distinguish."""
    names = list(names)
    return len({tuple(str(one.get(name, "")) for name in names) for one in options})


def _label(options: Mapping[str, Any], names: Sequence[str]) -> str:
    values = {name: str(options[name]) for name in names if options.get(name, "") != ""}
    if len(values) > 1 and values.get("recipe") == "none":
        del values["recipe"]
    return configurations.label(values) or "default"


def _row(run: Run, label: str) -> dict[str, Any]:
    """Make the row of a run; a name that is taken gets its kind as a prefix."""
    info, data = run.info, run.data
    tags = {
        _TAGS.get(name, name): value
        for name, value in data.tags.items()
        if not name.startswith(("mlflow.", "compared_in_")) and name != "configuration"
    }
    row: dict[str, Any] = {
        "run_id": info.run_id,
        "name": info.run_name,
        "status": info.status,
        "parent": data.tags.get(MLFLOW_PARENT_RUN_ID),
        "configuration": data.tags.get(child_runs.CONFIGURATION, label),
        "start": pd.Timestamp(info.start_time, unit="ms", tz="UTC"),
        "seconds": (info.end_time - info.start_time) / 1000 if info.end_time else None,
    }
    for kind, values in (("params", data.params), ("metrics", data.metrics), ("tags", tags)):
        row |= {f"{kind}.{key}" if key in row else key: value for key, value in values.items()}
    return row


def write_runs(experiment: str, out: str, tracking_uri: str = "auto") -> str:
    """Write the table of `runs` to a file.

    Args:
        experiment: Name or id.
        out: Path of the file, which ends in .csv or .parquet.
        tracking_uri: The store, as for `runs`.

    Returns:
        A line that says how much was written, and where.

    Raises:
        ValueError: The path ends otherwise, or there is no such store or experiment, or no run.
    """
    path = Path(out)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"out must end in .csv or .parquet, got {out!r}")
    frame = runs(experiment, tracking_uri)
    if frame.empty:
        raise ValueError(f"the experiment {experiment!r} has no runs")
    if path.suffix == ".csv":
        frame.map(csv_cell).rename(columns=csv_cell).to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return f"{len(frame)} runs, {len(frame.columns)} columns: {path}"
