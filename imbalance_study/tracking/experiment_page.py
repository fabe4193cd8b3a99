"""The first page of an experiment in MLflow: its description, with links to the prepared views.

A plain click on an experiment opens MLflow's page for GenAI, where of ours only the description is
seen. Its links are relative: they work on whatever server, host or port the store is shown.
"""

from __future__ import annotations

import re

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from imbalance_study.tracking import run_kind, ui_view
from imbalance_study.tracking.markup import escape_markdown
from imbalance_study.tracking.ui_view import View

# Tag of an experiment, with the key of a view behind it: the data that the view shows.
_DATA = "imbalance_study.data."
PARENTS_KEY = "imbalance-study-comparisons"
# The marks around our part of a description, which a person may have written more into.
_BEGIN, _END = "<!-- imbalance_study -->", "<!-- end of imbalance_study -->"
_NAMED = 3  # the latest comparisons and studies


def data_key(data: str) -> str:
    """Name the view of the runs on some data."""
    return f"imbalance-study-{re.sub(r'[^A-Za-z0-9_.-]+', '-', data)}"


def data_view(data: str) -> View:
    """Make the view of the trainings on some data, without children and trials."""
    quote = '"' if "'" in data else "'"
    return View(
        key=data_key(data),
        search=f"tags.`{run_kind.KIND}` = '{run_kind.TRAINING}' "
        f"and tags.`{run_kind.DATA}` = {quote}{data}{quote}",
    )


def parents_view() -> View:
    """Make the view of the comparisons and studies alone, the newest first."""
    return View(
        key=PARENTS_KEY,
        params=("dataset", "model", "search", "suite", "vary"),
        metrics=(),
        attributes=("Description",),
        search=f"tags.`{run_kind.KIND}` LIKE '{run_kind.PARENTS}'",
        images=(),
        order_by="attributes.start_time",
    )


def write(client: MlflowClient, experiment_id: str, data: str = "") -> None:
    """Write the prepared views, and the part of the description that links to them.

    Args:
        client: Client of the store.
        experiment_id: The experiment.
        data: Data of a run; empty: those of earlier runs only.
    """
    if data:
        ui_view.write_view(client, experiment_id, data_view(data))
        ui_view.write_tag(client, experiment_id, _DATA + data_key(data), data)
    ui_view.write_view(client, experiment_id, parents_view())
    tags = client.get_experiment(experiment_id).tags
    names = {
        name.removeprefix(_DATA): text for name, text in tags.items() if name.startswith(_DATA)
    }
    note = tags.get(MLFLOW_RUN_NOTE, "")
    own = _text(client, experiment_id, names)
    ui_view.write_tag(client, experiment_id, MLFLOW_RUN_NOTE, _merged(note, own))


def _text(client: MlflowClient, experiment_id: str, names: dict[str, str]) -> str:
    """Write our part of the description."""
    parents = _link("Comparisons and studies", ui_view.view_url("", experiment_id, PARENTS_KEY))
    views = [
        _link(name, ui_view.view_url("", experiment_id, key)) for key, name in sorted(names.items())
    ]
    lines = [parents + (f" · All runs of {' · '.join(views)}" if views else "")]
    latest = [
        *_latest(client, experiment_id, f"LIKE '{run_kind.PARENTS}'", _NAMED),
        *_latest(client, experiment_id, f"= '{run_kind.REPORT}'", 1),
    ]
    if latest:
        lines.append(f"Latest: {' · '.join(map(_link_to_run, latest))}")
    return "\n\n".join(lines)


def _latest(client: MlflowClient, experiment_id: str, kind: str, count: int) -> list[Run]:
    """Find the newest runs of a kind."""
    return list(
        client.search_runs(
            [experiment_id],
            f"tags.`{run_kind.KIND}` {kind}",
            order_by=["attributes.start_time DESC"],
            max_results=count,
        )
    )


def _link_to_run(run: Run) -> str:
    url = ui_view.run_url("", run.info.experiment_id, run.info.run_id)
    if run_kind.kind_of(run) == run_kind.REPORT:
        url = url.replace("?", "/artifacts/report/report.html?")
    return _link(str(run.info.run_name), url)


def _link(text: str, url: str) -> str:
    return f"[{escape_markdown(text)}]({url})"


def _merged(note: str, own: str) -> str:
    """Put our part into a description, in the place of an earlier one, else behind it."""
    part = f"{_BEGIN}\n\n{own}\n\n{_END}"
    before, begin, rest = note.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        return before + part + after
    return f"{note.rstrip()}\n\n{part}".lstrip()
