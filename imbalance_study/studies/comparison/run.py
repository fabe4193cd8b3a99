"""Run a comparison: train configurations x seeds as child runs of one parent, then compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from imbalance_study.experiment.setup.data import DataCache
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.studies.comparison import (
    analyse,
    answer,
    configurations,
    grouping,
    interactive,
    workers,
)
from imbalance_study.studies.comparison.child_runs import Key
from imbalance_study.studies.comparison.configurations import ComparisonSettings
from imbalance_study.studies.comparison.grouping import GroupedOutcomes
from imbalance_study.studies.comparison.load import load_outcome, load_pictures
from imbalance_study.studies.comparison.outcome import Comparison
from imbalance_study.studies.comparison.parent_run import (
    ParentRun,
    reusable_keys,
    start_parent_run,
)
from imbalance_study.studies.comparison.plan import (
    ComparisonPlan,
    PlannedRun,
    describe,
    make_plan,
)
from imbalance_study.tracking import fetch, store

Echo = Callable[[str], None]


def compare(
    settings: ComparisonSettings,
    common: Mapping[str, Any],
    *,
    dry_run: bool = False,
    brief: bool = False,
    echo: Echo = print,
    on_answer: Callable[[dict[str, Any]], None] | None = None,
) -> Comparison | None:
    """Train all runs that are not finished yet, compare all, and record the result in a parent run.

    Inside ``mlflow run`` that run is the parent, else a new one is started. A run that fails is
    left out of the comparison. Stopped at any moment, the same call continues.

    Args:
        settings: Settings of the comparison.
        common: Options of all runs, as typed.
        dry_run: Check everything and print the plan; train nothing.
        brief: Draw no figures and log no model, which saves seconds for each run.
        echo: Receives each message.
        on_answer: Receives the answer (docs/json.md), also where runs failed and are missing.

    Returns:
        The comparison; None after a dry run.

    Raises:
        ValueError: A mistake in the settings, before anything is trained; or a run failed, after
            all others are trained and the comparison is recorded.
    """
    address = str(common.get("tracking_uri", "auto"))
    images = LocalFiles(data_cache=DataCache())
    with fetch.local_weights(_weights(settings, common), address, images) as local:
        plan = make_plan(settings, common, local)
        if dry_run:
            echo(describe(plan, reusable_keys(plan)))
            return None
        with start_parent_run(plan) as parent:
            todo = parent.reuse_finished(echo)
            problems = _train(todo, plan, parent, local, brief=brief, echo=echo)
            comparison = _conclude(plan, parent, problems, draw=not brief)
            echo(parent.closing_text(comparison))
            if on_answer is not None:
                on_answer(comparison.answer)
            if problems:
                raise ValueError(
                    f"{len(problems)} of {len(plan.children)} runs failed and are missing from the "
                    f"comparison; {next(iter(problems.values()))}; the same command runs them again"
                )
    return comparison


def _weights(settings: ComparisonSettings, common: Mapping[str, Any]) -> set[str]:
    """Return the weights that the configurations start from."""
    chosen = configurations.list_configurations(settings)
    every = [common, *(one.options for one in chosen)]
    return {str(options.get("weights", "none")) for options in every}


def _train(
    todo: list[PlannedRun],
    plan: ComparisonPlan,
    parent: ParentRun,
    local: LocalFiles,
    *,
    brief: bool,
    echo: Echo,
) -> dict[Key, str]:
    """Train runs; return the key of each failed one with the reason."""
    problems: dict[Key, str] = {}
    count = 0
    tasks = [
        workers.RunTask(
            parent.in_own_experiment(child.resolved),
            parent.child_tags(child),
            parent.run.info.run_id,
            brief=brief or not child.first,
            metric=plan.settings.metric,
            weights=dict(local.weights),
        )
        for child in todo
    ]

    def report(number: int, result: workers.TaskResult) -> None:
        nonlocal count
        count += 1
        child = todo[number]
        name = f"[{count}/{len(todo)}] {child.name}"
        if result.problem:
            problems[child.key] = f"{child.name}: {result.problem}"
            echo(f"{name}: FAILED: {result.problem}")
        else:
            echo(f"{name}: {plan.settings.metric} {result.value:.4f}, {result.seconds:.0f} s")

    parallel = workers.count_parallel(plan.settings.parallel, todo, local)
    threads = workers.count_threads(plan.settings.threads, parallel, todo)
    if parallel > 1:
        echo(f"{parallel} runs at the same time, threads of each: {threads}")
        workers.run_in_parallel(tasks, parallel, report, threads=threads)
    else:
        workers.run_in_turn(tasks, report, local.data_cache, threads=threads)
    return problems


def _conclude(
    plan: ComparisonPlan, parent: ParentRun, problems: Mapping[Key, str], *, draw: bool
) -> Comparison:
    """Read all finished runs from MLflow, compare them, and record the result."""
    runs = parent.finished_runs()
    missing = {child.key for child in plan.children} - set(runs) - set(problems)
    if missing:
        raise ValueError(
            f"MLflow does not have {len(missing)} of the finished runs; upload them with "
            "imbalance-study sync, then the same command continues"
        )
    if not runs:
        reason = next(iter(problems.values()), "none was started")
        raise ValueError(f"no run has finished; {reason}")
    outcomes = [
        load_outcome(parent.client, runs[child.key].info.run_id, child.label)
        for child in plan.children
        if child.key in runs
    ]
    present = {one.configuration for one in outcomes}
    baseline = plan.baseline
    if baseline not in present:
        baseline = next(one.label for one in plan.configurations if one.label in present)
    grouped = grouping.group_outcomes(outcomes, baseline, plan.settings.metric)
    comparison = analyse.compare_grouped(
        grouped, draw=draw, price_per_kwh=plan.settings.price_per_kwh
    )
    if baseline != plan.baseline:
        comparison.marks.insert(0, f"{plan.baseline}: no run finished; the baseline is {baseline}")
    _answer(plan, parent, grouped, comparison, problems, draw=draw)
    parent.record_result(comparison, problems)
    return comparison


def _answer(
    plan: ComparisonPlan,
    parent: ParentRun,
    grouped: GroupedOutcomes,
    comparison: Comparison,
    problems: Mapping[Key, str],
    *,
    draw: bool,
) -> None:
    """Add the answer for machines, and the interactive page with the images of the first seeds."""
    about = {name: _common(plan, name) for name in ("dataset", "model")}
    part = answer.part(grouped, comparison, about)
    subject = parent.subject()
    comparison.answer = answer.document(
        subject, [part], [parent.command()], [*map(store.scrub, problems.values())]
    )
    if not draw:
        return
    for figure in comparison.figures.values():
        figure.set_label(" · ".join([*about.values(), f"run {subject['run_id']}"]))
    pictures = {
        group.name: load_pictures(parent.client, group.outcomes[0].run_id)
        for group in grouped.groups
    }
    pictures = {name: of for name, of in pictures.items() if of}
    plain = comparison.answer["parts"][0]
    comparison.page = interactive.page(
        subject["name"],
        interactive.details(comparison.answer),
        [interactive.part(plain, grouped, pictures)],
    )


def _common(plan: ComparisonPlan, name: str) -> str:
    """The value of an option in all runs, or those of the configurations."""
    values = (str(getattr(child.resolved.config, name)) for child in plan.children)
    return ", ".join(dict.fromkeys(values))
