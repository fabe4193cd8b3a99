"""The prepared view of an experiment: its runs sorted by what counts, with the columns that matter.

MLflow's table of runs shows no metric and no param by itself, and its charts are one for each
metric, a hundred of them. It reads shared views from experiment tags; a link that names one opens
it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

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

CURVES = ("val/balanced_accuracy", "train/loss", "val/loss")
# Keys of the image grid; their part before the slash is the section of the charts they stand in.
IMAGES = ("confusion_matrix", "misclassified", "gradcam", "features")
_SIZES = (10, 20, 50, 100)  # numbers of runs that the charts can be set to
# Sections of the charts in their order; those that the view does not open show their names alone.
_OPEN = ("result", "images", "curves")
_CLOSED = (
    *("test", "test_ci", "test_calibration", "test_errors", "test_features", "test_deletion"),
    *("test_last", "stage1_test", "posthoc", "selected_val", "val", "train", "cost", "time"),
    *("Model metrics", "System metrics"),
)


def write_view(
    client: MlflowClient,
    experiment_id: str,
    *,
    key: str = KEY,
    params: Sequence[str] = PARAMS,
    metrics: Sequence[str] = METRICS,
    search: str = "",
    count: int = 10,
    images: Sequence[str] = IMAGES,
    group_by: str = "",
    tags: Sequence[str] = (),
    ascending: bool = False,
) -> None:
    """Write the view into the experiment, unless it stands there already.

    Args:
        client: Of the store.
        experiment_id: The experiment.
        key: Name of the view, in the link.
        params: Columns.
        metrics: Columns; the runs are sorted by the first, the best on top. Those of validation
            change from epoch to epoch and are curves in the charts, the others bars.
        search: A filter in MLflow's search syntax.
        count: Runs that the charts show.
        images: Keys of the image grid.
        group_by: A tag; table and bars show the mean of the runs that have the same value.
        tags: More columns.
        ascending: Whether the smallest is the best.
    """
    state: dict[str, Any] = {
        "searchFilter": search,
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"metrics.`{name}`" for name in metrics]
        + [f"params.`{name}`" for name in params]
        + [f"tags.`{name}`" for name in tags],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
    } | _charts(metrics, images, count)
    if group_by:
        one = {"mode": "tag", "groupByData": group_by}
        state["groupBy"] = {"aggregateFunction": "average", "groupByKeys": [one]}
    text = json.dumps(state)
    if client.get_experiment(experiment_id).tags.get(_PREFIX + key) == text:
        return
    try:
        client.set_experiment_tag(experiment_id, _PREFIX + key, text)
    except MlflowException:  # another process may have written it at the same moment
        if client.get_experiment(experiment_id).tags.get(_PREFIX + key) != text:
            raise


def _charts(metrics: Sequence[str], images: Sequence[str], count: int) -> dict[str, Any]:
    """Bars of the metrics in the columns, the images, the curves; all other sections folded."""
    shown = next((size for size in _SIZES if size >= count), _SIZES[-1])
    common = {"deleted": False, "isGenerated": True, "runsCountToCompare": shown}
    cards: list[dict[str, Any]] = [
        {"type": "BAR", "metricSectionId": "result", "metricKey": name, "displayName": name}
        for name in metrics
        if not name.startswith("val/")
    ]
    cards += [
        {"type": "IMAGE", "metricSectionId": "images", "imageKeys": [f"images/{key}"]}
        | {"step": 0, "showRunParams": False}
        for key in images
    ]
    line = {
        "type": "LINE",
        "metricSectionId": "curves",
        "lineSmoothness": 0,
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "yAxisKey": "metric",
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
    curves = dict.fromkeys([*(name for name in metrics if name.startswith("val/")), *CURVES])
    cards += [line | {"metricKey": name, "displayName": name} for name in curves]
    sections = [
        {"uuid": name, "name": name, "display": name in _OPEN, "isReordered": True}
        | {"deleted": False, "isGenerated": True}
        for name in (*_OPEN, *_CLOSED)
    ]
    return {
        "compareRunCharts": [
            card | common | {"uuid": f"card-{index}"} for index, card in enumerate(cards)
        ],
        "compareRunSections": sections,
        "isAccordionReordered": True,
    }


def view_url(server: str, experiment_id: str, key: str = KEY) -> str:
    """The link that opens the view on a server."""
    return (
        f"{server}/#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&viewStateShareKey={key}"
    )


def run_url(server: str, experiment_id: str, run_id: str) -> str:
    """The link that opens a run on a server."""
    return f"{server}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
