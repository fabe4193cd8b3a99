"""An experiment: which remedy, how sure, at what cost, where it fails, how to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from imbalance_study.config import fields
from imbalance_study.config.schema import AXES, Config
from imbalance_study.evaluation import errors, metrics
from imbalance_study.studies.comparison import analyse, child_runs, grouping, tables
from imbalance_study.studies.comparison import load as outcomes
from imbalance_study.studies.comparison.grouping import Group, Grouped
from imbalance_study.studies.comparison.outcome import Comparison, Outcome
from imbalance_study.studies.report import document, repeat
from imbalance_study.studies.report.document import (
    Block,
    Figure,
    Items,
    Paragraph,
    Report,
    Section,
)
from imbalance_study.studies.report.frames import labels
from imbalance_study.studies.report.stored import Stored
from imbalance_study.tracking import artifacts

_NAMED = 20  # runs that are named in one sentence
_COLUMNS = 6  # configurations side by side in one table
_CAPTIONS = {
    "headline": "Means over seeds with 95 % intervals; the dots are the seeds.",
    "differences": "Differences to the baseline, paired by seed, with 95 % intervals.",
    "costs": "What accuracy costs.",
    "recall_by_frequency": "Recall of each class, from the most to the fewest training images.",
    "confusion_matrices": "Confusion matrices over all seeds; rows are the true classes.",
    "feature_clusters": "Features of the same test images, by t-SNE.",
    "training_curves": "Training and validation over the epochs, mean and deviation over seeds.",
    "all_metrics": "All metrics of all configurations.",
    "radar": "The best configurations on several metrics.",
}
_SUMMARY = (
    *("configuration", "seeds", "{metric}", "sd", "low_95", "high_95", "difference", "p_holm"),
    *("verdict", "mark", "best"),
)
_COSTS = (
    *("configuration", "{metric}", "parameters", "macs", "latency_ms_b1", "train_seconds"),
    *("times_baseline_seconds", "epochs", "updates", "images_seen"),
)
_CHOSEN = (
    *("metric", "chosen_by", "configuration", "test_mean", "test_sd"),
    *("best_on_test", "best_on_test_mean"),
)
_PAIRED = (
    *("configuration", "seed", "images", "only_it_is_right", "only_baseline_is_right"),
    *("mcnemar_p", "balanced_accuracy_difference", "bootstrap_low_95", "bootstrap_high_95"),
)
_ENSEMBLES = (
    *("ensemble", "of", "members", "balanced_accuracy", "members_mean", "gain"),
    *("accuracy", "macro_f1", "tail_recall"),
)


class Entry(NamedTuple):
    """A finished training run."""

    run: Run
    content: dict[str, Any]  # its config.json

    @property
    def data(self) -> tuple[str, tuple[str, ...]]:
        """The data set: only runs on the same one are ranked together."""
        return self.content["config"]["dataset"], tuple(self.content["resolved"]["class_names"])


def report(
    client: MlflowClient,
    runs: Sequence[Run],
    title: str,
    *,
    baseline: str,
    metric: str,
    repeated: str,
) -> Report:
    """The report of runs, a part for each data set.

    Args:
        client: Of the store.
        runs: Oldest first.
        title: Of the report.
        baseline: A configuration, or ``auto``: plain cross-entropy where it is there.
        metric: What the claim is made on.
        repeated: The command that makes this report.

    Raises:
        ValueError: No run is finished, or there is no such baseline.
    """
    entries, left_out = _sort(client, runs, metric)
    if not entries:
        told = "; ".join(left_out) or "it has no runs"
        raise ValueError(f"there is no finished training run with {metric} to report: {told}")
    parts: dict[tuple[str, tuple[str, ...]], list[Entry]] = {}
    for entry in entries:
        parts.setdefault(entry.data, []).append(entry)
    ordered = sorted(parts.values(), key=len, reverse=True)
    named = [_names(part) for part in ordered]
    if baseline != "auto" and not any(baseline in names for names in named):
        known = dict.fromkeys(name for names in named for name in names)
        raise ValueError(fields.unknown(baseline, known, "baseline"))
    sections = [Section("What this is", _opening(ordered, left_out, metric))]
    for part, names in zip(ordered, named, strict=True):
        base = baseline if baseline in names else _plainest(part, names)
        found = _part(client, part, names, base, metric)
        several = len(ordered) > 1
        sections += _under(part[0].data[0], found) if several else found
    contents = [entry.content for entry in entries]
    commands = [*_commands(client, entries), repeated]
    sections.append(Section("How to repeat it", repeat.blocks(contents, commands)))
    return Report(title, sections)


def _sort(client: MlflowClient, runs: Sequence[Run], metric: str) -> tuple[list[Entry], list[str]]:
    """Finished training runs; and the others in words, counted and named by what they are."""
    entries: list[Entry] = []
    others: dict[str, list[str]] = {}
    for run in runs:
        name = str(run.info.run_name)
        if child_runs.COMPARISON in run.data.tags and metric not in run.data.metrics:
            continue
        if run.info.status != "FINISHED":
            others.setdefault(run.info.status, []).append(name)
        elif metric not in run.data.metrics:
            others.setdefault(f"finished without {metric}", []).append(name)
        elif content := Stored(client, run.info.run_id).json("config.json"):
            entries.append(Entry(run, content))
        else:
            others.setdefault("finished without config.json", []).append(name)
    return entries, [f"{len(names)} {what}: {_few(names)}" for what, names in others.items()]


def _few(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _names(part: Sequence[Entry]) -> list[str]:
    """What comparisons called the configurations where that tells them apart, else `labels`."""
    made = labels([entry.content["config"] for entry in part])
    tagged = [entry.run.data.tags.get(child_runs.CONFIGURATION, "") for entry in part]
    pairs = set(zip(made, tagged, strict=True))
    one_to_one = len(pairs) == len(set(made)) == len(set(tagged))
    return tagged if all(tagged) and one_to_one else made


def _plainest(part: Sequence[Entry], names: Sequence[str]) -> str:
    """Cross-entropy with the fewest remedies; of several the oldest."""

    def remedies(entry: Entry) -> tuple[bool, int]:
        config = entry.content["config"]
        changed = sum(config.get(name) != getattr(Config, name) for name in AXES)
        return config["loss"] != "cross_entropy", changed

    return names[min(range(len(part)), key=lambda number: remedies(part[number]))]


def _opening(parts: Sequence[Sequence[Entry]], left_out: Sequence[str], metric: str) -> list[Block]:
    count = sum(map(len, parts))
    made: list[Block] = [
        Paragraph(
            f"{count} finished training runs, compared on {metric}. Choosing is done on "
            "validation, reporting on the test set, which each run predicts after its training "
            "only; where something was chosen on the test set, the report says so."
        )
    ]
    if len(parts) > 1:
        words = {len(part): "runs" if len(part) > 1 else "run" for part in parts}
        sizes = [f"{part[0].data[0]} ({len(part)} {words[len(part)]})" for part in parts]
        made.append(
            Paragraph(
                f"The runs are on {len(parts)} data sets: {', '.join(sizes)}. Each has a part of "
                "its own, and no ranking mixes them.",
                remark=True,
            )
        )
    if left_out:
        made += [Paragraph("Left out:"), Items(left_out)]
    return made


def _under(title: str, sections: Sequence[Section]) -> list[Section]:
    """The sections one level deeper, below a heading."""
    return [
        Section(f"Data set {title}", []),
        *(Section(one.title, one.blocks, one.level + 1) for one in sections),
    ]


def _part(
    client: MlflowClient, part: Sequence[Entry], names: Sequence[str], baseline: str, metric: str
) -> list[Section]:
    loaded: list[Outcome] = [
        outcomes.load(client, entry.run.info.run_id, name)
        for entry, name in zip(part, names, strict=True)
    ]
    found = analyse.compare_outcomes(loaded, baseline=baseline, metric=metric)
    grouped = grouping.group(loaded, baseline, metric)
    best, how = _best(grouped)
    several = len(grouped.groups) > 1
    return [
        Section("Which remedy", _which(found, grouped, several)),
        Section("How sure", _sure(found, tables.short(metric), several)),
        Section("At what cost", _costs(found, metric)),
        Section(f"Where {best.name} fails", _failures(found, grouped, best, how)),
        Section("More", _more(found)),
    ]


def _table(found: Comparison, name: str, caption: str, only: Sequence[str] = ()) -> list[Block]:
    return document.table(name, caption, found.tables.get(f"comparison/{name}", {}), only=only)


def _figures(found: Comparison, *names: str) -> list[Block]:
    return [
        Figure(name, _CAPTIONS.get(name, f"{document.words(name)}."), artifacts.png(figure))
        for name in names
        if (figure := found.figures.get(f"comparison/{name}")) is not None
    ]


def _which(found: Comparison, grouped: Grouped, several: bool) -> list[Block]:
    metric = tables.short(grouped.metric)
    against = f", against {grouped.baseline.name}, the baseline" if several else ""
    caption = f"{grouped.metric} over seeds{against}; sorted by the mean on the test set."
    only = [name.format(metric=metric) for name in _SUMMARY]
    if not several:
        only = [name for name in only if name not in ("difference", "p_holm", "verdict", "best")]
    return [
        Items(found.findings),
        *_table(found, "summary", caption, only),
        *_marks(found),
        *_figures(found, "headline"),
        *_table(
            found,
            "best_by_metric",
            "Which configuration each metric chooses on validation, and what it has on the test "
            "set; beside it the best on the test set, which is too good.",
            _CHOSEN,
        ),
    ]


def _marks(found: Comparison) -> list[Block]:
    if not found.marks:
        return []
    return [Paragraph("Not ranked, or to be noted:"), Items(found.marks)]


def _sure(found: Comparison, metric: str, several: bool) -> list[Block]:
    if not several:
        return [
            Paragraph("There is one configuration: its interval over seeds says how sure it is."),
            *_table(found, "per_seed", "Each run."),
        ]
    return [
        Paragraph(
            "The claim is the paired t-test over seeds, Holm-corrected over the configurations; "
            "there is none with fewer than three seeds. Intervals are of the mean over seeds."
        ),
        *_figures(found, "differences"),
        *_table(
            found,
            "headline",
            "Each headline metric: mean over seeds, and the difference to the baseline.",
            (
                *("metric", "configuration", "seeds", "mean", "sd", "difference"),
                *("difference_low_95", "difference_high_95", "p_holm", "verdict", "mark"),
            ),
        ),
        *_table(
            found,
            "trained_models",
            "Pairs of runs on the test images: these speak of the two trained models only, not of "
            "the next training.",
            _PAIRED,
        ),
        *_table(
            found,
            "per_seed",
            "Each run.",
            (
                *("configuration", "seed", metric, "validation", "epochs", "seconds"),
                "run_id",
            ),
        ),
    ]


def _costs(found: Comparison, metric: str) -> list[Block]:
    only = [name.format(metric=tables.short(metric)) for name in _COSTS]
    caption = "Means over seeds; what was not measured is missing."
    return [*_table(found, "costs", caption, only), *_figures(found, "costs")]


def _best(grouped: Grouped) -> tuple[Group, str]:
    """The configuration to look at closely, and how it was chosen."""
    twin = f"selected_val/{tables.short(grouped.metric)}"
    chosen = tables.by_validation(grouped, twin)
    if chosen:
        return chosen[0], f"chosen on validation ({twin})"
    return grouped.baseline, "the baseline, as not all runs have validation to choose by"


def _failures(found: Comparison, grouped: Grouped, best: Group, how: str) -> list[Block]:
    recalls = found.tables.get("comparison/recall_by_class", {})
    named = [name for name in recalls if name not in ("class", "train_count")]
    shown = dict.fromkeys(name for name in (best.name, grouped.baseline.name) if name in named)
    shown |= dict.fromkeys(named)
    return [
        Paragraph(f"{best.name}: {how}."),
        *document.table(
            "recall_by_class",
            "Recall of each class on the test set, mean over seeds.",
            recalls,
            only=["class", "train_count", *list(shown)[:_COLUMNS]] if named else (),
            raw=True,
        ),
        *_confused(best),
        *_figures(found, "recall_by_frequency", "confusion_matrices", "feature_clusters"),
    ]


def _confused(best: Group) -> list[Block]:
    tests = list(best.predicted().values())
    if not tests:
        return [Paragraph("Its runs kept no test predictions.")]
    confusion = np.sum(
        [metrics.confusion_matrix(t.targets, t.probs.argmax(1), t.probs.shape[1]) for t in tests],
        axis=0,
    )
    pairs = errors.most_confused(confusion, best.outcomes[0].class_names)
    caption = (
        f"What {best.name} confuses most: images over all {len(tests)} seeds, and their share of "
        "the true class."
    )
    return document.table("confused_pairs", caption, pairs)


def _more(found: Comparison) -> list[Block]:
    shown = {"headline", "differences", "costs", "recall_by_frequency"}
    shown |= {"confusion_matrices", "feature_clusters"}
    names = [name.removeprefix("comparison/") for name in found.figures]
    caption = "Ensembles: the mean of the probabilities of several runs."
    return [
        *_figures(found, *(name for name in names if name not in shown)),
        *_table(found, "ensembles", caption, _ENSEMBLES),
    ]


def _commands(client: MlflowClient, entries: Sequence[Entry]) -> list[str]:
    """Those of the comparisons that the runs belong to, and of the runs that belong to none."""
    made: dict[str, str] = {}
    for entry in entries:
        parent = entry.run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")
        if parent not in made:
            content = Stored(client, parent).json("comparison.json") if parent else {}
            made[parent] = content.get("command", "")
    own = [
        entry.content["command"]
        for entry in entries
        if not made[entry.run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")]
    ]
    return [*filter(None, made.values()), *own]
