"""``imbalance-study study``: a search over losses, samplers and optimizers."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from imbalance_study.cli import definition
from imbalance_study.config.schema import Config
from imbalance_study.studies.search.settings import StudySettings


@definition.command(StudySettings, Config)
def command(settings: StudySettings, fixed: Mapping[str, str]) -> None:
    """Search for the best loss, sampler, optimizer and their options, and record it in MLflow.

    Every trial is a run; only the winner is evaluated on the test set. Options that you give are
    fixed, the rest of each searched group is tried. A study that was stopped goes on with the same
    command; started several times, also on several machines, it shares the trials out.
    """
    from imbalance_study.studies.search.run import run_search
    from imbalance_study.tracking import session

    run_search(settings, fixed)
    if status := session.exit_status():
        sys.exit(status)
