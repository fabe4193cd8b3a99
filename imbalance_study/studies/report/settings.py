"""The settings of a report. Nothing here imports MLflow, so that a help page is quick."""

from __future__ import annotations

import dataclasses

from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """Subject and place of a report.

    Raises:
        ValueError: Both experiment and run are given.
    """

    experiment: str = option(
        "auto",
        "Report",
        "Name or id of an experiment; auto: the one that runs are recorded in, or if it has none, "
        "the only one that has runs.",
    )
    run: str = option(
        "none", "Report", "Id of a run; the id of a comparison stands for all its runs."
    )
    out: str = option(
        "auto", "Report", "Folder for the files; auto: report_ and the name or the id, here."
    )
    baseline: str = option(
        "auto", "Report", "Configuration to compare with; auto: plain cross-entropy."
    )
    metric: str = option("test/balanced_accuracy", "Report", "The metric that is tested.")
    price_per_kwh: float = option(
        0.0, "Report", "Price of a kilowatt-hour, for the energy of the trainings.", minimum=0.0
    )
    tracking_uri: str = option(
        "auto", "Report", "MLflow store or server; auto: MLFLOW_TRACKING_URI, else ./mlflow.db."
    )
    log: bool = option(True, "Report", "Log the report to MLflow as well.")

    def __post_init__(self) -> None:
        fields.check(self)
        if self.experiment not in _UNSET and self.run not in _UNSET:
            raise ValueError("a report takes either experiment or run, got both")


_UNSET = ("auto", "none", "")
