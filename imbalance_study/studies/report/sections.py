"""Make the sections of a report from a comparison: ranking, certainty, costs, failures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imbalance_study.evaluation import errors, metrics
from imbalance_study.studies.comparison import costs, tables
from imbalance_study.studies.comparison.grouping import Group, GroupedOutcomes
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.report import document
from imbalance_study.studies.report.document import Block, Figure, Items, Paragraph, Section
from imbalance_study.tracking import artifacts

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
    *("verdict", "shown_from", "mark", "best"),
)
_NETWORKS = ("parameters", "macs", "size_mb", "latency_ms_b1")
_COSTS = (
    *("configuration", "{metric}", *_NETWORKS, "train_seconds", "train_seconds_sd"),
    *("times_baseline_seconds", "time_verdict", "peak_memory_mb", "peak_memory_mb_sd"),
    *("train_kwh", "train_kwh_sd", "train_price", "epochs", "updates", "images_seen"),
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


def comparison_sections(
    comparison: Comparison, grouped: GroupedOutcomes, small_print: str = ""
) -> list[Section]:
    """Make the sections of one comparison.

    Args:
        comparison: Its tables, figures, findings and marks.
        grouped: The runs that it is made of.
        small_print: What each figure carries at its foot.
    """
    for figure in comparison.figures.values():
        figure.set_label(small_print)
    best, reason = _best(grouped)
    several = len(grouped.groups) > 1
    return [
        Section("Which remedy", _ranking(comparison, grouped, several)),
        Section("How sure", _certainty(comparison, tables.short(grouped.metric), several)),
        Section("At what cost", _costs(comparison, grouped)),
        Section(f"Where {best.name} fails", _failures(comparison, grouped, best, reason)),
        Section("More", _more(comparison)),
    ]


def _table(
    comparison: Comparison, name: str, caption: str, only: Sequence[str] = ()
) -> list[Block]:
    return document.table(name, caption, comparison.tables.get(f"comparison/{name}", {}), only=only)


def _figures(comparison: Comparison, *names: str) -> list[Block]:
    return [
        Figure(name, _CAPTIONS.get(name, f"{document.words(name)}."), artifacts.png(figure))
        for name in names
        if (figure := comparison.figures.get(f"comparison/{name}")) is not None
    ]


def _ranking(comparison: Comparison, grouped: GroupedOutcomes, several: bool) -> list[Block]:
    """Show findings, the summary with its marks, and the choice by validation."""
    metric = tables.short(grouped.metric)
    against = f", against {grouped.baseline.name}, the baseline" if several else ""
    caption = f"{grouped.metric} over seeds{against}; sorted by the mean on the test set."
    only = [name.format(metric=metric) for name in _SUMMARY]
    if not several:
        only = [name for name in only if name not in ("difference", "p_holm", "verdict", "best")]
    return [
        Items(comparison.findings),
        *_table(comparison, "summary", caption, only),
        *_marks(comparison),
        *_figures(comparison, "headline"),
        *_table(
            comparison,
            "best_by_metric",
            "Which configuration each metric chooses on validation, and what it has on the test "
            "set; beside it the best on the test set, which is too optimistic.",
            _CHOSEN,
        ),
    ]


def _marks(comparison: Comparison) -> list[Block]:
    if not comparison.marks:
        return []
    return [Paragraph("Not ranked, or to be noted:"), Items(comparison.marks)]


def _certainty(comparison: Comparison, metric: str, several: bool) -> list[Block]:
    """Show tests, intervals and single runs."""
    if not several:
        return [
            Paragraph("There is one configuration; its interval over seeds shows the uncertainty."),
            *_table(comparison, "per_seed", "Each run."),
        ]
    return [
        Paragraph(
            "Configurations are compared by the paired t-test over seeds, with Holm's correction "
            "over the configurations; it needs three seeds. Intervals are of the mean over seeds."
        ),
        *_figures(comparison, "differences"),
        *_table(
            comparison,
            "headline",
            "Each headline metric: mean over seeds, and the difference to the baseline.",
            (
                *("metric", "configuration", "seeds", "mean", "sd", "difference"),
                *(
                    "difference_low_95",
                    "difference_high_95",
                    "p_holm",
                    "verdict",
                    "shown_from",
                    "mark",
                ),
            ),
        ),
        *_table(
            comparison,
            "trained_models",
            "Pairs of runs on the test images: these tests are about the two trained models only, "
            "not about the next training.",
            _PAIRED,
        ),
        *_table(
            comparison,
            "per_seed",
            "Each run.",
            (
                *("configuration", "seed", metric, "validation", "epochs", "seconds"),
                "run_id",
            ),
        ),
    ]


def _costs(comparison: Comparison, grouped: GroupedOutcomes) -> list[Block]:
    """Show what the networks cost, once for equal ones, and what each training takes."""
    only = [name.format(metric=tables.short(grouped.metric)) for name in _COSTS]
    if costs.one_network(grouped):
        only = [name for name in only if name not in _NETWORKS]
    caption = (
        "What training takes: means and standard deviations over seeds; the verdict is that of the "
        "paired test of the time. A cost that was not measured is missing."
    )
    said: list[Block] = [Paragraph(comparison.inference)] if comparison.inference else []
    return [*said, *_table(comparison, "costs", caption, only), *_figures(comparison, "costs")]


def _best(grouped: GroupedOutcomes) -> tuple[Group, str]:
    """Choose the configuration to examine closely, and give the reason."""
    twin = f"selected_val/{tables.short(grouped.metric)}"
    chosen = tables.by_validation(grouped, twin)
    if chosen:
        return chosen[0], f"chosen on validation ({twin})"
    return (
        grouped.baseline,
        "the baseline, because not all runs have a validation score to choose by",
    )


def _failures(
    comparison: Comparison, grouped: GroupedOutcomes, best: Group, reason: str
) -> list[Block]:
    """Show recall by class, confused pairs and their figures."""
    recalls = comparison.tables.get("comparison/recall_by_class", {})
    named = [name for name in recalls if name not in ("class", "train_count")]
    shown = dict.fromkeys(name for name in (best.name, grouped.baseline.name) if name in named)
    shown |= dict.fromkeys(named)
    return [
        Paragraph(f"{best.name}: {reason}."),
        *document.table(
            "recall_by_class",
            "Recall of each class on the test set, mean over seeds.",
            recalls,
            only=["class", "train_count", *list(shown)[:_COLUMNS]] if named else (),
            raw=True,
        ),
        *_confused(best),
        *_figures(comparison, "recall_by_frequency", "confusion_matrices", "feature_clusters"),
    ]


def _confused(best: Group) -> list[Block]:
    """Make the table of the most confused pairs."""
    tests = list(best.predictions().values())
    if not tests:
        return [Paragraph("Its runs kept no test predictions.")]
    confusion = np.sum(
        [metrics.confusion_matrix(t.targets, t.probs.argmax(1), t.probs.shape[1]) for t in tests],
        axis=0,
    )
    pairs = errors.most_confused(confusion, best.outcomes[0].class_names)
    caption = (
        f"Most confused pairs of {best.name}: images over all {len(tests)} seeds, and their share "
        "of the true class."
    )
    return document.table("confused_pairs", caption, pairs)


def _more(comparison: Comparison) -> list[Block]:
    """Show the remaining figures, and ensembles."""
    shown = {"headline", "differences", "costs", "recall_by_frequency"}
    shown |= {"confusion_matrices", "feature_clusters"}
    names = [name.removeprefix("comparison/") for name in comparison.figures]
    caption = "Ensembles: the mean of the probabilities of several runs."
    return [
        *_figures(comparison, *(name for name in names if name not in shown)),
        *_table(comparison, "ensembles", caption, _ENSEMBLES),
    ]
