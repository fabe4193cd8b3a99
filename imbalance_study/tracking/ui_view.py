"""A view of an experiment in MLflow's UI: runs sorted, with chosen columns and charts.

By itself, MLflow's table of runs shows no metric and no param, and draws a chart for each of a
hundred metrics. The UI reads shared views from tags of the experiment; a link with the key of a
view opens it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

_PREFIX = "mlflow.sharedViewState."

# MLflow sorts the columns of metrics, and behind them those of params, by name, and gives each
# about 100 px: at 1280 px the duration, three metrics, the loss and the model are seen at once.
PARAMS = ("loss", "model", "sampler", "seed")
# Half the width of the 95 % interval of test/balanced_accuracy.
PLUS_MINUS = "test_sure/plus_minus_95"
METRICS = ("test/balanced_accuracy", PLUS_MINUS, "test/tail_recall")

CURVES = ("val/balanced_accuracy", "train/loss", "val/loss")
# Keys of the image grid.
IMAGES = ("confusion_matrix", "misclassified", "gradcam", "features")
_SIZES = (10, 20, 50, 100)  # numbers of runs that the UI offers for the charts
# Sections of the charts in their order: open ones, and folded ones.
_OPEN = ("result", "images", "curves")
_CLOSED = (
    *(
        "test",
        "test_ci",
        "test_sure",
        "test_calibration",
        "test_errors",
        "test_features",
        "test_deletion",
    ),
    *("test_last", "stage1_test", "posthoc", "selected_val", "val", "train", "cost", "time"),
    *("Model metrics", "System metrics"),
)


@dataclasses.dataclass(frozen=True)
class View:
    """Columns, order and charts of the runs of an experiment."""

    key: str  # name of the view, in the link
    params: Sequence[str] = PARAMS  # columns
    # Columns; the runs are sorted by the first, or by `order_by`. Metrics of validation change from
    # epoch to epoch and are curves in the charts, the others are bars.
    metrics: Sequence[str] = METRICS
    tags: Sequence[str] = ()  # more columns
    attributes: Sequence[str] = ()  # more columns, of MLflow's own
    search: str = ""  # a filter in MLflow's search syntax
    count: int = 10  # of runs in the charts
    images: Sequence[str] = IMAGES  # keys of the image grid
    group_by: str = ""  # a tag; table and bars show the mean of the runs with the same value
    ascending: bool = False  # the smallest value is the best
    order_by: str = ""  # what the runs are sorted by in place of the first metric

    def state(self) -> dict[str, Any]:
        """Return the view as the UI stores it."""
        columns = [
            *(f"metrics.`{name}`" for name in self.metrics),
            *(f"params.`{name}`" for name in self.params),
            *(f"tags.`{name}`" for name in self.tags),
            *(f"attributes.`{name}`" for name in self.attributes),
        ]
        state: dict[str, Any] = {
            "searchFilter": self.search,
            "orderByKey": self.order_by or f"metrics.`{self.metrics[0]}`",
            "orderByAsc": self.ascending,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
            "selectedColumns": columns,
            "runsExpanded": {},
            "runsPinned": [],
            "runsHidden": [],
        } | _charts(self.metrics, self.images, self.count)
        if self.group_by:
            tag = {"mode": "tag", "groupByData": self.group_by}
            state["groupBy"] = {"aggregateFunction": "average", "groupByKeys": [tag]}
        return state


def write_view(client: MlflowClient, experiment_id: str, view: View) -> None:
    """Write a view into an experiment, unless it is there already."""
    write_tag(client, experiment_id, _PREFIX + view.key, json.dumps(view.state()))


def write_tag(client: MlflowClient, experiment_id: str, tag: str, text: str) -> None:
    """Set a tag of an experiment, unless it has this text already."""
    if client.get_experiment(experiment_id).tags.get(tag) == text:
        return
    try:
        client.set_experiment_tag(experiment_id, tag, text)
    except MlflowException:  # another process may have written it at the same moment
        if client.get_experiment(experiment_id).tags.get(tag) != text:
            raise


def _charts(metrics: Sequence[str], images: Sequence[str], count: int) -> dict[str, Any]:
    """Return the charts: bars of the metrics, images, curves; all other sections are folded."""
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


def view_url(server: str, experiment_id: str, key: str) -> str:
    """Return the link that opens a view on a server; on none, a relative one to be stored."""
    return (
        f"{_root(server)}#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&viewStateShareKey={key}"
    )


def run_url(server: str, experiment_id: str, run_id: str) -> str:
    """Return the link that opens a run on a server; on none, a relative one to be stored."""
    return (
        f"{_root(server)}#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
    )


def _root(server: str) -> str:
    return f"{server}/" if server else ""
