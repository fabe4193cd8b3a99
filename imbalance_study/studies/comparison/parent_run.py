"""The parent run of a comparison in MLflow: child runs, prepared view, tables and description."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from imbalance_study import __version__
from imbalance_study.config.resolve import Resolved
from imbalance_study.config.schema import RECORDING, Config
from imbalance_study.studies.comparison import child_runs, text
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.comparison.plan import ComparisonPlan, PlannedRun, describe
from imbalance_study.tracking import (
    artifacts,
    description,
    experiments,
    journal,
    orphans,
    outage,
    recorder,
    run_kind,
    run_names,
    session,
    store,
    ui_view,
)
from imbalance_study.tracking.active import Session

_IMAGES_OF_RUNS = ("confusion_matrix", "features")
# Figures that the image grid of the parent shows.
_GRID = ("headline", "confusion_matrices", "feature_clusters", "recall_by_frequency")
# Options for the place of a record; they do not change a comparison, and an address may hold a
# password.


class ParentRun:
    """The parent run of a comparison while it is active.

    Writing goes through the run's journal; reading waits until the store has everything.
    """

    def __init__(self, plan: ComparisonPlan, run: Session, uri: str) -> None:
        self.plan, self.uri = plan, uri
        self.client = outage.PatientClient()
        self.run: Run = self.client.get_run(run.info.run_id)
        self.experiment = self.client.get_experiment(run.info.experiment_id)

    def reuse_finished(self, echo: Callable[[str], None]) -> list[PlannedRun]:
        """Print the plan, reuse finished runs, create the UI view; return the runs still to do."""
        lost = list(orphans.reap_experiment(self.client, self.experiment, silence=math.inf))
        if lost:
            echo(f"{len(lost)} runs are marked FAILED: their process is gone")
        finished = {} if self.plan.settings.again else self._finished(None)
        echo(describe(self.plan, set(finished)))
        for commit in child_runs.other_commits(finished.values()):
            echo(
                f"Note: finished runs of commit {commit} are reused, and the code has changed "
                "since; again=true trains them once more"
            )
        by_key = {child.key: child for child in self.plan.children}
        pairs = [(by_key[key], run) for key, run in finished.items()]
        digests = {self.plan.digest, self.plan.former_digest}
        child_runs.attach_runs(self.client, pairs, self.run, digests)
        config = self.plan.children[0].resolved.config
        data = {"dataset": config.dataset, "model": config.model}
        if "model" in self.plan.varied:
            del data["model"]
        journal.current().params(dataclasses.asdict(self.plan.settings) | data | self._common)
        self._prepare_view()
        echo(f"Watch: {self.addresses[0]}")
        return [child for child in self.plan.children if child.key not in finished]

    def _finished(self, parent_id: str | None) -> dict[child_runs.Key, Run]:
        experiment_id = self.experiment.experiment_id
        return child_runs.finished_runs(self.client, experiment_id, self.plan.children, parent_id)

    def finished_runs(self) -> dict[child_runs.Key, Run]:
        """Find the finished runs of this comparison, after all records are uploaded."""
        session.finish_uploads()
        found = self._finished(self.run.info.run_id)
        return {
            key: run for key, run in found.items() if not session.is_incomplete(run.info.run_id)
        }

    def child_tags(self, child: PlannedRun) -> dict[str, str]:
        """Make the tags of a new child run."""
        return child_runs.child_tags(child, self.run.info.run_id)

    def in_own_experiment(self, resolved: Resolved) -> Resolved:
        """Change a configuration so that its run is recorded in the parent's experiment."""
        config = dataclasses.replace(resolved.config, experiment=self.experiment.name)
        return resolved._replace(config=config)

    @property
    def _common(self) -> dict[str, Any]:
        """Options of all runs."""
        return {name: value for name, value in self.plan.common.items() if name not in RECORDING}

    @property
    def _view_keys(self) -> tuple[str, str]:
        short = self.run.info.run_id[:8]
        return f"comparison-{short}", f"comparison-{short}-means"

    @property
    def addresses(self) -> tuple[str, str]:
        """The links to the prepared views: all runs, and the means over seeds."""
        server, experiment_id = description.server(self.uri), self.experiment.experiment_id
        runs, means = (ui_view.view_url(server, experiment_id, key) for key in self._view_keys)
        return runs, f"{means}&compareRunsMode=CHART"

    def _prepare_view(self) -> None:
        metric = self.plan.settings.metric
        member = child_runs.membership_tag(self.run.info.run_id)
        varied = [name for name in self.plan.varied if name != "recipe"]
        varied = varied or ["loss", "model", "sampler"]
        runs, means = self._view_keys
        of_runs = ui_view.View(
            key=runs,
            images=_IMAGES_OF_RUNS,
            params=[*varied, "seed"],
            metrics=list(dict.fromkeys([metric, *ui_view.METRICS])),
            search=f"tags.{member} LIKE '%'",
            count=len(self.plan.children),
        )
        of_means = dataclasses.replace(of_runs, key=means, images=(), group_by=member)
        for one in (of_runs, of_means):
            ui_view.write_view(self.client, self.experiment.experiment_id, one)

    def record_result(self, comparison: Comparison, problems: Mapping[child_runs.Key, str]) -> None:
        """Record metrics, tables, figures and the description of the result.

        Args:
            comparison: The result.
            problems: Key to reason, for each failed run.
        """
        record = journal.current()
        record.strict = True
        record.metrics(comparison.metrics, 0)
        for name, columns in comparison.tables.items():
            if any(map(len, columns.values())):
                record.table(columns, f"{name}.json")
        images = artifacts.log_figures(comparison.figures)
        artifacts.log_first_images(images, _GRID)
        if comparison.page:
            record.files({"comparison/index.html": comparison.page.encode()})
        record.dict(comparison.answer, "comparison/answer.json")
        record.dict(self._content(problems), "comparison.json")
        view = ui_view.view_url("", self.experiment.experiment_id, self._view_keys[0])
        note = text.description(self.plan, comparison, problems, view, self.command())
        if comparison.page:
            page = ui_view.run_url("", self.experiment.experiment_id, self.run.info.run_id)
            page = page.replace("?", "/artifacts/comparison/index.html?")
            note += f"\n\nThe same to sort and switch: [interactive page]({page})."
        record.note(store.scrub(note))

    def _content(self, problems: Mapping[child_runs.Key, str]) -> dict[str, Any]:
        """Make the content of comparison.json."""
        runs = self.finished_runs()
        return {
            "comparing": dataclasses.asdict(self.plan.settings),
            "common": self._common,
            "baseline": self.plan.baseline,
            "configurations": {one.label: one.options for one in self.plan.configurations},
            "runs": [
                {
                    "configuration": child.label,
                    "seed": child.seed,
                    "identity": child.identity,
                    "data_fingerprint": child.fingerprint,
                    "run_id": runs[child.key].info.run_id if child.key in runs else None,
                    "problem": store.scrub(problems.get(child.key, "")),
                }
                for child in self.plan.children
            ],
            "notes": self.plan.notes,
            "environment": recorder.environment(),
            "command": self.command(),
        }

    def subject(self) -> dict[str, str]:
        """Make the subject of the answer: kind, name, experiment, id and link."""
        ids = self.experiment.experiment_id, self.run.info.run_id
        served = self.uri.startswith("http")  # the address of a local store's UI may change
        return {
            "kind": "comparison",
            "name": str(self.run.info.run_name),
            "experiment": self.experiment.name,
            "run_id": ids[1],
            "link": ui_view.run_url(self.uri.rstrip("/"), *ids) if served else "",
        }

    def command(self) -> str:
        """Write the command that repeats the comparison."""
        settings = self.plan.settings
        given = {
            field.name: getattr(settings, field.name)
            for field in dataclasses.fields(settings)
            if getattr(settings, field.name) != field.default and field.name != "again"
        }
        given |= {name: value for name, value in self.plan.given.items() if name not in RECORDING}
        words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return shlex.join(["imbalance-study", "compare", *words])

    def closing_text(self, comparison: Comparison) -> str:
        """Write the result and its links for the terminal."""
        ids = self.experiment.experiment_id, self.run.info.run_id
        server = description.server(self.uri)
        return "\n".join(
            [
                "",
                comparison.verdict,
                "",
                *text.table(comparison, self.plan.settings.metric),
                "",
                *(f"- {sentence}" for sentence in comparison.findings),
                *(f"! {mark}" for mark in comparison.marks),
                *description.how_to_open(self.uri),
                f"This comparison:  {ui_view.run_url(server, *ids)}",
                f"Its runs:         {self.addresses[0]}",
                f"Means over seeds: {self.addresses[1]}",
            ]
        )


@contextlib.contextmanager
def start_parent_run(plan: ComparisonPlan) -> Iterator[ParentRun]:
    """Start the parent run, or join that of ``mlflow run``; an error ends it as FAILED."""
    config = _config(plan)
    store.refuse_offline(config.tracking, "a comparison")
    uri = store.connect(config.tracking_uri)
    tags = {
        child_runs.COMPARISON: plan.digest,
        "imbalance_study.version": __version__,
        run_kind.KIND: run_kind.COMPARISON,
    }
    commit = recorder.git_commit()
    if commit:
        tags["git_commit"] = commit
    with session.session(config, tags, name=_name(plan)) as run:
        yield ParentRun(plan, run, store.without_password(uri))


def _config(plan: ComparisonPlan) -> Config:
    """Make the parent's own configuration: that of its first child."""
    config = plan.children[0].resolved.config
    name = str(plan.common.get("run_name", "auto"))
    return dataclasses.replace(config, run_name=name, system_metrics=False)


def _name(plan: ComparisonPlan) -> str:
    subject = plan.settings.suite
    if subject == "none":
        subject = ", ".join(plan.varied) if plan.settings.vary != "none" else "recipes"
    return f"compare {subject} on {run_names.data_name(plan.children[0].resolved.config)}"


def reusable_keys(plan: ComparisonPlan) -> set[child_runs.Key]:
    """Find the runs that a comparison would reuse; none where there is no store yet."""
    config = _config(plan)
    if plan.settings.again or not store.exists(config.tracking_uri):
        return set()
    store.connect(config.tracking_uri)
    client = MlflowClient()
    experiment = experiments.of_next_run(client, config.experiment)
    if experiment is None:
        return set()
    return set(child_runs.finished_runs(client, experiment.experiment_id, plan.children))
