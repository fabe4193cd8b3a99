"""The parent run of a comparison: its children, its prepared view, its record."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from imbalance_study import __version__
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import Config
from imbalance_study.studies.comparison import child_runs
from imbalance_study.studies.comparison import plan as comparison_plan
from imbalance_study.studies.comparison import text as comparison_text
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.comparison.plan import Child, Plan
from imbalance_study.tracking import (
    artifacts,
    description,
    journal,
    orphans,
    session,
    store,
    ui_view,
)
from imbalance_study.tracking import run as tracked
from imbalance_study.tracking.active import Session

_IMAGES_OF_RUNS = ("confusion_matrix", "features")
# Figures that stand in the image grid of the parent as well.
_GRID = ("headline", "confusion_matrices", "feature_clusters", "recall_by_frequency")


# Options that say where a comparison is recorded, not what it is; an address may hold a password.
_PLACES = ("tracking_uri", "experiment", "run_name", "output_dir")


class Parent:
    """The parent run while it is active.

    What is written to it goes through its journal; what is read back waits for the store.
    """

    def __init__(self, plan: Plan, run: Session, uri: str) -> None:
        self.plan, self.uri = plan, uri
        self.client = store.PatientClient()
        self.run: Run = self.client.get_run(run.info.run_id)
        self.experiment = self.client.get_experiment(run.info.experiment_id)

    def take_over(self, say: Callable[[str], None]) -> list[Child]:
        """Tell the plan, adopt what is finished already, open the view; returns what is to do."""
        ghosts = list(orphans.of_experiment(self.client, self.experiment, silence=math.inf))
        if ghosts:
            say(f"{len(ghosts)} runs whose process is gone are marked FAILED")
        before = {} if self.plan.comparing.again else self._finished(None)
        say(comparison_plan.describe(self.plan, set(before)))
        for commit in child_runs.other_commits(before.values()):
            say(
                f"Note: finished runs of commit {commit} are taken over, and the code is another "
                "now; again=true runs them once more"
            )
        keyed = {child.key: child for child in self.plan.children}
        pairs = [(keyed[key], run) for key, run in before.items()]
        child_runs.adopt(self.client, pairs, self.run)
        journal.current().params(dataclasses.asdict(self.plan.comparing) | self._common)
        self._prepare_view()
        say(f"Watch: {self.addresses[0]}")
        return [c for c in self.plan.children if c.key not in before]

    def _finished(self, parent_id: str | None) -> dict[child_runs.Key, Run]:
        wanted = {child.key for child in self.plan.children}
        found = child_runs.finished(self.client, self.experiment.experiment_id, parent_id)
        return {key: run for key, run in found.items() if key in wanted}

    def finished(self) -> dict[child_runs.Key, Run]:
        """The finished runs of this comparison, those included that the store is yet to be told."""
        session.catch_up()
        return self._finished(self.run.info.run_id)

    def tags_of(self, child: Child) -> dict[str, str]:
        """What a new child is known by."""
        return child_runs.tags_of(child, self.run.info.run_id)

    def at_home(self, resolved: Resolved) -> Resolved:
        """The configuration, to be recorded in the parent's experiment."""
        config = dataclasses.replace(resolved.config, experiment=self.experiment.name)
        return resolved._replace(config=config)

    @property
    def _common(self) -> dict[str, Any]:
        """Options that all runs share."""
        return {name: text for name, text in self.plan.common.items() if name not in _PLACES}

    @property
    def _keys(self) -> tuple[str, str]:
        short = self.run.info.run_id[:8]
        return f"comparison-{short}", f"comparison-{short}-means"

    @property
    def addresses(self) -> tuple[str, str]:
        """The links that open the prepared views: all runs, and the means over seeds."""
        server, experiment_id = description.server(self.uri), self.experiment.experiment_id
        runs, means = (ui_view.address(server, experiment_id, key) for key in self._keys)
        return runs, f"{means}&compareRunsMode=CHART"

    def _prepare_view(self) -> None:
        metric, member = self.plan.comparing.metric, child_runs.membership(self.run.info.run_id)
        varied = [name for name in self.plan.varied if name != "recipe"] or list(
            ui_view.PARAMS[1:6]
        )
        prepare = functools.partial(
            ui_view.prepare,
            self.client,
            self.experiment.experiment_id,
            params=[*varied, "seed"],
            metrics=list(dict.fromkeys([metric, *ui_view.METRICS])),
            search=f"tags.{member} LIKE '%'",
            count=len(self.plan.children),
        )
        runs, means = self._keys
        ui_view.prepare(self.client, self.experiment.experiment_id)
        prepare(key=runs, images=_IMAGES_OF_RUNS)
        prepare(key=means, images=(), group_by=member)

    def record(self, found: Comparison, failed: Mapping[child_runs.Key, str]) -> None:
        """Write what the children say together."""
        book = journal.current()
        book.strict = True
        book.metrics(found.metrics, 0)
        for name, columns in found.tables.items():
            if any(map(len, columns.values())):
                book.table(columns, f"{name}.json")
        drawn = artifacts.log_figures(found.figures)
        artifacts.log_first_images(drawn, _GRID)
        book.dict(self._content(failed), "comparison.json")
        text = comparison_text.description(
            self.plan, found, failed, self.addresses[0], self.command()
        )
        book.tags({tracked.NOTE: store.scrub(text)})

    def _content(self, failed: Mapping[child_runs.Key, str]) -> dict[str, Any]:
        runs = self.finished()
        return {
            "comparing": dataclasses.asdict(self.plan.comparing),
            "common": self._common,
            "baseline": self.plan.baseline,
            "configurations": {one.label: one.options for one in self.plan.configurations},
            "runs": [
                {"configuration": c.label, "seed": c.seed, "identity": c.identity}
                | {"data_fingerprint": c.fingerprint}
                | {"run_id": runs[c.key].info.run_id if c.key in runs else None}
                | {"problem": store.scrub(failed.get(c.key, ""))}
                for c in self.plan.children
            ],
            "notes": self.plan.notes,
            "environment": tracked.environment(),
            "command": self.command(),
        }

    def command(self) -> str:
        """The command that repeats the comparison."""
        comparing = self.plan.comparing
        given = {
            field.name: getattr(comparing, field.name)
            for field in dataclasses.fields(comparing)
            if getattr(comparing, field.name) != field.default and field.name != "again"
        }
        given |= {name: value for name, value in self.plan.given.items() if name not in _PLACES}
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return shlex.join(["imbalance-study", "compare", *words])

    def closing(self, found: Comparison) -> str:
        """The last lines on the terminal."""
        ids = self.experiment.experiment_id, self.run.info.run_id
        server = description.server(self.uri)
        return "\n".join(
            [
                "",
                *comparison_text.table(found, self.plan.comparing.metric),
                "",
                *(f"- {sentence}" for sentence in found.findings),
                *(f"! {mark}" for mark in found.marks),
                *description.how_to_open(self.uri),
                f"This comparison:  {ui_view.run_address(server, *ids)}",
                f"Its runs:         {self.addresses[0]}",
                f"Means over seeds: {self.addresses[1]}",
            ]
        )


@contextlib.contextmanager
def parent(plan: Plan) -> Iterator[Parent]:
    """Start the parent run, or join that of ``mlflow run``; its status tells what happened."""
    config = _config(plan)
    store.refuse_offline(config.tracking, "a comparison")
    uri = store.connect(config.tracking_uri)
    tags = {
        child_runs.COMPARISON: plan.digest,
        "imbalance_study.version": __version__,
    }
    commit = tracked.git_commit()
    if commit:
        tags["git_commit"] = commit
    with tracked.session(config, tags) as run:
        yield Parent(plan, run, store.without_password(uri))


def _config(plan: Plan) -> Config:
    """How the parent itself is recorded: as its first child, under its own name."""
    config = plan.children[0].resolved.config
    name = plan.common.get("run_name", "auto")
    if name == "auto":
        what = plan.comparing.suite
        if what == "none":
            what = ", ".join(plan.varied) if plan.comparing.vary != "none" else "recipes"
        name = f"compare {what} on {config.dataset}"
    return dataclasses.replace(config, run_name=name, system_metrics=False)


def finished_before(plan: Plan) -> set[child_runs.Key]:
    """What a comparison would take over; nothing where there is no store yet."""
    config = _config(plan)
    if plan.comparing.again or not store.exists(config.tracking_uri):
        return set()
    store.connect(config.tracking_uri)
    client = MlflowClient()
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        return set()
    wanted = {child.key for child in plan.children}
    return wanted & set(child_runs.finished(client, experiment.experiment_id))
