"""The run of an advice in MLflow, and its link in the description of the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from imbalance_study.studies.advise.result import Advice
from imbalance_study.tracking import (
    artifacts,
    description,
    journal,
    outage,
    session,
    store,
    ui_view,
)
from imbalance_study.tracking.active import Session
from imbalance_study.tracking.markup import escape_markdown

NOTE = "mlflow.note.content"
_GRID = ("remedies", "recalls", "more_images", "suspects")


def pictures(figures: Mapping[str, Any]) -> dict[str, bytes]:
    """Draw figures: name to PNG."""
    return {name: artifacts.png(figure) for name, figure in figures.items()}


def record(
    advice: Advice,
    params: Mapping[str, Any],
    pages: Mapping[str, bytes],
    drawn: Mapping[str, bytes],
    repeats: pd.DataFrame,
) -> None:
    """Record an advice in the active run.

    Args:
        advice: The advice.
        params: Options that were resolved.
        pages: Name to content of the pages.
        drawn: Name to PNG of the figures.
        repeats: A row for each remedy and repeat.
    """
    run = journal.current()
    run.strict = True
    run.params(params)
    best = advice.remedies.iloc[0]
    values = {
        "advice/difference": best["difference"],
        "advice/low_95": best["low_95"],
        "advice/high_95": best["high_95"],
        "advice/score": best["score"],
        "advice/repeats": advice.repeats,
        "advice/suspects": len(advice.suspects),
        "advice/seconds": sum(advice.seconds.values()),
    }
    if "best" in advice.remedies:
        values["advice/probability_best"] = best["best"]
    run.metrics({name: float(one) for name, one in values.items() if one == one}, 0)
    for name, table in {**advice.tables, "repeats": repeats, "data_report": advice.data}.items():
        if len(table):
            run.table({str(key): table[key].tolist() for key in table.columns}, f"{name}.json")
    run.files({f"figures/{name}.png": content for name, content in drawn.items()})
    artifacts.log_first_images(drawn, _GRID)
    run.files(pages)
    run.tags({"advice": advice.choice})
    lines = [f"- {escape_markdown(one)}" for one in advice.verdict]
    commands = [f"    {command}" for command in advice.next.commands]
    run.note(store.scrub("\n".join([*lines, "", *commands])))


def link(run: Session, name: str) -> None:
    """Link the run in the description of its experiment, once it is uploaded."""
    if run.uploader is None or not run.info.experiment_id:
        return
    session.finish_uploads()
    client = outage.PatientClient()
    experiment = client.get_experiment(run.info.experiment_id)
    address = ui_view.run_url("", run.info.experiment_id, run.info.run_id)
    line = f"- [Advice on {escape_markdown(name)}]({address})"
    known = experiment.tags.get(NOTE, "")
    if line not in known.splitlines():
        text = "\n".join(filter(None, [known, line]))
        client.set_experiment_tag(run.info.experiment_id, NOTE, text)


def links(run: Session, uri: str) -> list[str]:
    """Write the link to the run for the terminal."""
    if run.uploader is None:
        return [f"Recorded offline in {run.journal.folder}"]
    uri = store.without_password(uri)
    address = ui_view.run_url(description.server(uri), run.info.experiment_id, run.info.run_id)
    return [*description.how_to_open(uri), f"This advice: {address}"]
