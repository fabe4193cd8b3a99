"""The prepared view of an experiment: its runs sorted by what counts, with the columns that matter.

MLflow's table of runs shows no metric and no param by itself. It reads shared views from experiment
tags; a link that names one opens it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlflow import MlflowClient

_PREFIX = "mlflow.sharedViewState."
KEY = "imbalance-study"

PARAMS = (
    "dataset",
    "imbalance",
    "model",
    "loss",
    "class_weights",
    "sampler",
    "augment",
    "epochs",
    "seed",
)
METRICS = (
    "test/balanced_accuracy",
    "test/macro_f1",
    "test/tail_recall",
    "time/train_seconds",
)


def prepare(
    client: MlflowClient,
    experiment_id: str,
    *,
    key: str = KEY,
    params: Sequence[str] = PARAMS,
    metrics: Sequence[str] = METRICS,
    search: str = "",
) -> None:
    """Write the view into the experiment, unless it stands there already.

    Args:
        client: Of the store.
        experiment_id: The experiment.
        key: Name of the view, in the link.
        params: Columns.
        metrics: Columns; the runs are sorted by the first, the best on top.
        search: A filter in MLflow's search syntax.
    """
    state = {
        "searchFilter": search,
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"metrics.`{name}`" for name in metrics]
        + [f"params.`{name}`" for name in params],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
    }
    text = json.dumps(state)
    if client.get_experiment(experiment_id).tags.get(_PREFIX + key) != text:
        client.set_experiment_tag(experiment_id, _PREFIX + key, text)


def address(server: str, experiment_id: str, key: str = KEY) -> str:
    """The link that opens the view on a server."""
    return (
        f"{server}/#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&viewStateShareKey={key}"
    )


def run_address(server: str, experiment_id: str, run_id: str) -> str:
    """The link that opens a run on a server."""
    return f"{server}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
