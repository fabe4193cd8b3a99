"""Report on an experiment: best remedy, certainty, costs, failures, and how to repeat it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from imbalance_study import __version__
from imbalance_study.config import fields
from imbalance_study.config.schema import AXES, Config
from imbalance_study.studies.comparison import (
    analyse,
    answer,
    child_runs,
    grouping,
    interactive,
)
from imbalance_study.studies.comparison.grouping import GroupedOutcomes
from imbalance_study.studies.comparison.load import load_outcome, load_pictures
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.report import repeat
from imbalance_study.studies.report.document import Block, Items, Paragraph, Report, Section
from imbalance_study.studies.report.frames import address_of, labels
from imbalance_study.studies.report.sections import comparison_sections
from imbalance_study.studies.report.stored import StoredRun
from imbalance_study.tracking import run_kind

_NAMED = 20  # runs in one sentence
TRIAL = "trial"  # the tag of a trial of a study


class TrainingRun(NamedTuple):
    """A finished training run."""

    run: Run
    content: dict[str, Any]  # its config.json

    @property
    def data(self) -> tuple[str, tuple[str, ...]]:
        """Data set and classes; only runs on the same data are ranked together."""
        return self.content["config"]["dataset"], tuple(self.content["resolved"]["class_names"])


def experiment_report(
    client: MlflowClient,
    runs: Sequence[Run],
    title: str,
    *,
    baseline: str,
    metric: str,
    command: str,
    price_per_kwh: float = 0.0,
) -> Report:
    """Make the report of runs, with a part for each data set.

    Args:
        client: Client of the store.
        runs: The runs, the oldest first.
        title: Title of the report.
        baseline: A configuration, or ``auto``: the one closest to plain cross-entropy.
        metric: The metric that is tested.
        command: The command that makes this report.
        price_per_kwh: Price of a kilowatt-hour; 0 says nothing of money.

    Raises:
        ValueError: No run is finished, or there is no such baseline.
    """
    entries, left_out = _select(client, runs, metric)
    if not entries:
        reason = "; ".join(left_out) or "it has no runs"
        raise ValueError(f"there is no finished training run with {metric} to report: {reason}")
    parts: dict[tuple[str, tuple[str, ...]], list[TrainingRun]] = {}
    for entry in entries:
        parts.setdefault(entry.data, []).append(entry)
    ordered = sorted(parts.values(), key=len, reverse=True)
    labelled = [_configuration_names(part) for part in ordered]
    if baseline != "auto" and not any(baseline in names for names in labelled):
        known = dict.fromkeys(name for names in labelled for name in names)
        raise ValueError(fields.unknown(baseline, known, "baseline"))
    made: list[dict[str, Any]] = []
    sections: list[Section] = []
    for part, names in zip(ordered, labelled, strict=True):
        base = baseline if baseline in names else _plainest(part, names)
        grouped = _grouped(client, part, names, base, metric)
        comparison = analyse.compare_grouped(grouped, price_per_kwh=price_per_kwh)
        made.append(_interactive(client, part, grouped, comparison))
        own = comparison_sections(comparison, grouped, _small_print(part, title))
        sections += _below_heading(part[0].data[0], own) if len(ordered) > 1 else own
    verdicts = [(str(one["answer"]["dataset"]), str(one["answer"]["verdict"])) for one in made]
    address = address_of(entries[0].run.info.experiment_id)
    opening = [*_verdicts(verdicts, address), *_opening(ordered, left_out, metric)]
    sections.insert(0, Section("The answer", opening))
    contents = [entry.content for entry in entries]
    commands = [*_commands(client, entries), command]
    sections.append(Section("How to repeat it", repeat.blocks(contents, commands)))
    return Report(title, sections, made)


def _verdicts(verdicts: Sequence[tuple[str, str]], address: str) -> list[Block]:
    """Show the verdict on each data set, with date, version and the address in MLflow."""
    several = len(verdicts) > 1
    made: list[Block] = [
        Paragraph(f"{data}: {text}" if several else text, strong=True) for data, text in verdicts
    ]
    when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    where = f" The runs: {address}" if address else ""
    text = f"Made {when} by imbalance-study {__version__}; index.html is the same, interactive."
    made.append(Paragraph(text + where))
    return made


def _small_print(part: Sequence[TrainingRun], title: str) -> str:
    """Name data set, models and origin in small print, for figures that leave the report."""
    models = dict.fromkeys(str(entry.content["config"]["model"]) for entry in part)
    return f"{part[0].data[0]} · {', '.join(models)} · {len(part)} runs · {title}"


def _interactive(
    client: MlflowClient,
    part: Sequence[TrainingRun],
    grouped: GroupedOutcomes,
    comparison: Comparison,
) -> dict[str, Any]:
    """Make the data of the interactive page, with the images of the first seeds."""
    models = dict.fromkeys(str(entry.content["config"]["model"]) for entry in part)
    about = {"dataset": part[0].data[0], "model": ", ".join(models)}
    pictures = {
        group.name: load_pictures(client, group.outcomes[0].run_id) for group in grouped.groups
    }
    found = answer.part(grouped, comparison, about)
    return interactive.part(found, grouped, {name: of for name, of in pictures.items() if of})


def _select(
    client: MlflowClient, runs: Sequence[Run], metric: str
) -> tuple[list[TrainingRun], list[str]]:
    """Select the finished training runs, and describe the others in words."""
    entries: list[TrainingRun] = []
    others: dict[str, list[str]] = {}
    trials = 0
    for run in runs:
        name = str(run.info.run_name)
        if TRIAL in run.data.tags:
            trials += 1  # it never saw the test set
            continue
        if run_kind.kind_of(run) in (run_kind.COMPARISON, run_kind.STUDY, run_kind.ADVICE):
            continue
        if run.info.status != "FINISHED":
            others.setdefault(run.info.status, []).append(name)
        elif metric not in run.data.metrics:
            others.setdefault(f"finished without {metric}", []).append(name)
        elif content := StoredRun(client, run.info.run_id).json("config.json"):
            entries.append(TrainingRun(run, content))
        else:
            others.setdefault("finished without config.json", []).append(name)
    said = [f"{len(names)} {kind}: {_few(names)}" for kind, names in others.items()]
    if trials:
        said.append(f"{trials} trial{'s' if trials > 1 else ''} of studies, without a test")
    return entries, said


def _few(names: Sequence[str]) -> str:
    """List the first names, and count the rest."""
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _configuration_names(part: Sequence[TrainingRun]) -> list[str]:
    """Name each run's configuration by the labels of comparisons if they are unique, else anew."""
    made = labels([entry.content["config"] for entry in part])
    tagged = [entry.run.data.tags.get(child_runs.CONFIGURATION, "") for entry in part]
    pairs = set(zip(made, tagged, strict=True))
    one_to_one = len(pairs) == len(set(made)) == len(set(tagged))
    return tagged if all(tagged) and one_to_one else made


def _plainest(part: Sequence[TrainingRun], names: Sequence[str]) -> str:
    """Choose cross-entropy with the fewest remedies; of several the oldest."""

    def remedies(entry: TrainingRun) -> tuple[bool, int]:
        config = entry.content["config"]
        changed = sum(config.get(name) != getattr(Config, name) for name in AXES)
        return config["loss"] != "cross_entropy", changed

    return names[min(range(len(part)), key=lambda number: remedies(part[number]))]


def _opening(
    parts: Sequence[Sequence[TrainingRun]], left_out: Sequence[str], metric: str
) -> list[Block]:
    """Introduce the runs, and list the runs that are left out."""
    count = sum(map(len, parts))
    made: list[Block] = [
        Paragraph(
            f"{count} finished training runs, compared on {metric}. Choosing is done on "
            "validation, reporting on the test set, which each run predicts only after its "
            "training. The report says so where something was chosen on the test set."
        )
    ]
    if len(parts) > 1:
        words = {len(part): "runs" if len(part) > 1 else "run" for part in parts}
        sizes = [f"{part[0].data[0]} ({len(part)} {words[len(part)]})" for part in parts]
        made.append(
            Paragraph(
                f"The runs are on {len(parts)} data sets: {', '.join(sizes)}. Each data set "
                "has its own part, and no ranking mixes them.",
                remark=True,
            )
        )
    if left_out:
        made += [Paragraph("Left out:"), Items(left_out)]
    return made


def _below_heading(title: str, sections: Sequence[Section]) -> list[Section]:
    """Put sections one level deeper, below a heading."""
    return [
        Section(f"Data set {title}", []),
        *(Section(one.title, one.blocks, one.level + 1) for one in sections),
    ]


def _grouped(
    client: MlflowClient, part: Sequence[TrainingRun], names: Sequence[str], base: str, metric: str
) -> GroupedOutcomes:
    """Read the runs on one data set, and group them."""
    outcomes = [
        load_outcome(client, entry.run.info.run_id, name)
        for entry, name in zip(part, names, strict=True)
    ]
    return grouping.group_outcomes(outcomes, base, metric)


def _commands(client: MlflowClient, entries: Sequence[TrainingRun]) -> list[str]:
    """List the commands of the comparisons, and of the runs that belong to no comparison."""
    made: dict[str, str] = {}
    for entry in entries:
        parent = entry.run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")
        if parent not in made:
            content = StoredRun(client, parent).json("comparison.json") if parent else {}
            made[parent] = content.get("command", "")
    own = [
        entry.content["command"]
        for entry in entries
        if not made[entry.run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")]
    ]
    return [*filter(None, made.values()), *own]
