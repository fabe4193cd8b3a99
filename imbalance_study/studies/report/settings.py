"""The settings of a report. Nothing here imports MLflow, so that a help page is quick."""

from __future__ import annotations

import dataclasses

from imbalance_study.config import fields
from imbalance_study.config.fields import option


@dataclasses.dataclass(frozen=True)
class ReportSettings:
    """Subject and place of a report.

    Raises:
        ValueError: Both or none of experiment and run are given.
    """

    experiment: str = option("none", "Report", "Name or id of an experiment.")
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
        subjects = [name for name in ("experiment", "run") if getattr(self, name) not in _UNSET]
        if len(subjects) != 1:
            came = "both" if subjects else "none"
            raise ValueError(f"a report takes either experiment or run, got {came}")


_UNSET = ("none", "")
