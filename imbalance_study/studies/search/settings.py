"""Settings and objectives of a study."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

from imbalance_study.config import fields
from imbalance_study.config.fields import option
from imbalance_study.studies.search import axes, space

SEARCH = "loss|sampler|optimizer"


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """Search space, length and objective of a study.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    study: str = option(
        "auto",
        "Study",
        "Name; the same name continues a study. auto: made of search, data set and model.",
    )
    trials: int = option(
        50, "Study", "Trials that end (complete or pruned), over all workers.", minimum=1
    )
    search: str = option(
        SEARCH, "Study", f"Groups of options to search, separated by |: {', '.join(axes.GROUPS)}."
    )
    objective: str = option(
        "val/balanced_accuracy",
        "Study",
        "A validation metric, or two objectives separated by |, the second latency_ms or macs.",
    )
    pruner: Literal["auto", "hyperband", "successive_halving", "median", "none"] = option(
        "auto",
        "Study",
        "Rule that stops trials early, by epoch; auto: hyperband, none with two objectives.",
    )
    winner_seeds: int = option(
        3, "Study", "Runs of the winner on the test set, one per seed; 0: none.", minimum=0
    )
    parallel: int = option(
        1,
        "Study",
        "Trials at once on this machine, each in its own process.",
        minimum=1,
        formerly="workers",
    )
    storage: str = option(
        "auto",
        "Study",
        "A journal file, or a database URL for several machines; auto: studies.journal beside "
        "MLflow's store.",
    )
    heartbeat_timeout: float = option(
        60.0,
        "Study",
        "Seconds without a heartbeat after which a worker on another machine counts as dead.",
        above=0,
        formerly="patience",
    )
    study_seed: int = option(0, "Study", "Seed of the search.", minimum=0)

    def __post_init__(self) -> None:
        fields.check(self)
        space.parse_groups(self.search)
        goals = objectives(self.objective)
        if len(goals) > 1 and self.pruner not in ("auto", "none"):
            raise ValueError(
                f"pruner={self.pruner} needs one objective, got {self.objective}; with two "
                "objectives use pruner=none"
            )

    @property
    def pruning(self) -> str:
        """The pruner, with auto decided."""
        if self.pruner != "auto":
            return self.pruner
        return "hyperband" if len(objectives(self.objective)) == 1 else "none"


class Objective(NamedTuple):
    """A quantity that ranks trials."""

    name: str
    maximize: bool


COSTS = ("latency_ms", "macs")
# Validation metrics that `experiment` reports each epoch.
METRICS = (
    *("accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "weighted_f1", "macro_precision"),
    *("macro_recall", "weighted_precision", "weighted_recall", "g_mean", "g_mean_corrected"),
    *("worst_recall", "head_recall", "medium_recall", "tail_recall", "roc_auc_macro"),
    *("roc_auc_weighted", "pr_auc_macro", "loss"),
)


def objectives(text: str) -> tuple[Objective, ...]:
    """Parse one validation metric, or a metric and a cost.

    Raises:
        ValueError: The text is anything else.
    """
    names = [part.strip() for part in text.split("|")]
    parsed = []
    for position, name in enumerate(names[:2]):
        known = COSTS if position else tuple(f"val/{metric}" for metric in METRICS)
        if name not in known:
            if name.startswith("test"):
                raise ValueError(f"objective must be a validation metric, got {name!r}")
            raise ValueError(fields.unknown(name, known, "objective"))
        parsed.append(Objective(name, position == 0 and not name.endswith("loss")))
    if len(names) > 2:
        raise ValueError(f"objective must be one metric, or a metric and a cost, got {text!r}")
    return tuple(parsed)
