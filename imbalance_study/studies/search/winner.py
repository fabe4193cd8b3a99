"""Finish a study: train its best settings over several seeds, and write the report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from imbalance_study.config.resolve import resolve
from imbalance_study.studies.search import figures, parent_run, records
from imbalance_study.studies.search.job import Job
from imbalance_study.studies.search.optuna_study import OptunaStudy
from imbalance_study.tracking import run as tracked
from imbalance_study.tracking import run_kind, run_names, session


def finish_study(study: OptunaStudy, job: Job, parent: str) -> None:
    """Train the winner over seeds, record the report in the study's run, and print it."""
    plan = job.plan
    trials = study.records()
    order = records.ranked(trials, plan.goals)
    command = records.training_command(plan.space.fixed, order[0]) if order else ""
    tests = train_winner(job, parent, order[0]) if order else []
    text = records.description(plan.name, trials, plan.goals, command, tests, job.settings.search)
    importances = study.importances()
    tables = {"trials": records.trials_table(trials, plan.goals)}
    if importances:
        shares = figures.label_importances(importances, plan.space)
        tables["importances"] = {
            "dimension": list(shares),
            "share_of_variance": list(shares.values()),
        }
    drawn = figures.draw_figures(trials, plan.goals, plan.space, importances)
    metrics = _metrics(trials, job, tests)
    goal = plan.goals[0]
    parent_run.record_report(
        *(plan.name, metrics, tables, drawn, text),
        objective=goal.name,
        ascending=not goal.maximize,
    )
    print("\n" + text.replace("**", "").replace("`", "") + "\n")
    print("\n".join(parent_run.links(plan.name, job.tracking_uri)), flush=True)


def train_winner(job: Job, parent: str, best: records.Trial) -> list[Mapping[str, float]]:
    """Train the best settings for each seed that is missing; return the metrics of all seeds."""
    seeds = [job.base.config.seed + number for number in range(job.settings.winner_seeds)]
    finished = parent_run.finished_winner_runs(parent, best.number)
    given = job.plan.space.fixed | best.options
    tags = {
        parent_run.NAME: job.plan.name,
        parent_run.WINNER: str(best.number),
        run_kind.KIND: run_kind.CHILD,
    }
    for seed in seeds:
        if seed in finished:
            continue
        name = f"winner, trial {best.number}, {run_names.data_name(job.base.config)}, seed {seed}"
        own = {"seed": str(seed), "run_name": name}
        print(f"winner (trial {best.number}), seed {seed}", flush=True)
        tracked.train(
            resolve(given | own),
            tracked.Recording(tags, parent),
            show_progress=False,
            local=job.local,
        )
    session.finish_uploads()
    finished = parent_run.finished_winner_runs(parent, best.number)
    if not set(seeds) <= set(finished):
        raise ValueError(
            "MLflow does not have all runs of the winner; upload them with imbalance-study sync, "
            "then the same command continues"
        )
    return [finished[seed].data.metrics for seed in seeds]


def _metrics(
    trials: Sequence[records.Trial], job: Job, tests: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Make the metrics of the study's run."""
    metrics: dict[str, float] = {
        f"trials/{state}": float(sum(trial.state == state for trial in trials))
        for state in ("complete", "pruned", "failed")
    }
    order = records.ranked(trials, job.plan.goals)
    if order:
        for goal, value in zip(job.plan.goals, order[0].values, strict=True):
            metrics[f"selected_{goal.name}" if "/" in goal.name else goal.name] = value
        if math.isfinite(order[0].error):
            name = job.plan.goals[0].name
            metrics[f"selected_{name}_standard_error"] = order[0].error
    gaps = [trial.gap for trial in trials if math.isfinite(trial.gap)]
    if gaps:
        metrics["trials/seconds_between"] = statistics.median(gaps)
    metrics["time/trials_seconds"] = sum(trial.seconds for trial in trials)
    shared: Any = set.intersection(*(set(test) for test in tests)) if tests else set()
    for name in sorted(shared):
        if name.startswith("test/"):
            metrics[name] = statistics.fmean(test[name] for test in tests)
    return metrics
