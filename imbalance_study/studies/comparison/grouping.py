"""Group runs by configuration, and mark configurations that cannot be ranked with the baseline."""

from __future__ import annotations

import statistics as numbers
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from imbalance_study.evaluation import significance
from imbalance_study.studies.comparison.outcome import Outcome, StoredPredictions

HEADLINE = (
    "test/balanced_accuracy",
    "test/macro_f1",
    "test/accuracy",
    "test/tail_recall",
    "test/worst_recall",
)
# Words of a metric's name that say that it lies between 0 and 1.
_SHARES = {"accuracy", "recall", "precision", "f1", "auc"}
# Amounts of training in the words of a mark, and their fields of an outcome.
_AMOUNTS = {"epochs": "epochs", "images seen": "images_seen", "updates": "steps"}


def is_share(metric: str) -> bool:
    """Whether a metric lies between 0 and 1, as accuracies do."""
    return bool(_SHARES & set(metric.rsplit("/", 1)[-1].split("_")))


class Group(NamedTuple):
    """One configuration with its runs."""

    name: str
    outcomes: tuple[Outcome, ...]  # one per seed, ascending
    marks: tuple[str, ...]  # how it differs from the baseline, empty where it can be compared

    @property
    def comparable(self) -> bool:
        """Whether the configuration is the only difference to the baseline."""
        return not self.marks

    def values(self, metric: str) -> dict[int, float]:
        """Map seed to value, for the runs that have the metric."""
        return {
            one.seed: float(one.metrics[metric]) for one in self.outcomes if metric in one.metrics
        }

    def summary(self, metric: str) -> significance.Summary:
        """Summarise a metric over the seeds; the interval of a share stays within 0 and 1."""
        return significance.summarise(list(self.values(metric).values()), share=is_share(metric))

    def predictions(self) -> dict[int, StoredPredictions]:
        """Map seed to test predictions, for the runs that have them."""
        return {one.seed: one.test for one in self.outcomes if one.test is not None}


class GroupedOutcomes(NamedTuple):
    """Runs of all configurations, the baseline first, the others in the given order."""

    groups: tuple[Group, ...]
    metric: str  # the metric that is tested
    notes: tuple[str, ...]  # repeated and missing seeds

    @property
    def baseline(self) -> Group:
        """The configuration that the others are compared with."""
        return self.groups[0]

    @property
    def others(self) -> tuple[Group, ...]:
        """All but the baseline."""
        return self.groups[1:]

    @property
    def headline(self) -> list[str]:
        """The headline metrics that some run has; the tested metric comes first."""
        names = dict.fromkeys([self.metric, *HEADLINE])
        return [
            name
            for name in names
            if name == self.metric or any(group.values(name) for group in self.groups)
        ]

    @property
    def same_classes(self) -> list[Group]:
        """The groups whose classes are the baseline's; values per class need equal classes."""
        names = self.baseline.outcomes[0].class_names
        return [
            group
            for group in self.groups
            if all(one.class_names == names for one in group.outcomes)
        ]


def group_outcomes(outcomes: Sequence[Outcome], baseline: str, metric: str) -> GroupedOutcomes:
    """Group finished runs by configuration, and mark the groups that differ in data or training.

    Of two runs with the same configuration and seed the last one counts.

    Raises:
        ValueError: There is no run, the baseline is not among the configurations, or none of its
            runs has the metric.
    """
    if not outcomes:
        raise ValueError("a comparison needs at least 1 finished run, got 0")
    names = list(dict.fromkeys(one.configuration for one in outcomes))
    if baseline not in names:
        raise ValueError(f"unknown baseline {baseline!r}; known: {', '.join(names)}")
    if not any(metric in one.metrics for one in outcomes):
        known = sorted({name for one in outcomes for name in one.metrics if "test/" in name})
        raise ValueError(f"no run has the metric {metric!r}; known: {', '.join(known)}")
    notes: list[str] = []
    by_name = {name: _by_seed(name, outcomes, notes) for name in names}
    reference = by_name[baseline]
    groups = []
    for name in [baseline, *(name for name in names if name != baseline)]:
        runs = by_name[name]
        marks = [*_data_marks(runs, reference), *_training_marks(runs, reference)]
        groups.append(Group(name, tuple(runs.values()), tuple(marks)))
    if len(groups) > 1:
        notes += _missing_seeds(groups) + _mixed_threads(groups)
    return GroupedOutcomes(tuple(groups), metric, tuple(notes))


def _by_seed(name: str, outcomes: Iterable[Outcome], notes: list[str]) -> dict[int, Outcome]:
    runs = [one for one in outcomes if one.configuration == name]
    by_seed = {one.seed: one for one in runs}
    if len(by_seed) < len(runs):
        notes.append(f"{name}: {len(runs) - len(by_seed)} runs repeat a seed; the last one counts")
    return dict(sorted(by_seed.items()))


def _missing_seeds(groups: Sequence[Group]) -> list[str]:
    """Note the configurations that lack seeds, so that their mean is over fewer runs."""
    everyone = sorted({one.seed for group in groups for one in group.outcomes})
    notes = []
    for group in groups:
        lacking = set(everyone) - {one.seed for one in group.outcomes}
        if lacking:
            listed = ", ".join(map(str, sorted(lacking)))
            notes.append(f"{group.name}: no finished run with seed {listed}")
    return notes


def _mixed_threads(groups: Sequence[Group]) -> list[str]:
    """Note the configurations that other numbers of threads computed than the baseline."""
    usual = {one.seed: one.threads for one in groups[0].outcomes}
    notes = []
    for group in groups:
        known = sorted({one.threads for one in group.outcomes if one.threads})
        other = any(
            one.threads and usual.get(one.seed) and one.threads != usual[one.seed]
            for one in group.outcomes
        )
        if other or len(known) > 1:
            listed = " and ".join(map(str, known))
            notes.append(
                f"{group.name}: computed by {listed} threads, not all pairs by as many; sums round "
                "by them, so that pairs of a seed have less in common (again=true trains anew)"
            )
    return notes


def _data_marks(runs: dict[int, Outcome], reference: dict[int, Outcome]) -> list[str]:
    """Mark runs on other data: of the same seed, or of any seed where none is common."""
    common = runs.keys() & reference.keys()
    known = {one.fingerprint for one in reference.values()}
    other = (
        any(runs[seed].fingerprint != reference[seed].fingerprint for seed in common)
        if common
        else any(one.fingerprint not in known for one in runs.values())
    )
    return ["other data than the baseline's"] if other else []


def _training_marks(runs: dict[int, Outcome], reference: dict[int, Outcome]) -> list[str]:
    """Mark other amounts of training: epochs, images seen, and updates of as many images."""
    marks: list[str] = []
    pairs = _pairs(runs, reference)
    for text, attribute in _AMOUNTS.items():
        if attribute == "steps" and any("images" in mark for mark in marks):
            break
        if any(getattr(a, attribute) != getattr(b, attribute) for a, b in pairs):
            ours, theirs = (_typical((pair[side] for pair in pairs), attribute) for side in (0, 1))
            same = ours == theirs
            marks.append(
                f"{text} differ in some seeds"
                if same
                else f"{ours} {text} where the baseline has {theirs}"
            )
    return marks


def _pairs(
    runs: dict[int, Outcome], reference: dict[int, Outcome]
) -> list[tuple[Outcome, Outcome]]:
    """Pair each run with the baseline's run of its seed, else with the baseline's first."""
    first = next(iter(reference.values()))
    return [(one, reference.get(seed, first)) for seed, one in runs.items()]


def _typical(runs: Iterable[Outcome], attribute: str) -> str:
    """Write the median of a field."""
    return f"{numbers.median(float(getattr(one, attribute)) for one in runs):,.0f}"


def same_images(predictions: Iterable[StoredPredictions]) -> bool:
    """Whether all predictions are of the same images and classes, in the same order."""
    given = list(predictions)
    first = given[0]
    return all(
        np.array_equal(one.indices, first.indices)
        and np.array_equal(one.targets, first.targets)
        and one.probs.shape == first.probs.shape
        for one in given[1:]
    )
