"""Configurations x seeds as child runs of one parent, and what they say together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from imbalance_study.experiment.setup.data import shared_data
from imbalance_study.studies.comparison import analyse, configurations, workers
from imbalance_study.studies.comparison import load as outcomes
from imbalance_study.studies.comparison import parent_run as record
from imbalance_study.studies.comparison import plan as comparison_plan
from imbalance_study.studies.comparison.configurations import Comparing
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.comparison.plan import Child, Plan
from imbalance_study.tracking import fetch

Say = Callable[[str], None]


def compare(
    comparing: Comparing,
    common: Mapping[str, Any],
    *,
    dry_run: bool = False,
    brief: bool = False,
    say: Say = print,
) -> Comparison | None:
    """Run what is not finished yet, compare all, and record it in a parent run.

    Inside ``mlflow run`` that run is the parent, else one is started. A child that fails is left
    out of the comparison. Stopped at any moment, the same call goes on where this one ended.

    Args:
        comparing: What is compared.
        common: Options that all runs share, as typed.
        dry_run: Check everything and tell the plan; run nothing.
        brief: Draw no figures and keep no model to serve, which saves seconds for each run.
        say: Where a person follows.

    Returns:
        The comparison; None after a dry run.

    Raises:
        ValueError: Something is wrong, before anything ran; or a child failed, after all else is
            done and recorded.
    """
    with shared_data(), _weights_here(comparing, common):
        plan = comparison_plan.make(comparing, common)
        if dry_run:
            say(comparison_plan.describe(plan, record.finished_before(plan)))
            return None
        with record.parent(plan) as parent:
            todo = parent.take_over(say)
            failed = _run(todo, plan, parent, brief, say)
            found = _conclude(plan, parent, failed, panels=not brief)
            say(parent.closing(found))
            if failed:
                raise ValueError(
                    f"{len(failed)} of {len(plan.children)} runs failed and are missing from the "
                    f"comparison; {next(iter(failed.values()))}; the same command runs them again"
                )
    return found


@contextlib.contextmanager
def _weights_here(comparing: Comparing, common: Mapping[str, Any]) -> Iterator[None]:
    """Inside, the weights of runs that the configurations start from have a local file."""
    every = [common, *(one.options for one in configurations.configurations(comparing))]
    with contextlib.ExitStack() as stack:
        for weights in {str(options.get("weights", "none")) for options in every}:
            address = str(common.get("tracking_uri", "auto"))
            stack.enter_context(fetch.local_weights(weights, address))
        yield


def _run(
    todo: list[Child], plan: Plan, parent: record.Parent, brief: bool, say: Say
) -> dict[tuple[str, str], str]:
    """Run children; returns those that failed, with the reason."""
    failed: dict[tuple[str, str], str] = {}
    count = 0
    tasks = [
        workers.Task(
            parent.at_home(child.resolved),
            parent.tags_of(child),
            parent.run.info.run_id,
            brief=brief or not child.first,
            metric=plan.comparing.metric,
        )
        for child in todo
    ]

    def report(number: int, done: workers.Done) -> None:
        nonlocal count
        count += 1
        child = todo[number]
        name = f"[{count}/{len(todo)}] {child.name}"
        if done.problem:
            failed[child.key] = f"{child.name}: {done.problem}"
            say(f"{name}: FAILED: {done.problem}")
        else:
            say(f"{name}: {plan.comparing.metric} {done.value:.4f}, {done.seconds:.0f} s")

    at_once = workers.how_many(plan.comparing.parallel, todo)
    if at_once > 1:
        say(f"{at_once} runs at once")
        workers.at_once(tasks, at_once, report)
    else:
        workers.in_turn(tasks, report)
    return failed


def _conclude(
    plan: Plan, parent: record.Parent, failed: Mapping[tuple[str, str], str], *, panels: bool
) -> Comparison:
    """Read all finished children back from the store, compare them, and record what they say."""
    runs = parent.finished()
    untold = {child.key for child in plan.children} - set(runs) - set(failed)
    if untold:
        raise ValueError(
            f"MLflow does not have {len(untold)} of the runs that are finished; upload them with "
            "imbalance-study sync, then the same command goes on"
        )
    if not runs:
        raise ValueError(f"no run has finished; {next(iter(failed.values()), 'none was started')}")
    found = [
        outcomes.load(parent.client, run.info.run_id, child.label)
        for child in plan.children
        for run in [runs.get(child.key)]
        if run is not None
    ]
    present = {one.configuration for one in found}
    baseline = plan.baseline
    if baseline not in present:
        baseline = next(one.label for one in plan.configurations if one.label in present)
    compared = analyse.compare_outcomes(
        found, baseline=baseline, metric=plan.comparing.metric, panels=panels
    )
    if baseline != plan.baseline:
        compared.marks.insert(0, f"{plan.baseline}: no run finished; the baseline is {baseline}")
    parent.record(compared, failed)
    return compared
